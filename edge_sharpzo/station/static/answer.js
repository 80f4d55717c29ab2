/** What a try is answered: the class, how likely each is, and the photos most like it. */

import { by, h, thumbnail } from "./dom.js";
import { speak } from "./notices.js";
import { shown } from "./places.js";
import { now } from "./state.js";
import { percent } from "./words.js";

function bar({ class: name, display, probability }) {
  return h(
    "li",
    {},
    h("span", {}, display || name),
    h("progress", { max: 1, value: probability, "aria-hidden": "true" }),
    h("span", { class: "figure" }, percent(probability)),
  );
}

function reason({ id, class: name, similarity }) {
  const title = shown(now(), name);
  return h(
    "li",
    {},
    thumbnail(id),
    h("span", {}, title),
    h("span", { class: "soft" }, `${percent(Math.max(0, similarity))} alike`),
  );
}

/**
 * Shows an answer, and why.
 * @param {any} answer what /api/try gives
 * @param {boolean} live whether another one comes in a moment: the same is not spoken again
 */
export function showAnswer(answer, live) {
  const best = answer.answers[0];
  const name = best.display || best.class;
  const none = answer.known === false;
  const verdict = none ? "None of these" : name;
  const from = Number.isFinite(answer.threshold)
    ? `: this classifier is from ${percent(answer.threshold)} on`
    : "";
  const doubt = none
    ? `It looks like nothing that was learnt; the nearest is ${name}.`
    : answer.sure === false
      ? `But it is not sure${from}.`
      : answer.sure
        ? `It is sure${from}.`
        : "";
  const told = [
    answer.by === "run"
      ? "Answered by the tuned classifier."
      : "Answered by what was learnt just now; the prompt is not tuned to these photos yet.",
    !answer.up_to_date && "It is of photos or words of before: what changed since is not in it.",
    answer.known === null &&
      "It cannot tell that a photo is none of these: too few photos taught it.",
  ].filter(Boolean);
  const likes = answer.like ?? [];
  by("answer").replaceChildren(
    h(
      "p",
      { class: `verdict${none ? " is-none" : ""}` },
      verdict,
      none ? "" : h("small", {}, ` ${percent(best.probability)}`),
    ),
    h("p", { class: "soft" }, doubt),
    h("ul", { class: "bars", "aria-label": "Probabilities" }, answer.answers.slice(0, 6).map(bar)),
    ...(likes.length
      ? [
          h("h3", {}, none ? "These photos are most like it" : "Because these photos are most like it"),
          h("ul", { class: "likes" }, likes.map(reason)),
        ]
      : []),
    h("p", { class: "soft" }, told.join(" ")),
  );
  if (!live || by("answer").dataset.verdict !== verdict) speak(`${verdict}. ${doubt}`);
  by("answer").dataset.verdict = verdict;
}
