/** A curve, drawn as SVG. */

import { s } from "./dom.js";
import { percent } from "./words.js";

// In pixels, as it is drawn: so the text stays as large as other text on every screen.
const HEIGHT = 220;
const DIGIT = 7.5; // as wide as one may be
const RIGHT = 12;
const TOP = 12;
const BOTTOM = 30;

const short = (value) => Number(value.toPrecision(3)).toString();

/**
 * The loss over the queries.
 * @param {{queries: number, loss: number, val_accuracy: ?number}[]} history
 * @param {number} width in pixels
 * @returns {SVGElement}
 */
export function lossCurve(history, width) {
  const points = history.filter(({ loss }) => Number.isFinite(loss));
  const first = points[0];
  const last = points.at(-1);
  const lowest = Math.min(...points.map(({ loss }) => loss));
  const highest = Math.max(...points.map(({ loss }) => loss));
  const span = highest - lowest || 1;
  const left = 12 + DIGIT * Math.max(short(lowest).length, short(highest).length);
  const most = last.queries || 1;
  const x = (queries) => left + ((width - left - RIGHT) * queries) / most;
  const y = (loss) => TOP + ((HEIGHT - TOP - BOTTOM) * (highest - loss)) / span;
  const right =
    last.val_accuracy === null || last.val_accuracy === undefined
      ? ""
      : ` ${percent(last.val_accuracy)} of the photos that judge it are right.`;
  const said = `After ${last.queries.toLocaleString("en")} queries the loss is ${short(last.loss)}; it began at ${short(first.loss)}.${right}`;
  return s(
    "svg",
    { class: "chart", width, height: HEIGHT, role: "img", "aria-label": said },
    s("line", { class: "grid-line", x1: left, x2: width - RIGHT, y1: y(lowest), y2: y(lowest) }),
    s("line", { class: "grid-line", x1: left, x2: width - RIGHT, y1: y(highest), y2: y(highest) }),
    s("text", { x: left - 6, y: y(highest) + 4, "text-anchor": "end" }, short(highest)),
    lowest < highest &&
      s("text", { x: left - 6, y: y(lowest) + 4, "text-anchor": "end" }, short(lowest)),
    s("text", { x: left, y: HEIGHT - 8 }, "0"),
    s(
      "text",
      { x: width - RIGHT, y: HEIGHT - 8, "text-anchor": "end" },
      `${last.queries.toLocaleString("en")} queries`,
    ),
    s("polyline", {
      class: "curve",
      points: points
        .map(({ queries, loss }) => `${x(queries).toFixed(1)},${y(loss).toFixed(1)}`)
        .join(" "),
    }),
    s("circle", { class: "dot", cx: x(last.queries), cy: y(last.loss), r: 4 }),
  );
}
