/** The page Take. */

import "./shell.js";

import { get } from "./api.js";
import { by, h, put, putLinked } from "./dom.js";
import { keyed } from "./keyed.js";
import { speak } from "./notices.js";
import { missed, watch } from "./state.js";
import { sentence, size } from "./words.js";

const MEANT = {
  "classifier.onnx": "The classifier: a photo in, probabilities out. Runs without edge-sharpzo.",
  "labels.txt": "The names of the classes, in the order of the probabilities.",
  "run.zip": "The whole run: all of these, the report, the tuned prompt, what it was asked for.",
};

const FRESH = "Made of the photos as they are now. Take it to wherever it is to work.";
const OLD = "Photos or words have changed since this was made: learn again to have that in it.";
const STOPPED = "Made of the photos as they are now, and stopped early: what Learn goes on with may be better.";

let shown = "";

/** What can be fetched: two files of the run, and all of it as one. */
function offered(files) {
  const whole = files.reduce((sum, { bytes }) => sum + bytes, 0);
  return [...files.filter(({ name }) => name in MEANT), { name: "run.zip", bytes: whole }];
}

const file = ({ name, bytes }) =>
  h(
    "li",
    {},
    h("div", {}, h("strong", {}, name), h("span", { class: "soft" }, MEANT[name] ?? "")),
    h(
      "a",
      {
        class: "button",
        href: `/api/take/${encodeURIComponent(name)}`,
        download: name,
        "aria-label": `Download ${name}`,
      },
      "Download",
      bytes ? h("small", {}, ` ${size(bytes)}`) : "",
    ),
  );

async function show(state) {
  const mark = `${state.learn.state} ${state.learn.up_to_date} ${state.look.state}`;
  if (mark === shown) return;
  shown = mark;
  try {
    const answer = await get("/api/take");
    if (mark !== shown) return; // a newer question is under way
    const { ready, files, command, why, up_to_date: fresh, finished, none_of_these } = answer;
    put(by("take"), { hidden: !ready });
    put(by("take-none"), { hidden: ready });
    putLinked(by("take-why"), why ? sentence(why) : "");
    put(by("take-text"), { text: !ready ? "" : !fresh ? OLD : finished ? FRESH : STOPPED });
    if (!ready) return;
    keyed(by("files"), offered(files), file);
    put(by("command"), { text: command });
    put(by("tells-none"), { hidden: !none_of_these });
    put(by("tells-no-none"), { hidden: none_of_these });
  } catch (error) {
    if (mark !== shown) return;
    shown = "";
    missed(error);
  }
}

by("copy").addEventListener("click", async () => {
  const range = document.createRange();
  range.selectNodeContents(by("command"));
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  try {
    await navigator.clipboard.writeText(by("command").textContent);
    speak("Copied.");
    by("copy").textContent = "Copied";
    setTimeout(() => (by("copy").textContent = "Copy"), 2000);
  } catch {
    by("copy").textContent = "Press Ctrl+C"; // pages without https may not copy; it is selected
  }
});
watch(show);
