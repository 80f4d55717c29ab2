/** A class, or another place where photos lie, with its photos: loaded when it comes into view. */

import { photograph } from "./burst.js";
import { editClass } from "./class_dialog.js";
import { h, icon, put } from "./dom.js";
import { ask, leftOut, photosOf } from "./files.js";
import { Grid } from "./grid.js";
import { listed } from "./listing.js";
import { title } from "./places.js";
import { missed, now } from "./state.js";
import { upload } from "./uploads.js";
import { view } from "./viewer.js";
import { count } from "./words.js";

const FIRST = 12;
const MORE = 48;
const MEANT = {
  background: ": what the camera sees besides. They teach it to answer “none of these”.",
  "set-aside": ": nothing learns from them, and nothing is deleted.",
};

const watcher = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) entry.target.column.seen(entry.isIntersecting);
  },
  { rootMargin: "300px" },
);

/** One column. */
export class Column {
  total = 0;
  wanted = FIRST;
  isSeen = false;
  /** the version of the album, and of the look, that the photos shown are of */
  shown = "";

  /** @param {import("./places.js").Place} place @param {import("./selection.js").Selection} selection */
  constructor(place, selection) {
    this.place = place;
    this.heading = h("h2", { tabindex: -1 });
    this.figures = h("p", { class: "soft" });
    const where = {
      isAside: place.kind === "set-aside",
      isBackground: place.kind === "background",
    };
    const enlarge = (photos, at) =>
      view(photos, at, where, { total: () => this.total, more: () => this.loadMore() });
    this.grid = new Grid(title(now(), place), selection, enlarge);
    this.more = h("button", {
      type: "button",
      class: "quiet",
      hidden: true,
      click: () => this.showMore(),
    });
    this.element = h(
      "section",
      { class: "card column" },
      h("div", { class: "column-top" }, h("div", {}, this.heading, this.figures), this.edit()),
      this.buttons(),
      this.grid.element,
      this.more,
    );
    this.element.column = this;
    watcher.observe(this.element);
  }

  edit() {
    if (this.place.kind !== "class") return null;
    this.editButton = h(
      "button",
      {
        type: "button",
        class: "plain",
        click: () =>
          editClass(this.cls, { addFolder: () => this.add({ folder: true }), goTo: focusClass }),
      },
      icon("edit"),
    );
    return this.editButton;
  }

  buttons() {
    if (this.place.kind === "set-aside") return null;
    this.addButton = h(
      "button",
      { type: "button", click: () => this.add({}) },
      icon("add"),
      "Photos",
    );
    this.cameraButton = h(
      "button",
      { type: "button", click: () => photograph(this.place) },
      icon("camera"),
      "Camera",
    );
    return h("div", { class: "inline adding" }, this.addButton, this.cameraButton);
  }

  async add(how) {
    const { photos, others } = photosOf(await ask(how));
    leftOut(others);
    if (photos.length)
      await upload(
        this.place,
        photos.map(({ file }) => file),
      );
  }

  seen(isSeen) {
    this.isSeen = isSeen;
    if (isSeen) this.load();
  }

  showMore() {
    const first = this.grid.photos.length;
    this.loadMore().then(() => this.grid.focus(first));
  }

  /** Loads some more photos; gives all that are loaded then. */
  async loadMore() {
    this.wanted += MORE;
    await this.load(true);
    return this.grid.photos;
  }

  /** Takes over what the state says of this place. */
  update(cls, number, leftOut) {
    this.cls = cls;
    const name = title(now(), this.place);
    this.grid.label = name;
    put(this.heading, { text: name });
    for (const [element, label] of [
      [this.grid.element, `Photos of ${name}`],
      [this.editButton, `Change the class ${name}`],
      [this.addButton, `Add photos to ${name}`],
      [this.cameraButton, `Camera for ${name}`],
    ])
      if (element) put(element, { "aria-label": label });
    const folder =
      cls && cls.name !== name && cls.name.replaceAll("_", " ") !== name
        ? ` · folder ${cls.name}`
        : "";
    const heldOut = cls?.held_out ? `, ${cls.held_out} held out` : "";
    const unused = leftOut ? ` · ${count(leftOut, "file")} left out, see Look` : "";
    const meant = MEANT[this.place.kind] ?? "";
    put(this.figures, { text: `${count(number, "photo")}${heldOut}${unused}${folder}${meant}` });
    this.total = number + leftOut;
    if (this.isSeen) this.load();
  }

  /** Loads the photos that are shown, where something changed since. */
  async load(again = false) {
    const state = now();
    const version = `${state.version} ${state.look?.version} ${state.look?.state}`;
    if (this.shown === version && !again) return;
    this.shown = version;
    try {
      const found = await listed(this.place, this.wanted, () => version !== this.shown);
      if (!found) return;
      this.total = found.total;
      this.grid.show(found.photos);
    } catch (error) {
      if (version !== this.shown) return;
      this.shown = "";
      if (error.status !== 404) missed(error); // 404: the class is gone, and so is this column soon
      return;
    }
    const left = this.total - this.grid.photos.length;
    const text = left > MORE ? `Show ${MORE} more of ${left}` : `Show ${left} more`;
    put(this.more, { hidden: left <= 0, text });
  }

  remove() {
    this.shown = ""; // what is still under way comes to nothing
    watcher.unobserve(this.element);
    this.grid.remove();
    this.element.remove();
  }
}

/** Gives the focus to what changes the class of this name, where that is there. */
function focusClass(name) {
  for (const { column } of document.querySelectorAll(".column"))
    if (column.place.name === name) column.editButton.focus();
}
