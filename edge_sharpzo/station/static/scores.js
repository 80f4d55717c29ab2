/** The figures at the top of Look: how many photos are right, and who judged it. */

import { by, h } from "./dom.js";
import { speak } from "./notices.js";
import { accuracy, count, percent } from "./words.js";

function score(text, value, { main = false, was = null } = {}) {
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

/** @param {any} look what /api/look gives @param {?number} was the share before the last change */
export function showScores(look, was) {
  const after = look.after;
  by("scores").replaceChildren(
    ...[
      score("Before, by words alone", look.before),
      score("Now, learnt from your photos", after, { main: true, was }),
      look.tuned && score("With the tuned prompt", look.tuned),
    ].filter(Boolean),
  );
  const judged =
    look.how === "held-out"
      ? `${count(look.photos, "photo")} that it did not learn from judged this.`
      : `Too few photos to keep some apart: each of the ${count(look.photos, "photo")} was judged by what the others taught.`;
  by("how").textContent =
    `${judged} “±” is how far chance alone may have moved the figure, 19 times of 20: more photos make it smaller.`;
  if (was !== null && Math.round(100 * was) !== Math.round(100 * after.share))
    speak(`Now ${accuracy(after)}; it was ${percent(was)}.`);
  else speak(`Now ${accuracy(after)}.`);
}
