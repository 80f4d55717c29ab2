/** Photos go to another class, to the background, aside, or back. */

import { post } from "./api.js";
import { h } from "./dom.js";
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
 * @returns {Promise<boolean>} whether anything moved
 */
export async function move(ids, to) {
  try {
    const answer = await post("/api/photos/move", { ids, to: to === "back" ? "back" : target(to) });
    if (!answer.step) {
      fail({ message: answer.told.join(" ") || "Nothing was moved.", status: 0 });
      await refresh();
      return false;
    }
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
 * @param {() => string[]} ids
 * @param {{isAside: boolean, canGoBack?: boolean, isBackground?: boolean, done?: () => void}} how
 */
export function moveButtons(
  ids,
  { isAside, canGoBack = isAside, isBackground = false, done = () => {} },
) {
  const go = async (to) => (await move(ids(), to)) && done();
  const others = [
    canGoBack && h("button", { type: "button", click: () => go("back") }, "Put back"),
    !isBackground && h("button", { type: "button", click: () => go(BACKGROUND) }, "None of these"),
    !isAside && h("button", { type: "button", click: () => go(SET_ASIDE) }, "Set aside"),
  ];
  return [classList(go), ...others.filter(Boolean)];
}

/** A list of the classes, with a button. @param {(to: import("./places.js").Place) => void} go */
export function classList(go) {
  const list = h(
    "select",
    { "aria-label": "Move to a class" },
    h("option", { value: "" }, "Move to …"),
    (now()?.classes ?? []).map((each) =>
      h("option", { value: each.name }, each.display || each.name),
    ),
  );
  // Arrow keys choose in a closed list too: so the button moves, not the choice.
  const button = h("button", { type: "button", disabled: true }, "Move");
  list.addEventListener("change", () => (button.disabled = !list.value));
  button.addEventListener("click", () => go(ofClass(list.value)));
  return h("span", { class: "joined" }, list, button);
}
