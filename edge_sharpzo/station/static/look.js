/** The page Look. */

import "./shell.js";

import { get } from "./api.js";
import { by, h } from "./dom.js";
import { keptFocus } from "./focus.js";
import { mostMixedUp, matrix } from "./matrix.js";
import { mendList, misread, refused, suspect, twins, unsure } from "./mend.js";
import { fail } from "./notices.js";
import { shown as named } from "./places.js";
import { showScores } from "./scores.js";
import { now, watch } from "./state.js";
import { percent, sentence, some } from "./words.js";

const SMALL = 8; // classes whose matrix leaves room beside it, and is seen whole

let look = null;
let shownVersion = null;
let cell = null; // [row, column] of the matrix, where one is open

function showCell() {
  if (!cell) {
    by("cell").replaceChildren();
    return;
  }
  const [row, column] = cell;
  const entries = look.misread
    .filter((each) => each.class === row && each.said === column)
    .map(misread);
  const title = `${named(now(), row)}, read as ${named(now(), column)}`;
  by("cell").replaceChildren(mendList(title, "", entries, { level: "h3" }));
}

function pressed(row, column) {
  cell = [row, column];
  showCell();
  by("cell").querySelector("h3").focus();
}

const LISTS = [
  [
    "misread",
    "Misread",
    "A wrong label, an odd photo, or a class that wants more photos like these.",
    misread,
  ],
  [
    "suspects",
    "Labels to look at",
    "These look far more like another class than like their own.",
    suspect,
  ],
  [
    "unsure",
    "Not sure",
    "Right or not, the answer was given with doubt. More photos like these help.",
    unsure,
  ],
  [
    "refused",
    "Taken for none of these",
    "They are of a class, but look like nothing that was learnt.",
    refused,
  ],
];

/** From where on an answer is sure, which depends on how sure its wrong answers were. */
const sureFrom = ({ threshold }) =>
  Number.isFinite(threshold) ? ` An answer of this classifier is sure from ${percent(threshold)} on.` : "";

/** Files that nothing learns from, with the reason. @param {{file: string, why: string}[]} files */
const leftOut = (files) =>
  h(
    "section",
    { class: "card" },
    h("h2", { tabindex: -1 }, "Left out", h("span", { class: "soft" }, ` ${files.length}`)),
    h("p", { class: "soft" }, "Nothing learns from these files, and nothing is deleted."),
    h(
      "ul",
      { class: "soft dots" },
      files.map(({ file, why }) => h("li", {}, `${file}: ${why}`)),
    ),
  );

/** Links to the lists, which lie far below each other on a phone. */
function showJumps(lists) {
  const link = (section, i) => {
    section.id = `list-${i}`;
    return h("a", { href: `#list-${i}` }, section.querySelector("h2").textContent);
  };
  by("jumps").replaceChildren(...lists.map(link));
  by("jumps").hidden = lists.length < 2;
}

function show(was) {
  const refocus = keptFocus("#lists section, #cell section");
  showScores(look, was);
  const wanting = look.wanting ?? [];
  by("wanting").replaceChildren(
    wanting.length
      ? h(
          "p",
          { class: "notice" },
          `More photos would help most here: ${some(wanting.map((name) => named(now(), name)), 5)}.`,
        )
      : "",
  );
  by("matrix").replaceChildren(
    matrix(
      look.classes.map(({ name }) => name),
      look.confusion,
      pressed,
    ),
  );
  by("matrix").parentElement.classList.toggle("is-large", look.classes.length > SMALL);
  by("pairs").replaceChildren(
    ...(look.classes.length > SMALL ? [mostMixedUp(look.classes, look.confusion, pressed)] : []),
  );
  showCell();
  const lists = LISTS.filter(([field]) => look[field]?.length).map(([field, title, why, entry]) =>
    mendList(title, `${why}${field === "unsure" ? sureFrom(look) : ""}`, look[field].map(entry)),
  );
  if (look.left_out?.length) lists.push(leftOut(look.left_out));
  if (look.near_duplicates?.length) lists.push(twins(look.near_duplicates, () => {}));
  if (!lists.length)
    lists.push(
      h(
        "section",
        { class: "card" },
        h("h2", {}, "Nothing to mend"),
        h("p", { class: "soft" }, "No photo is misread, and no label looks wrong."),
      ),
    );
  by("whose").hidden = now().learn.state !== "done";
  by("lists").replaceChildren(...lists);
  showJumps(lists);
  by("look").hidden = false;
  refocus();
}

async function load(version) {
  shownVersion = version;
  try {
    const newest = await get("/api/look");
    if (version !== shownVersion) return;
    const was = look ? look.after.share : null;
    look = newest;
    show(was);
  } catch (error) {
    shownVersion = null;
    fail(error);
  }
}

/** What there is to say while there is nothing new to see. */
function waiting({ state: how, why, done, of }) {
  if (how === "none")
    return `Nothing to look at yet: ${sentence(why ?? "two classes need photos")} Photos come in on the page Photos.`;
  if (how !== "working") return "";
  return of
    ? `Looking at photos: ${done} of ${of} …`
    : "Learning from the photos as they are now …";
}

watch((state) => {
  const { state: how, version } = state.look;
  const text = waiting(state.look);
  if (by("look-wait").textContent !== text) by("look-wait").textContent = text;
  by("look").classList.toggle("is-old", how === "working");
  if (how === "none") by("look").hidden = true;
  // A run that has ended brings the tuned prompt's figures.
  const mark = `${version} ${state.learn.state === "done"}`;
  if (how === "ready" && mark !== shownVersion) load(mark);
});
