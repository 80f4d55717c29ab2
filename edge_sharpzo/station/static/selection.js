/** The photos that are chosen, on the whole page. */

/** Tells with the events "change", and "move" where the chosen are to be moved. */
export class Selection extends EventTarget {
  /** @type {Map<string, any>} photos by id, in the order in which they were chosen */
  chosen = new Map();

  has(id) {
    return this.chosen.has(id);
  }

  /** @param {any[]} photos @param {boolean} on */
  set(photos, on) {
    for (const photo of photos) {
      if (on) this.chosen.set(photo.id, photo);
      else this.chosen.delete(photo.id);
    }
    this.dispatchEvent(new Event("change"));
  }

  clear() {
    this.chosen.clear();
    this.dispatchEvent(new Event("change"));
  }
}
