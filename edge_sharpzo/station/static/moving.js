/** Photos go to another class, to the background, aside, or back. */

import { post } from "./api.js";
import { h, put } from "./dom.js";
import { keyed } from "./keyed.js";
import { fail, tell, toldBy } from "./notices.js";
import { BACKGROUND, SET_ASIDE, ofClass, target, title } from "./places.js";
import { now, refresh } from "./state.js";
import { count, sentence } from "./words.js";

/** Whether a photo that was set aside has a class to go back to. */
export const canGoBack = (photo) => photo.can_go_back !== false;

/**
 * Moves photos and says so.
 * @param {string[]} ids
 * @param {import("./places.js").Place | "back"} to
 * @param {() => void} moved called before it is said
 * @returns {Promise<boolean>} whether anything moved
 */
export async function move(ids, to, moved = () => {}) {
  try {
    const answer = await post("/api/photos/move", { ids, to: to === "back" ? "back" : target(to) });
    moved();
    // Where some of them stayed, how many moved is not told: the step's own words say what was done.
    const all = answer.told.length === 0;
    const where = to === "back" ? "put back" : `moved to “${title(now(), to)}”`;
    const done = all ? `${count(ids.length, "photo")} ${where}.` : sentence(answer.step.text);
    tell(`${done} Undo takes it back.`);
    toldBy(answer);
  } catch (error) {
    fail(error);
    await refresh();
    return false;
  }
  await refresh();
  return true;
}

/**
 * Buttons that move photos: to a class (a list to choose from), to the background, aside, back.
 * `update` shows those that make sense; `reset` forgets the class that was chosen.
 * @param {() => string[]} ids
 * @param {() => void} done
 */
export function moveButtons(ids, done) {
  const go = async (to) => (await move(ids(), to)) && done();
  const button = (text, to) => h("button", { type: "button", click: () => go(to) }, text);
  const list = classList(go);
  const back = button("Put back", "back");
  const none = button("None of these", BACKGROUND);
  const aside = button("Set aside", SET_ASIDE);
  const update = ({ isAside, canGoBack = isAside, isBackground = false }) => {
    put(back, { hidden: !canGoBack });
    put(none, { hidden: isBackground });
    put(aside, { hidden: isAside });
    list.update();
  };
  return { elements: [list.element, back, none, aside], update, reset: list.reset };
}

/**
 * A list of the classes, with a button; `update` has it offer those of now.
 * @param {(to: import("./places.js").Place) => void} go
 */
export function classList(go) {
  const list = h("select", { "aria-label": "Move to a class" });
  // Arrow keys choose in a closed list too: so the button moves, not the choice.
  const button = h("button", { type: "button" }, "Move");
  const able = () => put(button, { disabled: !list.value });
  const update = () => {
    const classes = (now()?.classes ?? []).map(({ name, display }) => [name, display || name]);
    keyed(list, [["", "Move to …"], ...classes], ([value]) => h("option", { value }), {
      key: ([value]) => value,
      update: (option, [, text]) => put(option, { text }),
    });
    able();
  };
  const reset = () => {
    list.value = "";
    able();
  };
  list.addEventListener("change", able);
  button.addEventListener("click", () => go(ofClass(list.value)));
  update();
  return { element: h("span", { class: "joined" }, list, button), update, reset };
}
