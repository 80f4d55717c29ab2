/** Photos that are nearly the same, as a list to mend. */

import { h, put, thumbnail } from "./dom.js";
import { keyed } from "./keyed.js";
import { taken } from "./mend.js";
import { move } from "./moving.js";
import { SET_ASIDE } from "./places.js";
import { count } from "./words.js";

/** A group of photos that are nearly the same. @param {string[]} ids */
function twin(ids) {
  const go = () => move(ids.slice(1), SET_ASIDE, () => taken(item));
  const item = h(
    "li",
    { class: "twins" },
    ids.slice(0, 6).map((id) => thumbnail(id)),
    ids.length > 6 && h("span", { class: "soft" }, `and ${ids.length - 6} more`),
    h("button", { type: "button", click: go }, `Keep one of ${ids.length}`),
  );
  return item;
}

/**
 * Groups of photos that are nearly the same: all but the first of each go aside with one click.
 * @param {string[][]} groups
 * @returns {import("./keyed.js").Section}
 */
export const twins = (groups) => ({
  title: "Nearly the same",
  make: () =>
    h(
      "section",
      { class: "card" },
      h("h2", { tabindex: -1 }, "Nearly the same", h("span", { class: "soft" })),
      h(
        "p",
        { class: "soft" },
        "Several photos of one scene teach little more than one, and flatter the figures above. The others are set aside.",
      ),
      h("ul", { class: "twin-list" }),
    ),
  update: (element) => {
    put(element.querySelector("h2 span"), { text: ` ${count(groups.length, "group")}` });
    keyed(element.querySelector("ul"), groups.slice(0, 40), twin);
  },
});
