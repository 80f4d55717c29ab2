/** Photos that no class has yet, such as those that `watch` saved since it was not sure. */

import { get } from "./api.js";
import { by } from "./dom.js";
import { sections } from "./keyed.js";
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

function shown(entries) {
  const why = "No class has these yet, and nothing learns from them. Say what each of them is.";
  const lists = entries.length ? [mendList("Waiting for a class", why, entries)] : [];
  sections(by("waiting"), lists);
}

/** Shows those that wait, where there are any. */
export async function showWaiting(state) {
  const version = `${state.version} ${state.look?.version} ${state.look?.state} ${state.learn.state}`;
  if (version === of) return;
  of = version;
  if (!state.waiting) return shown([]);
  try {
    let said = -1; // of how many a guess is there: some come with each answer, as long as any come
    for (;;) {
      const { photos } = await get(`/api/photos?set-aside=1&offset=0&limit=${MOST}`);
      if (version !== of) return; // a newer question is under way
      const entries = photos.filter((photo) => !canGoBack(photo)).map(entry);
      const before = said;
      said = entries.filter(({ says }) => says).length;
      if (said > before) shown(entries);
      if (said === entries.length || said === before) return;
    }
  } catch (error) {
    of = "";
    fail(error);
  }
}
