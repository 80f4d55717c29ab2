/** Lists of photos to mend: each with the one click that would mend it. */

import { h } from "./dom.js";
import { classList, move } from "./moving.js";
import { BACKGROUND, SET_ASIDE, ofClass, shown } from "./places.js";
import { now } from "./state.js";
import { count, percent } from "./words.js";
import { view } from "./viewer.js";

const FIRST = 12;

/**
 * @typedef {{id: string, class: ?string, other?: string, caption: string}} Entry
 * `class`: null for a photo of no class; `other`: what it may be instead
 */

/** Where the focus goes when an entry is gone: to the next one, else to the heading. */
function focusNear(entry) {
  const near = entry.nextElementSibling ?? entry.previousElementSibling;
  const button = near?.querySelector("button");
  (button ?? entry.closest("section").querySelector("h2, h3"))?.focus();
}

/** @param {Entry[]} entries */
function card(entry, entries, done) {
  const name = (each) => (each === null ? "No class yet" : shown(now(), each));
  const isAside = entry.class === null;
  const item = h("li", { class: "mend", "data-id": entry.id });
  const about = isAside ? "photo of no class yet" : `photo of ${name(entry.class)}`;
  const go = (to) => async () => {
    for (const button of item.querySelectorAll("button")) button.disabled = true;
    const isDone = await move([entry.id], to);
    for (const button of item.querySelectorAll("button")) button.disabled = false;
    if (!isDone) return;
    focusNear(item);
    item.remove();
    done();
  };
  const enlarge = () => view(entries, entries.indexOf(entry), { isAside });
  item.append(
    h(
      "button",
      { type: "button", class: "thumb", "aria-label": `Enlarge this ${about}`, click: enlarge },
      h("img", {
        src: `/api/photos/${entry.id}/thumbnail`,
        alt: "",
        loading: "lazy",
        width: 256,
        height: 256,
      }),
    ),
    h(
      "div",
      { class: "mend-side" },
      h("p", {}, h("strong", {}, name(entry.class)), h("span", { class: "soft" }, entry.caption)),
      h(
        "div",
        { class: "inline mend-buttons" },
        entry.other &&
          h(
            "button",
            { type: "button", click: go(ofClass(entry.other)) },
            `It is ${name(entry.other)}`,
          ),
        h(
          "button",
          {
            type: "button",
            class: "quiet",
            "aria-label": `None of these: ${about}`,
            click: go(BACKGROUND),
          },
          "None of these",
        ),
        isAside
          ? classList((to) => go(to)())
          : h(
              "button",
              {
                type: "button",
                class: "quiet",
                "aria-label": `Set aside: ${about}`,
                click: go(SET_ASIDE),
              },
              "Set aside",
            ),
      ),
    ),
  );
  return item;
}

/**
 * @param {string} title @param {string} why @param {Entry[]} entries
 * @param {{level?: string, done?: () => void}} [how]
 */
export function mendList(title, why, entries, { level = "h2", done = () => {} } = {}) {
  const list = h("ul", { class: "mends" });
  const more = h("button", { type: "button", class: "quiet", hidden: true });
  let shownNow = 0;
  const show = () => {
    const some = entries.slice(shownNow, shownNow + FIRST);
    list.append(...some.map((entry) => card(entry, entries, done)));
    const first = list.children[shownNow];
    shownNow += some.length;
    more.hidden = shownNow >= entries.length;
    more.textContent = `Show more (${entries.length - shownNow})`;
    return first;
  };
  more.addEventListener("click", () => show()?.querySelector("button").focus());
  show();
  return h(
    "section",
    { class: "card" },
    h(level, { tabindex: -1 }, title, h("span", { class: "soft" }, ` ${entries.length}`)),
    h("p", { class: "soft" }, why),
    list,
    more,
  );
}

/** Entries of a list that /api/look gives. */
export const misread = ({ id, class: own, said, probability }) => ({
  id,
  class: own,
  other: said,
  misread_as: said,
  caption: `read as ${shown(now(), said)}, ${percent(probability)}`,
});
export const suspect = ({ id, class: own, looks_like: other, probability }) => ({
  id,
  class: own,
  other,
  suspect: other,
  caption: `looks like ${shown(now(), other)}, ${percent(probability)}`,
});
export const unsure = ({ id, class: own, said, probability }) => ({
  id,
  class: own,
  sure: false,
  other: said && said !== own ? said : undefined,
  caption: `not sure: ${said ? `${shown(now(), said)}, ` : ""}${percent(probability)}`,
});
export const refused = ({ id, class: own }) => ({
  id,
  class: own,
  known: false,
  caption: "taken for none of these",
});

/** Groups of photos that are nearly the same: all but the first of each go aside with one click. */
export function twins(groups, done) {
  const row = (ids) => {
    const item = h("li", { class: "twins" });
    const go = async () => {
      if (!(await move(ids.slice(1), SET_ASIDE))) return;
      focusNear(item);
      item.remove();
      done();
    };
    item.append(
      ...ids.slice(0, 6).map((id) =>
        h("img", {
          src: `/api/photos/${id}/thumbnail`,
          alt: "",
          loading: "lazy",
          width: 256,
          height: 256,
        }),
      ),
      (ids.length > 6 && h("span", { class: "soft" }, `and ${ids.length - 6} more`)) || "",
      h("button", { type: "button", click: go }, `Keep one of ${ids.length}`),
    );
    return item;
  };
  return h(
    "section",
    { class: "card" },
    h(
      "h2",
      { tabindex: -1 },
      "Nearly the same",
      h("span", { class: "soft" }, ` ${count(groups.length, "group")}`),
    ),
    h(
      "p",
      { class: "soft" },
      "Several photos of one scene teach little more than one, and flatter the figures above. The others are set aside.",
    ),
    h("ul", { class: "twin-list" }, groups.slice(0, 40).map(row)),
  );
}
