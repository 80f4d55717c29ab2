/** Focus that stays where it was, though lists are made anew. */

import { by } from "./dom.js";

/**
 * Notes which list and entry has the focus; what it returns gives it back.
 * @param {string} lists the selector of sections with lists to mend
 */
export function keptFocus(lists) {
  const section = document.activeElement?.closest(lists);
  if (!section) return () => {};
  const title = section.querySelector("h2, h3").firstChild.textContent;
  const at = [...section.querySelectorAll(".mend, .twins")].findIndex((item) =>
    item.contains(document.activeElement),
  );
  return () => {
    const same = [...document.querySelectorAll(lists)].find(
      (each) => each.querySelector("h2, h3").firstChild.textContent === title,
    );
    const items = same?.querySelectorAll(".mend, .twins") ?? [];
    const button = items[Math.min(Math.max(at, 0), items.length - 1)]?.querySelector("button");
    (button ?? same?.querySelector("h2, h3") ?? by("main")).focus();
  };
}
