/** Lists of photos to mend: each with the one click that would mend it. */

import { h, put, thumbnail } from "./dom.js";
import { focusNear, keyed } from "./keyed.js";
import { classList, move } from "./moving.js";
import { BACKGROUND, SET_ASIDE, ofClass, shown } from "./places.js";
import { now } from "./state.js";
import { percent } from "./words.js";
import { view } from "./viewer.js";

const FIRST = 12;

/**
 * @typedef {{id: string, class: ?string, other?: string, caption: string}} Entry
 * `class`: null for a photo of no class; `other`: what it may be instead
 */

/** Takes away what was mended; the focus goes to what comes into its place. */
export function taken(item) {
  if (!item.isConnected) return; // the list was made of newer photos meanwhile
  const list = item.parentElement;
  const at = [...list.children].indexOf(item);
  item.remove();
  focusNear(list, at);
}

/** A photo, and the buttons that mend it. The same as long as its photo is in the list. */
class Card {
  /** @param {Entry} entry @param {() => Entry[]} all of the list */
  constructor(entry, all) {
    const button = (to, how, text = "") =>
      h("button", { type: "button", ...how, click: () => this.go(to()) }, text);
    const enlarge = () =>
      view(all(), all().indexOf(this.entry), { isAside: this.entry.class === null });
    this.thumb = h(
      "button",
      { type: "button", class: "thumb", click: enlarge },
      thumbnail(entry.id),
    );
    this.name = h("strong");
    this.caption = h("span", { class: "soft" });
    this.other = button(() => ofClass(this.entry.other), {});
    this.none = button(() => BACKGROUND, { class: "quiet" }, "None of these");
    this.aside = button(() => SET_ASIDE, { class: "quiet" }, "Set aside");
    this.list = entry.class === null ? classList((to) => this.go(to)) : null;
    const last = this.list ? this.list.element : this.aside;
    this.element = h(
      "li",
      { class: "mend" },
      this.thumb,
      h(
        "div",
        { class: "mend-side" },
        h("p", {}, this.name, this.caption),
        h("div", { class: "inline mend-buttons" }, this.other, this.none, last),
      ),
    );
    this.element.card = this;
  }

  async go(to) {
    if (this.element.ariaBusy === "true") return;
    put(this.element, { "aria-busy": "true" });
    await move([this.entry.id], to, () => taken(this.element));
    put(this.element, { "aria-busy": false });
  }

  /** @param {Entry} entry */
  update(entry) {
    this.entry = entry;
    const name = entry.class === null ? "No class yet" : shown(now(), entry.class);
    const about = entry.class === null ? "photo of no class yet" : `photo of ${name}`;
    const other = entry.other ? `It is ${shown(now(), entry.other)}` : "";
    put(this.thumb, { "aria-label": `Enlarge this ${about}` });
    put(this.name, { text: name });
    put(this.caption, { text: entry.caption });
    put(this.other, { hidden: !other, text: other });
    put(this.none, { "aria-label": `None of these: ${about}` });
    put(this.aside, { "aria-label": `Set aside: ${about}` });
    this.list?.update();
  }
}

/** A list of photos to mend, the first of them at first. */
class MendList {
  /** @type {Entry[]} */
  entries = [];
  most = FIRST;

  constructor(title, level) {
    this.count = h("span", { class: "soft" });
    this.why = h("p", { class: "soft" });
    this.list = h("ul", { class: "mends" });
    this.more = h("button", { type: "button", class: "quiet", click: () => this.showMore() });
    const heading = h(level, { tabindex: -1 }, title, this.count);
    this.element = h("section", { class: "card" }, heading, this.why, this.list, this.more);
    this.element.list = this;
  }

  showMore() {
    const first = this.most;
    this.most += FIRST;
    this.update(this.why.textContent, this.entries);
    this.list.children[first]?.querySelector("button").focus();
  }

  /** @param {string} why @param {Entry[]} entries */
  update(why, entries) {
    this.entries = entries;
    put(this.count, { text: ` ${entries.length}` });
    put(this.why, { text: why });
    const make = (entry) => new Card(entry, () => this.entries).element;
    keyed(this.list, entries.slice(0, this.most), make, {
      key: ({ id }) => id,
      update: (element, entry) => element.card.update(entry),
    });
    const left = entries.length - this.most;
    put(this.more, { hidden: left <= 0, text: `Show more (${left})` });
  }
}

/**
 * @param {string} title @param {string} why @param {Entry[]} entries @param {string} level
 * @returns {import("./keyed.js").Section}
 */
export const mendList = (title, why, entries, level = "h2") => ({
  title,
  make: () => new MendList(title, level).element,
  update: (element) => element.list.update(why, entries),
});

/** Entries of a list that /api/look gives. */
export const misread = ({ id, class: own, said, probability }) => ({
  id,
  class: own,
  other: said,
  misread_as: said,
  caption: `read as ${shown(now(), said)}, ${percent(probability)}`,
});
export const suspect = ({ id, class: own, looks_like: other, probability }) => ({
  id,
  class: own,
  other,
  suspect: other,
  caption: `looks like ${shown(now(), other)}, ${percent(probability)}`,
});
export const unsure = ({ id, class: own, said, probability }) => ({
  id,
  class: own,
  sure: false,
  other: said && said !== own ? said : undefined,
  caption: `not sure: ${said ? `${shown(now(), said)}, ` : ""}${percent(probability)}`,
});
export const refused = ({ id, class: own }) => ({
  id,
  class: own,
  known: false,
  caption: "taken for none of these",
});
