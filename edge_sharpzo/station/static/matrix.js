/** The confusion matrix and what it holds most, whose numbers are buttons. */

import { h } from "./dom.js";
import { shown } from "./places.js";
import { now } from "./state.js";
import { count } from "./words.js";

const MOST = 8; // pairs

/**
 * The pairs of classes that are most often taken for each other, as buttons: in a large matrix
 * they would have to be looked for.
 * @param {{name: string}[]} classes
 * @param {number[][]} counts as for `matrix`
 * @param {(row: string, column: string) => void} pressed
 */
export function mostMixedUp(classes, counts, pressed) {
  const pairs = counts
    .flatMap((row, i) => row.map((n, j) => ({ n, from: classes[i].name, to: classes[j].name })))
    .filter(({ n, from, to }) => n > 0 && from !== to)
    .sort((one, other) => other.n - one.n);
  if (!pairs.length) return "";
  const name = (each) => shown(now(), each);
  const button = ({ n, from, to }) =>
    h(
      "button",
      {
        type: "button",
        "aria-label": `${count(n, "photo")} of ${name(from)} read as ${name(to)}: show`,
        click: () => pressed(from, to),
      },
      h("span", {}, `${name(from)} → ${name(to)}`),
      h("strong", {}, n),
    );
  const title = pairs.length > MOST ? `Most often, ${MOST} of ${pairs.length} pairs` : "Mixed up";
  return h(
    "div",
    { class: "pairs" },
    h("h3", {}, title),
    h("div", { class: "inline" }, pairs.slice(0, MOST).map(button)),
  );
}

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
