/** The page Look. */

import "./shell.js";

import { get } from "./api.js";
import { by, h, put, putLinked } from "./dom.js";
import { keyed, sections } from "./keyed.js";
import { showMatrix, showMixedUp } from "./matrix.js";
import { mendList, misread, refused, suspect, unsure } from "./mend.js";
import { shown as named } from "./places.js";
import { showScores } from "./scores.js";
import { GOING, missed, now, watch } from "./state.js";
import { twins } from "./twins.js";
import { percent, sentence, some } from "./words.js";

const SMALL = 8; // classes whose matrix leaves room beside it, and is seen whole

let look = null;
let was = null; // the share that was right before photos or words changed last
let shownMark = null; // of what is shown, or asked for
let cell = null; // [row, column] of the matrix, where one is open

function showCell() {
  if (!cell) return;
  const [row, column] = cell;
  const entries = look.misread
    .filter((each) => each.class === row && each.said === column)
    .map(misread);
  const title = `${named(now(), row)}, read as ${named(now(), column)}`;
  sections(by("cell"), [mendList(title, "", entries, "h3")]);
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
const leftOut = (files) => ({
  title: "Left out",
  make: () =>
    h(
      "section",
      { class: "card" },
      h("h2", { tabindex: -1 }, "Left out", h("span", { class: "soft" })),
      h("p", { class: "soft" }, "Nothing learns from these files, and nothing is deleted."),
      h("ul", { class: "soft dots" }),
    ),
  update: (element) => {
    put(element.querySelector("h2 span"), { text: ` ${files.length}` });
    keyed(element.querySelector("ul"), files, ({ file, why }) => h("li", {}, `${file}: ${why}`));
  },
});

const nothing = {
  title: "Nothing to mend",
  make: () =>
    h(
      "section",
      { class: "card" },
      h("h2", {}, "Nothing to mend"),
      h("p", { class: "soft" }, "No photo is misread, and no label looks wrong."),
    ),
};

/** Links to the lists, which lie far below each other on a phone. */
function showJumps() {
  const links = [...by("lists").children].map((section, i) => {
    put(section, { id: `list-${i}` });
    return { href: `#list-${i}`, text: section.querySelector("h2").textContent };
  });
  keyed(by("jumps"), links, ({ href, text }) => h("a", { href }, text));
  put(by("jumps"), { hidden: links.length < 2 });
}

function show() {
  showScores(look, was);
  const wanting = (look.wanting ?? []).map((name) => named(now(), name));
  const wish = `More photos would help most here: ${some(wanting, 5)}.`;
  keyed(by("wanting"), wanting.length ? [wish] : [], (text) => h("p", { class: "notice" }, text));
  const isLarge = look.classes.length > SMALL;
  showMatrix(by("matrix"), look, pressed);
  by("matrix").parentElement.classList.toggle("is-large", isLarge);
  showMixedUp(by("pairs"), isLarge ? look : { classes: [], confusion: [] }, pressed);
  showCell();
  const lists = LISTS.filter(([field]) => look[field]?.length).map(([field, title, why, entry]) =>
    mendList(title, `${why}${field === "unsure" ? sureFrom(look) : ""}`, look[field].map(entry)),
  );
  if (look.left_out?.length) lists.push(leftOut(look.left_out));
  if (look.near_duplicates?.length) lists.push(twins(look.near_duplicates));
  put(by("whose"), { hidden: !look.tuned && now().learn.state !== "done" });
  sections(by("lists"), lists.length ? lists : [nothing]);
  showJumps();
  put(by("look"), { hidden: false });
}

async function load(mark) {
  shownMark = mark;
  try {
    const newest = await get("/api/look");
    if (mark !== shownMark) return;
    if (look && look.version !== newest.version) was = look.after.share;
    look = newest;
    show();
  } catch (error) {
    if (mark !== shownMark) return; // a newer question is under way
    shownMark = null;
    missed(error);
  }
}

/** Another text whenever a run has ended or was stopped, which brings the tuned prompt's figures. */
const ofRun = ({ state: how, queries, up_to_date: isNew }) =>
  GOING.has(how) ? "goes on" : `${how} ${queries} ${isNew}`;

/** What there is to say while there is nothing new to see. */
function waiting({ state: how, why, done, of }) {
  if (how === "none")
    return `Nothing to look at yet: ${sentence(why ?? "two classes need photos: add them on the page Photos")}`;
  if (how !== "working") return "";
  return of
    ? `Looking at photos: ${done} of ${of} …`
    : "Learning from the photos as they are now …";
}

watch((state) => {
  const { state: how, version } = state.look;
  const text = waiting(state.look);
  putLinked(by("look-wait"), text);
  by("look").classList.toggle("is-old", how === "working");
  if (how === "none") {
    put(by("look"), { hidden: true });
    shownMark = null; // the same photos may come back
  }
  if (how !== "ready") return;
  const mark = `${version} ${ofRun(state.learn)}`;
  if (mark !== shownMark) load(mark);
});
