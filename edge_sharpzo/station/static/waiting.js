/** Photos that no class has yet, such as those that `watch` saved since it was not sure. */

import { get } from "./api.js";
import { by } from "./dom.js";
import { keptFocus } from "./focus.js";
import { mendList } from "./mend.js";
import { canGoBack } from "./moving.js";
import { fail } from "./notices.js";
import { saysOf } from "./viewer.js";

const MOST = 1000; // photos that are asked for at once

let of = ""; // the versions that are shown

/** An entry of a list to mend: with the class that the classifier would say. */
function entry(photo) {
  const { says } = photo;
  return { ...photo, class: null, other: says?.class, caption: says ? saysOf(says) : "" };
}

/** Whether somebody is choosing a class just now, of a photo that still waits. */
function isInUse(box, entries) {
  const ids = new Set(entries.map(({ id }) => id));
  const isChosen = [...box.querySelectorAll("select")].some(({ value }) => value);
  return isChosen && [...box.querySelectorAll(".mend")].every(({ dataset }) => ids.has(dataset.id));
}

function shown(box, entries) {
  if (isInUse(box, entries)) return;
  const refocus = keptFocus("#waiting section");
  const why = "No class has these yet, and nothing learns from them. Say what each of them is.";
  box.replaceChildren(entries.length ? mendList("Waiting for a class", why, entries) : "");
  refocus();
}

/** Shows those that wait, where there are any. */
export async function showWaiting(state) {
  const version = `${state.version} ${state.look?.version} ${state.look?.state} ${state.learn.state}`;
  if (version === of) return;
  of = version;
  const box = by("waiting");
  if (!state.waiting) {
    box.replaceChildren();
    return;
  }
  try {
    let said = -1; // of how many a guess is there: some come with each answer, as long as any come
    for (;;) {
      const { photos } = await get(`/api/photos?set-aside=1&offset=0&limit=${MOST}`);
      if (version !== of) return; // a newer question is under way
      const entries = photos.filter((photo) => !canGoBack(photo)).map(entry);
      const before = said;
      said = entries.filter(({ says }) => says).length;
      if (said > before) shown(box, entries);
      if (said === entries.length || said === before) return;
    }
  } catch (error) {
    of = "";
    fail(error);
  }
}
