/** The page Photos. */

import "./shell.js";

import { post } from "./api.js";
import { Column } from "./column.js";
import { by, h, put } from "./dom.js";
import { takeDrops } from "./drop.js";
import { keyed } from "./keyed.js";
import { canGoBack, moveButtons } from "./moving.js";
import { fail, speak, tell, toldBy } from "./notices.js";
import { BACKGROUND, SET_ASIDE, key, ofClass } from "./places.js";
import { Selection } from "./selection.js";
import { now, refresh, watch } from "./state.js";
import { showWaiting } from "./waiting.js";
import { count, sentence } from "./words.js";
import { showEffect } from "./wording.js";

const MANY = 7; // classes, from which on one is looked for by its name

const selection = new Selection();
/** @type {Map<string, Column>} */
const columns = new Map();

/** Puts the columns of these places into `parent`, in this order. */
function arranged(parent, places) {
  places.forEach(({ place, cls, number, leftOut = 0 }, i) => {
    const known = columns.get(key(place));
    const column = known ?? new Column(place, selection);
    columns.set(key(place), column);
    if (parent.children[i] !== column.element)
      parent.insertBefore(column.element, parent.children[i] ?? null);
    column.update(cls, number, leftOut);
  });
}

function show(state) {
  const classes = state.classes.map((cls) => ({
    place: ofClass(cls.name),
    cls,
    number: cls.photos,
    leftOut: cls.left_out,
  }));
  const others = [
    {
      place: BACKGROUND,
      cls: null,
      number: state.background,
      leftOut: state.background_left_out,
    },
    { place: SET_ASIDE, cls: null, number: state.set_aside },
  ].filter(({ place, number }) => number > 0 || (place === BACKGROUND && classes.length > 0));
  const wanted = new Set([...classes, ...others].map(({ place }) => key(place)));
  for (const [name, column] of columns) {
    if (wanted.has(name)) continue;
    const had = column.element.contains(document.activeElement);
    column.remove();
    if (had) by("main").focus({ preventScroll: true });
    columns.delete(name);
  }
  arranged(by("columns"), classes);
  arranged(by("other-columns"), others);
  put(by("others"), { hidden: others.length === 0 });
  put(by("begin"), { hidden: classes.length >= 2 });
  put(by("wording"), { hidden: classes.length === 0 });
  put(by("find"), { hidden: classes.length < MANY });
  showFound();
  const photos = state.classes.reduce((sum, cls) => sum + cls.photos, 0);
  put(by("tile-keys"), { hidden: photos === 0 });
  const summary = `${count(photos, "photo")} in ${count(classes.length, "class", "classes")}`;
  put(by("summary"), { text: `${summary} · ${state.data}` });
  put(by("notes"), { hidden: state.notes.length === 0 });
  put(by("notes-title"), { text: count(state.notes.length, "note") });
  keyed(by("notes-list"), state.notes, (note) => h("li", {}, sentence(note)));
  showTemplate(state.template);
  if (selection.chosen.size) showChosen();
}

/** Shows the template, also in its field, where nobody has begun to write another. */
function showTemplate(template) {
  const field = /** @type {HTMLInputElement} */ (by("template"));
  if (!field.value || field.value === by("template-now").textContent) field.value = template;
  put(by("template-now"), { text: template });
}

/** Hides the classes that are not looked for. */
function showFound() {
  const plain = (text) => text.normalize("NFC").toLowerCase();
  const wanted = by("find").hidden ? "" : plain(by("find").value.trim());
  for (const column of columns.values()) {
    if (column.place.kind !== "class") continue;
    const { name, display } = column.cls;
    const isFound = [name, display].some((each) => plain(each).includes(wanted));
    put(column.element, { hidden: !isFound });
  }
}

const chosenCount = h("strong");
const chosenMoves = moveButtons(
  () => [...selection.chosen.keys()],
  () => selection.clear(),
);
by("chosen").append(
  chosenCount,
  h("button", { type: "button", class: "quiet", click: () => selection.clear() }, "Choose none"),
  ...chosenMoves.elements,
);

function showChosen() {
  const bar = by("chosen");
  const chosen = [...selection.chosen.values()];
  const had = bar.contains(document.activeElement);
  put(bar, { hidden: chosen.length === 0 });
  document.body.classList.toggle("has-chosen", chosen.length > 0);
  if (!chosen.length) {
    chosenMoves.reset();
    if (had) by("main").focus();
    return;
  }
  const areIn = (place) => chosen.every(({ id }) => columns.get(place)?.grid.tiles.has(id));
  const isAside = areIn("set-aside");
  const canAllGoBack = isAside && chosen.every(canGoBack);
  chosenMoves.update({ isAside, canGoBack: canAllGoBack, isBackground: areIn("background") });
  const text = `${count(chosen.length, "photo")} chosen`;
  if (chosenCount.textContent !== text)
    speak(`${text}. The key M goes to the buttons that move them.`);
  put(chosenCount, { text });
}

by("new-class").addEventListener("submit", async (event) => {
  event.preventDefault();
  const input = /** @type {HTMLInputElement} */ (by("new-name"));
  const name = input.value.trim();
  try {
    toldBy(await post("/api/classes", { name }));
    input.value = "";
    await refresh();
    speak(`The class ${name} is there. Add photos to it.`);
    columns.get(key(ofClass(name)))?.addButton.focus();
  } catch (error) {
    fail(error);
    input.focus();
  }
});

by("find").addEventListener("input", showFound);

by("template-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const template = by("template").value.trim();
  try {
    toldBy(await post("/api/template", { template }));
    tell("These words are used from now on. Undo takes it back.");
    await refresh();
  } catch (error) {
    fail(error);
  }
});

addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) selection.clear();
});

showEffect(by("template"), by("template-effect"), (text) =>
  text && text !== now()?.template ? { template: text } : null,
);
selection.addEventListener("change", showChosen);
selection.addEventListener("move", () => by("chosen").querySelector("select")?.focus());
takeDrops(selection);
watch(show);
watch(showWaiting);
