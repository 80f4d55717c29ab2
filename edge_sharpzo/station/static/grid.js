/** Photos as a grid of thumbnails: to choose with mouse, thumb or keys, and to enlarge. */

import { h, put, thumbnail } from "./dom.js";
import { remarks } from "./viewer.js";

/** Photos that are dragged from one column to another: their ids. */
export const DRAGGED = "application/x-edge-sharpzo-photos";

/** One grid; the tiles stay the same elements while their photos stay. */
export class Grid {
  /** @type {any[]} */
  photos = [];
  /** @type {Map<string, HTMLElement>} */
  tiles = new Map();
  current = 0; // the one that the Tab key comes to
  anchor = 0; // where Shift begins

  /**
   * @param {string} label what the photos are of
   * @param {import("./selection.js").Selection} selection
   * @param {(photos: any[], index: number) => void} enlarge
   */
  constructor(label, selection, enlarge) {
    this.label = label;
    this.selection = selection;
    this.enlarge = enlarge;
    this.element = h("ul", { class: "grid", "aria-label": `Photos of ${label}` });
    this.element.addEventListener("keydown", (event) => this.pressed(event));
    this.changed = () => this.marked();
    selection.addEventListener("change", this.changed);
  }

  /** What its photos were is chosen no more. */
  remove() {
    this.selection.removeEventListener("change", this.changed);
    if (this.photos.some(({ id }) => this.selection.has(id))) this.selection.set(this.photos, false);
    this.element.remove();
  }

  /** Shows these photos; focus stays where it was, or goes to the photo that took its place. */
  show(photos) {
    const hadFocus = this.element.contains(document.activeElement);
    const kept = new Map();
    for (const photo of photos) kept.set(photo.id, this.tiles.get(photo.id) ?? this.made(photo));
    const gone = this.photos.filter(({ id }) => !kept.has(id));
    for (const { id } of gone) this.tiles.get(id).remove();
    this.photos = photos;
    this.tiles = kept;
    photos.forEach((photo, i) => {
      const tile = kept.get(photo.id);
      if (this.element.children[i] !== tile)
        this.element.insertBefore(tile, this.element.children[i] ?? null);
      this.described(tile, photo, i);
    });
    this.current = Math.max(0, Math.min(this.current, photos.length - 1));
    this.tabbable();
    this.marked();
    if (gone.some(({ id }) => this.selection.has(id))) this.selection.set(gone, false);
    if (hadFocus && !this.element.contains(document.activeElement)) this.focus(this.current);
  }

  made(photo) {
    const box = h("input", { type: "checkbox", "aria-describedby": "tile-keys" });
    const image = thumbnail(photo.id, { draggable: "false" });
    const tile = h(
      "li",
      { class: "tile", draggable: "true" },
      image,
      h("span", { class: "choose" }, box),
      h("span", { class: "mark", "aria-hidden": "true" }),
    );
    const index = () => this.photos.findIndex((each) => each.id === photo.id);
    image.addEventListener("error", () => tile.classList.add("broken"));
    box.addEventListener("click", (event) => this.choose(index(), box.checked, event.shiftKey));
    box.addEventListener("focus", () => {
      this.current = index();
      this.tabbable();
    });
    image.addEventListener("click", (event) => {
      if (event.shiftKey || event.ctrlKey || this.selection.chosen.size) {
        this.choose(index(), !this.selection.has(photo.id), event.shiftKey);
      } else {
        box.focus();
        this.enlarge(this.photos, index());
      }
    });
    tile.addEventListener("dragstart", (event) => {
      if (!this.selection.has(photo.id)) {
        this.selection.clear();
        this.selection.set([this.photos[index()]], true);
      }
      event.dataTransfer.setData(DRAGGED, JSON.stringify([...this.selection.chosen.keys()]));
      event.dataTransfer.effectAllowed = "move";
    });
    return tile;
  }

  described(tile, photo, i) {
    const said = remarks(photo);
    const label = [`Photo ${i + 1} of ${this.label}`, ...said].join(". ");
    put(tile.querySelector("input"), { "aria-label": label });
    put(tile, { title: said.join("\n") });
    const mark = photo.suspect ? "?" : photo.misread_as ? "≠" : "";
    put(tile.querySelector(".mark"), { text: mark });
    tile.classList.toggle("suspect", Boolean(photo.suspect));
  }

  /** Marks the photos that are chosen. */
  marked() {
    for (const [id, tile] of this.tiles) {
      tile.querySelector("input").checked = this.selection.has(id);
      tile.classList.toggle("is-chosen", this.selection.has(id));
    }
  }

  choose(index, on, toAnchor) {
    const [from, to] = toAnchor
      ? [Math.min(index, this.anchor), Math.max(index, this.anchor)]
      : [index, index];
    this.anchor = index;
    this.selection.set(this.photos.slice(from, to + 1), on);
  }

  tabbable() {
    this.photos.forEach((photo, i) => {
      const box = this.tiles.get(photo.id).querySelector("input");
      put(box, { tabindex: i === this.current ? 0 : -1 });
    });
  }

  focus(index) {
    const photo = this.photos[index];
    if (!photo) return;
    this.current = index;
    this.tabbable();
    this.tiles.get(photo.id).querySelector("input").focus();
  }

  pressed(event) {
    const tops = [...this.element.children].map((tile) => tile.offsetTop);
    const across = Math.max(1, tops.filter((top) => top === tops[0]).length);
    const last = this.photos.length - 1;
    const steps = {
      ArrowLeft: -1,
      ArrowRight: 1,
      ArrowUp: -across,
      ArrowDown: across,
      Home: -last,
      End: last,
    };
    if (event.key === "m") this.selection.dispatchEvent(new Event("move"));
    else if (event.key === "Enter") this.enlarge(this.photos, this.current);
    else if (!(event.key in steps)) return;
    else {
      const to = this.current + steps[event.key];
      const inside = event.key.startsWith("Arrow")
        ? to >= 0 && to <= last
          ? to
          : this.current
        : Math.max(0, Math.min(to, last));
      this.focus(inside);
    }
    event.preventDefault();
  }
}
