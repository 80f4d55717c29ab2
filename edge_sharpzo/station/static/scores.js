/** The figures at the top of Look: how many photos are right, and who judged it. */

import { by, h, put } from "./dom.js";
import { keyed } from "./keyed.js";
import { speak } from "./notices.js";
import { accuracy, count, percent } from "./words.js";

let spoken = "";

function score({ text, value, main = false, was = null }) {
  const change =
    was !== null && Math.round(100 * was) !== Math.round(100 * value.share)
      ? h("span", { class: "change" }, `was ${percent(was)}`)
      : null;
  return h(
    "div",
    { class: `score${main ? " main" : ""}` },
    h("span", { class: "soft" }, text),
    h(
      "strong",
      {},
      percent(value.share),
      " ",
      h("small", {}, `± ${Math.round(100 * value.plus_minus)}`),
    ),
    change,
    h("span", { class: "soft" }, `${value.right} of ${value.photos} right`),
  );
}

/** What the tuned run says of itself, where nothing else can be said of it. */
function chosenBy({ tuned, tuned_validation: own }) {
  if (tuned || !own || own.classifier === null) return "";
  return ` Of the ${count(own.photos, "photo")} by which the prompt was chosen, which flatters it, its classifier has ${percent(own.classifier)} right.`;
}

/** Where the tuned run is not what it would be now. */
const ofBefore = ({ tuned_up_to_date: isNew, tuned_finished: isDone }) =>
  !isNew ? ", of the photos of before" : isDone ? "" : ", stopped early";

/** @param {any} look what /api/look gives @param {?number} was the share before the last change */
export function showScores(look, was) {
  const after = look.after;
  const tuned = look.tuned ?? {};
  const scores = [
    { text: "Before, by words alone", value: look.before },
    { text: "Now, by the quick classifier", value: after, main: true, was },
    { text: `By the tuned prompt${ofBefore(look)}`, value: tuned.prompt },
    { text: `By the tuned classifier, as in Take${ofBefore(look)}`, value: tuned.classifier },
  ];
  keyed(by("scores"), scores.filter(({ value }) => value), score);
  const judged =
    look.how === "held-out"
      ? `${count(look.photos, "photo")} that it did not learn from judged this.`
      : `Too few photos to keep some apart: each of the ${count(look.photos, "photo")} was judged by what the others taught.`;
  const taught = look.taught ? `${count(look.taught, "photo")} taught it. ` : "";
  const whyNot = look.why_not ? ` No figure of the tuned prompt here: ${look.why_not}.` : "";
  const how = `${taught}${judged}${whyNot}${chosenBy(look)} “±” is how far chance alone may have moved the figure, 19 times of 20: more photos make it smaller.`;
  put(by("how"), { text: how });
  const isOther = was !== null && Math.round(100 * was) !== Math.round(100 * after.share);
  const text = `Now ${accuracy(after)}${isOther ? `; it was ${percent(was)}` : ""}.`;
  if (text !== spoken) speak(text);
  spoken = text;
}
