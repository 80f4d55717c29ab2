/** What every page has: undo and redo, and how far learning is. */

import { post } from "./api.js";
import { by, put } from "./dom.js";
import { deed, fail, speak, tell, toldBy } from "./notices.js";
import { begin, now, refresh, watch } from "./state.js";
import { percent, sentence } from "./words.js";

function able(button, word, step) {
  const text = step ? `${word}: ${step}` : `Nothing to ${word.toLowerCase()}`;
  put(button, { "aria-disabled": String(!step), "aria-label": text, title: text });
}

async function back(which) {
  const step = now()?.[`can_${which}`];
  if (!step) return speak(`Nothing to ${which}.`);
  try {
    const answer = await post(`/api/${which}`);
    // Another page may have done a step since this one heard of any.
    if (answer.step) tell(sentence(answer.step.text));
    toldBy(answer);
  } catch (error) {
    fail(error);
  }
  return refresh();
}

function learning({ learn }) {
  const share = learn.of ? learn.queries / learn.of : 0;
  const texts = {
    encoding: "Reading photos",
    tuning: `Learning ${percent(share)}`,
    failed: "Learning failed",
  };
  const text = texts[learn.state] ?? "";
  put(by("learning"), { text, hidden: !text });
}

const isTyping = (target) => target.closest("input:not([type=checkbox]), textarea, select, dialog");

addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.altKey || isTyping(event.target)) return;
  const key = event.key.toLowerCase();
  if (key !== "z" && key !== "y") return;
  event.preventDefault();
  deed();
  back(key === "y" || event.shiftKey ? "redo" : "undo");
});

// Pressed before its module is there, a button would do nothing, without a word.
addEventListener("DOMContentLoaded", () => {
  for (const button of document.querySelectorAll("[data-waits]")) button.disabled = false;
});
by("undo").addEventListener("click", () => back("undo"));
by("redo").addEventListener("click", () => back("redo"));
watch((state) => {
  able(by("undo"), "Undo", state.can_undo);
  able(by("redo"), "Redo", state.can_redo);
  learning(state);
});
begin();
