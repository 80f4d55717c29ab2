/** The confusion matrix and what it holds most, whose numbers are buttons. */

import { h } from "./dom.js";
import { keyed } from "./keyed.js";
import { shown } from "./places.js";
import { now } from "./state.js";
import { count } from "./words.js";

const MOST = 8; // pairs

/**
 * @typedef {{classes: {name: string}[], confusion: number[][]}} Look
 * `confusion`: rows are what photos show, columns what was answered
 */

const names = ({ classes }) => classes.map(({ name }) => shown(now(), name));

/**
 * The pairs of classes that are most often taken for each other, as buttons: in a large matrix
 * they would have to be looked for.
 * @param {Element} parent
 * @param {Look} look
 * @param {(row: string, column: string) => void} pressed
 */
export function showMixedUp(parent, look, pressed) {
  const called = names(look);
  const pairs = look.confusion
    .flatMap((row, i) => row.map((n, j) => ({ n, i, j })))
    .filter(({ n, i, j }) => n > 0 && i !== j)
    .sort((one, other) => other.n - one.n)
    .map(({ n, i, j }) => ({
      n,
      from: look.classes[i].name,
      to: look.classes[j].name,
      called: [called[i], called[j]],
    }));
  const button = ({ n, from, to, called: [row, column] }) =>
    h(
      "button",
      {
        type: "button",
        "aria-label": `${count(n, "photo")} of ${row} read as ${column}: show`,
        click: () => pressed(from, to),
      },
      h("span", {}, `${row} → ${column}`),
      h("strong", {}, n),
    );
  const title = pairs.length > MOST ? `Most often, ${MOST} of ${pairs.length} pairs` : "Mixed up";
  const whole = (text) =>
    h("div", { class: "pairs" }, h("h3", {}, text), h("div", { class: "inline" }));
  keyed(parent, pairs.length ? [title] : [], whole, {
    update: (element) => keyed(element.lastChild, pairs.slice(0, MOST), button),
  });
}

/** What is in a cell, and how it looks. */
function cellOf({ confusion, classes }, called, row, column) {
  const n = confusion[row][column];
  const total = confusion[row].reduce((sum, each) => sum + each, 0);
  const strength = total && n ? Math.max(1, Math.round((5 * n) / total)) : 0;
  const kind = row === column ? "right" : "wrong";
  const label =
    n && row !== column
      ? `${count(n, "photo")} of ${called[row]} read as ${called[column]}: show them`
      : "";
  const of = [classes[row].name, classes[column].name];
  return { n, look: `${kind} strength-${strength}`, label, of };
}

/** The table without its rows. @param {string[]} called */
const emptyTable = (called) =>
  h(
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
        called.map((name) => h("th", { scope: "col", title: name }, h("span", {}, name))),
      ),
    ),
    h("tbody"),
  );

/**
 * @param {Element} parent
 * @param {Look} look
 * @param {(row: string, column: string) => void} pressed
 */
export function showMatrix(parent, look, pressed) {
  const called = names(look);
  const cell = ({ n, look: kind, label, of, name }) => {
    if (name !== undefined) return h("th", { scope: "row", title: name }, name);
    const number = n || h("span", { class: "unseen" }, "0");
    const click = () => pressed(...of);
    return h(
      "td",
      { class: kind },
      label ? h("button", { type: "button", "aria-label": label, click }, n) : number,
    );
  };
  const cells = (row) => called.map((_, column) => cellOf(look, called, row, column));
  const rows = (table) =>
    keyed(table.tBodies[0], [...called.keys()], () => h("tr"), {
      update: (tr, row) => keyed(tr, [{ name: called[row] }, ...cells(row)], cell),
    });
  keyed(parent, [called], emptyTable, { update: rows });
}
