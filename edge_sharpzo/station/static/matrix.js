/** The confusion matrix, whose numbers are buttons. */

import { h } from "./dom.js";
import { shown } from "./places.js";
import { now } from "./state.js";
import { count } from "./words.js";

/**
 * @param {string[]} classes
 * @param {number[][]} counts rows are what photos show, columns what was answered
 * @param {(row: string, column: string) => void} pressed
 */
export function matrix(classes, counts, pressed) {
  const names = classes.map((name) => shown(now(), name));
  const cell = (row, column) => {
    const n = counts[row][column];
    const total = counts[row].reduce((sum, each) => sum + each, 0);
    const strength = total && n ? Math.max(1, Math.round((5 * n) / total)) : 0;
    const kind = row === column ? "right" : "wrong";
    if (!n || row === column)
      return h(
        "td",
        { class: `${kind} strength-${strength}` },
        n || h("span", { class: "unseen" }, "0"),
      );
    const label = `${count(n, "photo")} of ${names[row]} read as ${names[column]}: show them`;
    return h(
      "td",
      { class: `${kind} strength-${strength}` },
      h(
        "button",
        {
          type: "button",
          "aria-label": label,
          click: () => pressed(classes[row], classes[column]),
        },
        n,
      ),
    );
  };
  return h(
    "table",
    { class: "matrix" },
    h("caption", { class: "unseen" }, "Rows: what the photos show. Columns: what was answered."),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("td", {}),
        names.map((name) => h("th", { scope: "col" }, h("span", {}, name))),
      ),
    ),
    h(
      "tbody",
      {},
      names.map((name, row) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, name),
          names.map((_, column) => cell(row, column)),
        ),
      ),
    ),
  );
}
