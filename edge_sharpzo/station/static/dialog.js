/** A dialog that comes over the page, closes with Escape, and gives the focus back. */

import { by, h, icon } from "./dom.js";

/**
 * @param {string} title
 * @param {(dialog: HTMLDialogElement, heading: HTMLElement) => any[]} content
 * @param {{wide?: boolean, closed?: () => void}} [how]
 */
export function open(title, content, { wide = false, closed = () => {} } = {}) {
  const from = document.activeElement;
  const heading = h("h2", { id: "dialog-title", tabindex: -1 }, title);
  const close = h(
    "button",
    { type: "button", class: "plain", "aria-label": "Close" },
    icon("close"),
  );
  const dialog = h("dialog", { "aria-labelledby": "dialog-title", class: wide ? "wide" : "" });
  dialog.append(
    h("div", { class: "dialog-top" }, heading, close),
    h("div", { class: "dialog-notices" }),
    ...content(dialog, heading),
  );
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => {
    dialog.remove();
    closed();
    if (from?.isConnected) from.focus();
    else by("main").focus({ preventScroll: true });
  });
  document.body.append(dialog);
  dialog.showModal();
  (dialog.querySelector("[autofocus]") ?? heading).focus();
  return dialog;
}
