/** A live camera over the page: hold the button, and a burst of photos goes to the class. */

import { cameras, isPhone, noCamera } from "./cameras.js";
import { open } from "./dialog.js";
import { h } from "./dom.js";
import { ask, photosOf } from "./files.js";
import { fail, speak } from "./notices.js";
import { title } from "./places.js";
import { now } from "./state.js";
import { upload } from "./uploads.js";
import { count } from "./words.js";

const EVERY = 250; // ms between two photos of a burst
const MOST = 100;

/** A button that records while it is held, by pointer or by key. */
function holdButton(camera, sent) {
  const button = h(
    "button",
    { type: "button", class: "main hold", autofocus: true },
    "Hold to record a burst",
  );
  /** @type {?object} the press that is held; another one may begin while its last photo is taken */
  let held = null;
  async function record() {
    if (held) return;
    const mine = {};
    const files = [];
    held = mine;
    button.classList.add("is-held");
    do {
      try {
        files.push(await camera().grab());
      } catch (error) {
        fail(error);
        break;
      }
      button.textContent = count(files.length, "photo");
      await new Promise((resolve) => setTimeout(resolve, EVERY));
    } while (held === mine && files.length < MOST && button.isConnected);
    if (held === mine) held = null;
    if (!held) {
      button.classList.remove("is-held");
      button.textContent = "Hold to record a burst";
    }
    if (files.length) sent(files);
  }
  const release = () => (held = null);
  const isPress = (event) => event.key === " " || event.key === "Enter";
  button.addEventListener("pointerdown", (event) => {
    button.setPointerCapture(event.pointerId);
    record();
  });
  for (const ended of ["pointerup", "pointercancel", "blur"])
    button.addEventListener(ended, release);
  button.addEventListener("contextmenu", (event) => event.preventDefault());
  button.addEventListener("keydown", (event) => {
    if (!isPress(event)) return;
    event.preventDefault();
    if (!event.repeat) record();
  });
  button.addEventListener("keyup", (event) => isPress(event) && release());
  return button;
}

/** What became of a burst; why some failed is a message of its own. */
function outcome({ added, copies, near_duplicates: near, refused, unsent }) {
  const failed = refused.length + unsent;
  return [
    (added || !failed) && `${count(added, "photo")} added`,
    near + copies && `${near + copies} left out as nearly the same`,
    failed && `${count(failed, "photo")} not added`,
  ]
    .filter(Boolean)
    .join(", ");
}

/**
 * A list of cameras to choose from, where there are several; `camera` gives the one that is on.
 * @param {{name: string, open: () => Promise<import("./cameras.js").Camera>}[]} found
 * @param {import("./cameras.js").Camera} camera the first of them, open
 * @param {HTMLElement} stage where what it sees is shown
 */
function choice(found, camera, stage) {
  let on = 0;
  let newest = 0; // of what was chosen: a camera that opens later than another is stopped
  const list = h(
    "select",
    { "aria-label": "Which camera", hidden: found.length < 2 },
    found.map((each, i) => h("option", { value: i }, each.name)),
  );
  list.addEventListener("change", async () => {
    const mine = ++newest;
    const chosen = Number(list.value);
    try {
      const other = await found[chosen].open();
      if (mine !== newest) return other.stop();
      camera.stop();
      camera = other;
      on = chosen;
      stage.replaceChildren(camera.element);
    } catch (error) {
      if (mine !== newest) return;
      list.value = on;
      fail(error);
    }
  });
  const stop = () => {
    newest += 1;
    camera.stop();
  };
  return { list, camera: () => camera, stop };
}

async function dialogWith(found, place) {
  const first = await found[0].open();
  const stage = h("div", { class: "stage" }, first.element);
  const { list, camera, stop } = choice(found, first, stage);
  const report = h(
    "p",
    { class: "soft", role: "status" },
    "Move the thing, or the camera, while you hold: photos that are nearly the same are left out. A short press takes one photo.",
  );
  const sent = async (files) => {
    report.textContent = `Sending ${count(files.length, "photo")} …`;
    report.textContent = `${outcome(await upload(place, files, { burst: true }))}. Hold again for more.`;
    speak(report.textContent);
  };
  const actions = h("div", { class: "inline actions" }, holdButton(camera, sent));
  const content = () => [list, stage, actions, report];
  open(`Camera: ${title(now(), place)}`, content, { wide: true, closed: stop });
}

let isOpening = false; // pressed again meanwhile, the button opens no second camera

/**
 * Photos by camera: live where that is allowed, else by the phone's camera app.
 * @param {import("./places.js").Place} place where they go
 */
export async function photograph(place) {
  const { found, why } = await cameras();
  if (!found.length && isPhone()) {
    const { photos } = photosOf(await ask({ camera: true }));
    if (photos.length)
      await upload(
        place,
        photos.map(({ file }) => file),
      );
    return;
  }
  if (isOpening) return;
  isOpening = true;
  try {
    if (!found.length) throw Object.assign(new Error(noCamera(why)), { status: 0 });
    await dialogWith(found, place);
  } catch (error) {
    fail(error);
  }
  isOpening = false;
}
