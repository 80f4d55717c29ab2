/** Photos that no class has yet, such as those that `watch` saved since it was not sure. */

import { by } from "./dom.js";
import { sections } from "./keyed.js";
import { listed, part } from "./listing.js";
import { mendList } from "./mend.js";
import { canGoBack } from "./moving.js";
import { SET_ASIDE } from "./places.js";
import { missed } from "./state.js";
import { saysOf } from "./viewer.js";

let of = ""; // the versions that are shown

/** An entry of a list to mend: with the class that the classifier would say. */
function entry(photo) {
  const { says } = photo;
  return { ...photo, class: null, other: says?.class, caption: says ? saysOf(says) : "" };
}

function shown(entries) {
  const why = "No class has these yet, and nothing learns from them. Say what each of them is.";
  const lists = entries.length ? [mendList("Waiting for a class", why, entries)] : [];
  sections(by("waiting"), lists);
}

const hasNone = (photo) => !canGoBack(photo); // a class, which it came from

/** Shows those that wait, and again as guesses come: some with each answer, as long as any come. */
async function showAll(isOld) {
  const found = await listed(SET_ASIDE, Infinity, isOld);
  for (let before = -1; found; ) {
    const entries = found.photos.filter(hasNone).map(entry);
    const said = entries.filter(({ says }) => says).length;
    if (said > before) shown(entries);
    if (said === entries.length || said === before) return;
    before = said;
    // From the first one on that has none: guesses come for the first photos that are asked for.
    const at = found.photos.findIndex((photo) => hasNone(photo) && !photo.says);
    const { photos } = await part(SET_ASIDE, at);
    if (isOld()) return;
    found.photos.splice(at, photos.length, ...photos);
  }
}

/** Shows those that wait, where there are any. */
export async function showWaiting(state) {
  const version = `${state.version} ${state.look?.version} ${state.look?.state} ${state.learn.state}`;
  if (version === of) return;
  of = version;
  if (!state.waiting) return shown([]);
  try {
    await showAll(() => version !== of);
  } catch (error) {
    if (version !== of) return;
    of = "";
    missed(error);
  }
}
