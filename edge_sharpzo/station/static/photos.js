/** The page Photos. */

import "./shell.js";

import { post } from "./api.js";
import { Column } from "./column.js";
import { by, h } from "./dom.js";
import { takeDrops } from "./drop.js";
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
  places.forEach(({ place, cls, number }, i) => {
    const known = columns.get(key(place));
    const column = known ?? new Column(place, selection);
    columns.set(key(place), column);
    if (parent.children[i] !== column.element)
      parent.insertBefore(column.element, parent.children[i] ?? null);
    column.update(cls, number);
  });
}

function show(state) {
  const classes = state.classes.map((cls) => ({
    place: ofClass(cls.name),
    cls,
    number: cls.photos,
  }));
  const others = [
    { place: BACKGROUND, cls: null, number: state.background },
    { place: SET_ASIDE, cls: null, number: state.set_aside },
  ].filter(({ place, number }) => number > 0 || (place === BACKGROUND && classes.length > 0));
  const wanted = new Set([...classes, ...others].map(({ place }) => key(place)));
  for (const [name, column] of columns) {
    if (wanted.has(name)) continue;
    column.remove();
    columns.delete(name);
  }
  arranged(by("columns"), classes);
  arranged(by("other-columns"), others);
  by("others").hidden = others.length === 0;
  by("begin").hidden = classes.length >= 2;
  by("wording").hidden = classes.length === 0;
  by("find").hidden = classes.length < MANY;
  showFound();
  const photos = state.classes.reduce((sum, cls) => sum + cls.photos, 0);
  by("tile-keys").hidden = photos === 0;
  by("summary").textContent = [
    `${count(photos, "photo")} in ${count(classes.length, "class", "classes")}`,
    state.data,
  ].join(" · ");
  by("notes").hidden = state.notes.length === 0;
  by("notes-title").textContent = count(state.notes.length, "note");
  const notes = state.notes.map((note) => h("li", {}, sentence(note)));
  by("notes-list").replaceChildren(...notes);
  by("template-now").textContent = state.template;
  if (document.activeElement !== by("template")) by("template").value = state.template;
}

/** Hides the classes that are not looked for. */
function showFound() {
  const plain = (text) => text.normalize("NFC").toLowerCase();
  const wanted = by("find").hidden ? "" : plain(by("find").value.trim());
  for (const column of columns.values()) {
    if (column.place.kind !== "class") continue;
    const { name, display } = column.cls;
    column.element.hidden = ![name, display].some((each) => plain(each).includes(wanted));
  }
}

function showChosen() {
  const bar = by("chosen");
  const chosen = [...selection.chosen.values()];
  const had = bar.contains(document.activeElement);
  bar.hidden = chosen.length === 0;
  document.body.classList.toggle("has-chosen", !bar.hidden);
  if (bar.hidden) {
    bar.replaceChildren();
    if (had) by("main").focus();
    return;
  }
  const isAside = chosen.every((photo) => columns.get("set-aside")?.grid.tiles.has(photo.id));
  const isBackground = chosen.every((photo) => columns.get("background")?.grid.tiles.has(photo.id));
  bar.replaceChildren(
    h("strong", {}, `${count(chosen.length, "photo")} chosen`),
    h("button", { type: "button", class: "quiet", click: () => selection.clear() }, "Choose none"),
    ...moveButtons(() => [...selection.chosen.keys()], {
      isAside,
      canGoBack: isAside && chosen.every(canGoBack),
      isBackground,
      done: () => selection.clear(),
    }),
  );
  speak(`${count(chosen.length, "photo")} chosen. The key M goes to the buttons that move them.`);
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
