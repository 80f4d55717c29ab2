/** The page Try. */

import "./shell.js";

import { showAnswer } from "./answer.js";
import { send } from "./api.js";
import { cameras, isPhone, noCamera } from "./cameras.js";
import { by, h, linked } from "./dom.js";
import { keyed } from "./keyed.js";
import { ask, dropped, photosOf } from "./files.js";
import { fail, forgetOlder } from "./notices.js";
import { watch } from "./state.js";

const SOON = "It is learning just now; in a moment it can answer.";
const NOT_YET = "It has learnt nothing yet: two classes need photos. Add them on the page Photos.";
const PAUSE = 400; // ms between an answer and the next frame

const EMPTY = by("stage").firstElementChild;

function shownOn(stage, element) {
  for (const image of stage.querySelectorAll("img[src^='blob:']")) URL.revokeObjectURL(image.src);
  stage.replaceChildren(element);
}

let newest = 0; // of what is tried, counted: an answer about anything older is not shown

async function tried(file, mine, live = false) {
  const form = new FormData();
  form.append("photo", file, file.name);
  const answer = await send("/api/try", form);
  if (mine === newest) showAnswer(answer, live);
}

async function tryFile(file) {
  const mine = ++newest;
  stopLive();
  forgetOlder();
  const image = h("img", { alt: "The photo that is tried", src: URL.createObjectURL(file) });
  const unseen = h("p", { class: "soft" }, "The browser cannot show this photo.");
  let instead = unseen; // browsers show no TIFF; it is looked at all the same
  image.addEventListener("error", () => image.isConnected && shownOn(by("stage"), instead));
  shownOn(by("stage"), image);
  by("answer").replaceChildren(h("p", { class: "soft" }, "Looking …"));
  try {
    await tried(file, mine);
  } catch (error) {
    if (mine !== newest) return;
    by("answer").replaceChildren(h("p", { class: "soft" }, "No answer."));
    instead = EMPTY;
    if (unseen.isConnected) shownOn(by("stage"), EMPTY);
    fail(error);
  }
}

let camera = null;
let isOpening = false; // which takes as long as somebody thinks about allowing it

function stopLive() {
  camera?.stop();
  camera = null;
  by("live").setAttribute("aria-pressed", "false");
  by("live").textContent = "Live camera";
}

/** @returns {Promise<?import("./cameras.js").Camera>} null where there is none, which it says */
async function opened() {
  isOpening = true;
  try {
    const { found, why } = await cameras();
    if (!found.length) by("camera-note").textContent = noCamera(why);
    return found.length ? await found[0].open() : null;
  } finally {
    isOpening = false;
  }
}

async function goLive() {
  const before = newest;
  const mine = await opened();
  if (!mine) return;
  if (before !== newest) {
    mine.stop(); // a photo was chosen meanwhile
    return;
  }
  const turn = ++newest;
  forgetOlder();
  camera = mine;
  by("live").setAttribute("aria-pressed", "true");
  by("live").textContent = "Stop the camera";
  shownOn(by("stage"), mine.element);
  try {
    while (camera === mine) {
      await tried(await mine.grab(), turn, true);
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
  } catch (error) {
    if (turn === newest) throw error;
  } finally {
    mine.stop();
    if (camera === mine) stopLive();
  }
}

function pressedLive() {
  if (camera) stopLive();
  else if (!isOpening) goLive().catch(fail);
}

async function choose(how) {
  const { photos, others } = photosOf(await ask({ several: false, ...how }));
  if (others.length)
    fail({
      message: "That file is no photo. Choose a JPEG, PNG, WebP, GIF, BMP or TIFF.",
      status: 0,
    });
  if (photos.length) await tryFile(photos[0].file);
}

by("shoot").hidden = !isPhone();
by("choose").addEventListener("click", () => choose({}).catch(fail));
by("shoot").addEventListener("click", () => choose({ camera: true }).catch(fail));
by("live").addEventListener("click", pressedLive);
addEventListener("pagehide", () => {
  newest += 1; // a camera that opens later is stopped
  stopLive();
});
addEventListener(
  "dragover",
  (event) => event.dataTransfer.types.includes("Files") && event.preventDefault(),
);
addEventListener("drop", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  dropped(event.dataTransfer)
    .then((found) => photosOf(found).photos[0])
    .then((first) =>
      first ? tryFile(first.file) : fail({ message: "Nothing of that is a photo.", status: 0 }),
    )
    .catch(fail);
});
watch((state) => {
  const isReady = state.look.state === "ready" || state.learn.state === "done";
  if (isReady || by("answer").dataset.verdict) return;
  const text = state.look.state === "working" ? SOON : NOT_YET;
  keyed(by("answer"), [text], () => h("p", { class: "soft" }, linked(text)));
});
