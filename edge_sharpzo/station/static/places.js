/** Where a photo can lie: in a class, in the background, or set aside. */

/** @typedef {{kind: "class", name: string} | {kind: "background"} | {kind: "set-aside"}} Place */

/** @returns {Place} */
export const ofClass = (name) => ({ kind: "class", name });
/** @type {Place} */
export const BACKGROUND = { kind: "background" };
/** @type {Place} */
export const SET_ASIDE = { kind: "set-aside" };

/** The part of /api/photos's address that means this place. */
export const query = (place) =>
  place.kind === "class" ? `class=${encodeURIComponent(place.name)}` : `${place.kind}=1`;

/** A text by which a place is told from others. */
export const key = (place) => (place.kind === "class" ? `class ${place.name}` : place.kind);

/** How /api/photos/move calls this place. */
export const target = (place) => (place.kind === "class" ? { class: place.name } : place.kind);

/** What a class is called, for people. */
export const shown = (state, name) =>
  state?.classes.find((each) => each.name === name)?.display || name;

/** What a place is called. */
export function title(state, place) {
  if (place.kind === "class") return shown(state, place.name);
  return place.kind === "background" ? "None of these" : "Set aside";
}
