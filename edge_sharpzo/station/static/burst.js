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
  let files = [];
  let holding = false;
  async function record() {
    if (holding) return;
    holding = true;
    files = [];
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
    } while (holding && files.length < MOST);
    holding = false;
    button.classList.remove("is-held");
    button.textContent = "Hold to record a burst";
    if (files.length) sent(files);
  }
  const release = () => (holding = false);
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

async function dialogWith(found, place) {
  let camera = await found[0].open();
  const stage = h("div", { class: "stage" }, camera.element);
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
  const pick = h(
    "select",
    { "aria-label": "Which camera" },
    found.map((each, i) => h("option", { value: i }, each.name)),
  );
  pick.addEventListener("change", async () => {
    try {
      const other = await found[Number(pick.value)].open();
      camera.stop();
      camera = other;
      stage.replaceChildren(camera.element);
    } catch (error) {
      fail(error);
    }
  });
  open(
    `Camera: ${title(now(), place)}`,
    () =>
      [
        found.length > 1 && pick,
        stage,
        h(
          "div",
          { class: "inline actions" },
          holdButton(() => camera, sent),
        ),
        report,
      ].filter(Boolean),
    {
      wide: true,
      closed: () => camera.stop(),
    },
  );
}

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
  try {
    if (!found.length) throw Object.assign(new Error(noCamera(why)), { status: 0 });
    await dialogWith(found, place);
  } catch (error) {
    fail(error);
  }
}
