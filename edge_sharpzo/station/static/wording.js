/** Words, and what they change: how many photos the model tells apart by words alone. */

import { get } from "./api.js";
import { calmly } from "./dom.js";
import { now, watch } from "./state.js";
import { count, percent } from "./words.js";

const LATER = "Words show their effect as soon as the photos of two classes are learnt.";

function said({ before, after, photos }) {
  if (!photos) return LATER;
  const more = after.right - before.right;
  const change = more > 0 ? `${more} more than` : more < 0 ? `${-more} fewer than` : "as many as";
  return `By words alone ${percent(after.share)} of ${count(photos, "photo")} would be right: ${change} with the words of now (${percent(before.share)}).`;
}

/**
 * Shows the effect of what is being typed.
 * @param {HTMLInputElement} input
 * @param {HTMLElement} place a live region
 * @param {(text: string) => ?Object<string, string>} asked what /api/words is asked; null for nothing
 */
export function showEffect(input, place, asked) {
  const first = place.textContent;
  let newest = 0;
  const ask = calmly(400, async () => {
    const question = asked(input.value.trim());
    const mine = ++newest;
    if (!question) {
      place.textContent = first;
      return;
    }
    if (now()?.look.state !== "ready") {
      place.textContent = LATER;
      return;
    }
    place.textContent = "Trying these words …";
    const text = await get(`/api/words?${new URLSearchParams(question)}`).then(
      said,
      (error) => error.message,
    );
    if (mine === newest) place.textContent = text;
  });
  input.addEventListener("input", ask);
  // What the words of now are, and what photos there are, may have changed meanwhile.
  let before = "";
  let wasThere = false; // a dialog's field comes onto the page later, and goes
  const end = watch(({ look, template }) => {
    if (!input.isConnected) return wasThere && end();
    wasThere = true;
    const mark = `${look.state} ${look.version} ${template}`;
    if (mark !== before && place.textContent !== first) ask();
    before = mark;
  });
}
