/** What the page tells: seen at the top, and spoken by screen readers. */

import { by, h, icon, linked } from "./dom.js";
import { sentence } from "./words.js";

// What a person did since the page was opened, counted: a message about something newer takes the
// place of those about what was done before.
let deeds = 0;
/** A person has done something. */
export const deed = () => deeds++;
for (const kind of ["click", "submit", "change", "drop"]) addEventListener(kind, deed, true);

function forget(kind) {
  for (const old of document.querySelectorAll(`.notice.${kind}[data-deed]`))
    if (Number(old.dataset.deed) < deeds) old.remove();
}

/** Takes away what went wrong with something done before. */
export const forgetOlder = () => forget("bad");

/** Speaks without showing, for what the page shows anyway. */
export function speak(text) {
  by("spoken").textContent = text;
}

/** @param {string} kind "good" or "bad" @param {string} text @param {{keep?: boolean}} [how] */
function show(kind, text, { keep = false } = {}) {
  const notice = h(
    "div",
    {
      class: `notice ${kind}`,
      role: kind === "bad" ? "alert" : "status",
      "data-deed": keep ? null : deeds,
    },
    h("p", {}, linked(text)),
  );
  const close = h(
    "button",
    { type: "button", class: "plain", "aria-label": "Close this message" },
    icon("close"),
  );
  close.addEventListener("click", () => {
    notice.remove();
    by("main").focus();
  });
  notice.append(close);
  forgetOlder();
  if (kind === "good") forget("good");
  for (const same of by("notices").children) {
    if (same.firstChild.textContent === text) same.remove();
  }
  while (by("notices").children.length >= 4) by("notices").firstChild.remove();
  // Dialogs lie above everything: a message about one belongs into it.
  const dialog = document.querySelector("dialog[open] .dialog-notices");
  if (dialog && kind === "bad") dialog.replaceChildren(notice);
  else by("notices").append(notice);
  if (kind === "good" && !keep) setTimeout(() => notice.remove(), 8000);
  return notice;
}

/** Tells what was done. */
export const tell = (text, how = {}) => show("good", text, how);

/**
 * Tells what did not work; `error.message` says why. A request that was stopped is none.
 * @param {{keep?: boolean}} [how] kept: until it is removed, whatever is done meanwhile
 */
export function fail(error, how = {}) {
  if (error.name === "AbortError") return null;
  if (error.status === undefined) console.error(error); // a fault of this page
  return show("bad", sentence(error.message), how);
}

/** Tells what the station said besides its answer. */
export const toldBy = (answer) => (answer.told ?? []).forEach((text) => tell(sentence(text)));
