/** One photo, large, with what can be done with it. */

import { open } from "./dialog.js";
import { h, icon } from "./dom.js";
import { canGoBack, moveButtons } from "./moving.js";
import { shown } from "./places.js";
import { now } from "./state.js";
import { percent } from "./words.js";

/** What the classifier says of a photo of no class. @param {{display: string, probability: number, known: ?boolean}} says */
export const saysOf = ({ display, probability, known }) =>
  `${known === false ? "Like nothing that was learnt; nearest is" : "Looks like"} ${display}, ${percent(probability)}`;

/** What there is to say of a photo. */
export function remarks(photo) {
  const name = (each) => shown(now(), each);
  const suspect =
    typeof photo.suspect === "string" ? ` – it looks like ${name(photo.suspect)}` : "";
  return [
    photo.suspect && `Look at this label${suspect}`,
    photo.misread_as && `Read as ${name(photo.misread_as)}`,
    photo.known === false && "Taken for none of these",
    photo.says && saysOf(photo.says),
    photo.sure === false && photo.known !== false && !photo.misread_as && "Right, but not sure",
  ].filter(Boolean);
}

/**
 * @typedef {object} Rest
 * @property {() => number} total how many photos there are in all
 * @property {() => Promise<any[]>} more loads some more; gives all that are loaded then
 */

/**
 * @param {any[]} photos those before and after it
 * @param {number} at
 * @param {{isAside?: boolean, isBackground?: boolean}} [where]
 * @param {?Rest} rest where not all of them are loaded
 */
export function view(photos, at, where = {}, rest = null) {
  const picture = h("img", { class: "large" });
  const words = h("p", { class: "soft", role: "status" });
  const total = () => Math.max(rest?.total() ?? 0, photos.length);
  let isLoading = false;
  let heading;
  const step = (by) => () => go(Math.min(Math.max(at + by, 0), total() - 1));
  const before = h(
    "button",
    { type: "button", class: "plain", "aria-label": "Photo before", click: step(-1) },
    icon("before"),
  );
  const after = h(
    "button",
    { type: "button", class: "plain", "aria-label": "Photo after", click: step(1) },
    icon("after"),
  );

  async function go(index) {
    if (index < photos.length) return show(index);
    if (isLoading) return;
    isLoading = true;
    const { id } = photos[at];
    photos = await rest.more();
    isLoading = false;
    const here = photos.findIndex((photo) => photo.id === id); // others may have come or gone
    show(Math.min(here < 0 ? at : here + 1, photos.length - 1));
  }

  function show(index) {
    at = index;
    const photo = photos[at];
    heading.textContent = photo.name ?? "Photo";
    const what = photo.class ? shown(now(), photo.class) : "Photo";
    picture.src = `/api/photos/${photo.id}/image`;
    picture.alt = `${what}, photo ${at + 1} of ${total()}`;
    words.textContent = [`${what}, ${at + 1} of ${total()}`, ...remarks(photo)].join(". ");
    before.setAttribute("aria-disabled", String(at === 0));
    after.setAttribute("aria-disabled", String(at === total() - 1));
    moving.reset();
    moving.update({
      isAside: false,
      ...where,
      canGoBack: Boolean(where.isAside) && canGoBack(photo),
    });
  }

  const moving = moveButtons(
    () => [photos[at].id],
    () => buttons.closest("dialog").close(),
  );
  const buttons = h("div", { class: "inline actions" }, moving.elements);
  open(
    "Photo",
    (dialog, title) => {
      heading = title;
      dialog.addEventListener("keydown", (event) => {
        if (event.target.closest("select")) return;
        if (event.key === "ArrowLeft") step(-1)();
        if (event.key === "ArrowRight") step(1)();
      });
      show(at);
      return [
        h("div", { class: "viewer" }, before, picture, after),
        words,
        buttons,
      ];
    },
    { wide: true },
  );
}
