/** Photos go to the station, in portions that it takes, with progress and a way to stop. */

import { send } from "./api.js";
import { by, h } from "./dom.js";
import { fail, tell, toldBy } from "./notices.js";
import { BACKGROUND, ofClass, query, title } from "./places.js";
import { now, refresh } from "./state.js";
import { count, percent, size, some } from "./words.js";

// What the station takes: see docs/station.md.
const LARGEST = 25e6;
const MOST_FILES = 200;
const MOST_BYTES = 400e6;

/** @param {File[]} files @returns {File[][]} */
function portions(files) {
  const made = [];
  let bytes = Infinity;
  for (const file of files) {
    if (bytes + file.size > MOST_BYTES || made.at(-1).length >= MOST_FILES) {
      made.push([]);
      bytes = 0;
    }
    made.at(-1).push(file);
    bytes += file.size;
  }
  return made;
}

/** "3 photos added to “hat”; 1 left out, since it is in “dress” already" */
function outcome(name, sum) {
  const parts = [`${count(sum.added, "photo")} added to “${name}”`];
  if (sum.copies) {
    const places = sum.copies_of.map((each) => (each === null ? BACKGROUND : ofClass(each)));
    const names = places.map((place) => `“${title(now(), place)}”`);
    const are = sum.copies === 1 ? "it is" : "they are";
    parts.push(`${sum.copies} left out, since ${are} in ${some(names, 5)} already`);
  }
  if (sum.near_duplicates)
    parts.push(`${sum.near_duplicates} of the burst left out as nearly the same`);
  return `${parts.join("; ")}.`;
}

function refusals(refused) {
  const causes = new Map();
  for (const { file, why } of refused) causes.set(why, [...(causes.get(why) ?? []), file]);
  const told = [...causes].map(([why, files]) => `${some(files, 3)}: ${why}`);
  const more = told.length > 3 ? `; and others for ${told.length - 3} more reasons` : "";
  return `${count(refused.length, "file")} not added. ${told.slice(0, 3).join("; ")}${more}`;
}

function progressNotice(name, files, stop) {
  const bar = h("progress", { max: 1, value: 0, "aria-label": `Sending photos to ${name}` });
  const text = h("p", {}, `Sending ${count(files.length, "photo")} to “${name}” …`);
  const notice = h(
    "div",
    { class: "notice", role: "status" },
    h("div", {}, text, bar),
    h("button", { type: "button", click: stop }, "Stop"),
  );
  by("notices").append(notice);
  return {
    done: (share) => (bar.value = share),
    waiting: () =>
      (text.textContent = `The station looks at ${count(files.length, "photo")} for “${name}” …`),
    share: () => percent(bar.value),
    remove: () => notice.remove(),
  };
}

/**
 * @param {import("./places.js").Place} place a class, or the background
 * @param {File[]} files
 * @param {{burst?: boolean}} how a burst's near-duplicates are left out
 * @returns what became of them; `unsent` is of how many that is not known
 */
export async function upload(place, files, { burst = false } = {}) {
  const tooLarge = files.filter((file) => file.size > LARGEST);
  const good = files.filter((file) => file.size <= LARGEST);
  const sum = {
    added: 0,
    copies: 0,
    copies_of: [],
    near_duplicates: 0,
    unsent: good.length,
    refused: tooLarge.map((file) => ({
      file: file.name,
      why: `${size(file.size)}, more than the 25 MB that a photo may have`,
    })),
  };
  const name = title(now(), place);
  const stopper = new AbortController();
  const notice = progressNotice(name, good, () => stopper.abort());
  const bytes = good.reduce((total, file) => total + file.size, 0);
  let sent = 0;
  try {
    for (const portion of portions(good)) {
      const form = new FormData();
      for (const file of portion) form.append("photos", file, file.name);
      const part = portion.reduce((total, file) => total + file.size, 0);
      const path = `/api/photos?${query(place)}${burst ? "&burst=1" : ""}`;
      const progress = (share) => {
        notice.done((sent + share * part) / bytes);
        if (share === 1) notice.waiting();
      };
      const answer = await send(path, form, progress, stopper.signal);
      sent += part;
      sum.unsent -= portion.length;
      for (const figure of ["added", "copies", "near_duplicates"])
        sum[figure] += answer[figure] ?? 0;
      sum.copies_of = [...new Set([...sum.copies_of, ...answer.copies_of])];
      sum.refused.push(...(answer.refused ?? []));
      toldBy(answer);
    }
  } catch (error) {
    if (error.name === "AbortError")
      tell("Stopped. What had arrived before stays; Undo takes it back.");
    fail(error);
  }
  notice.remove();
  if (sum.added || sum.copies || sum.near_duplicates) tell(outcome(name, sum));
  if (sum.refused.length) fail({ message: refusals(sum.refused), status: 422 });
  await refresh();
  return sum;
}
