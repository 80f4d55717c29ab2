/** While something is pressed the page stays as it is: what was aimed at is there when it is let go. */

const CLICK = 50; // ms after which the click of what was let go has come

let isPressed = false;
let waiting = [];

function release() {
  isPressed = false;
  setTimeout(() => {
    if (isPressed) return;
    for (const go of waiting) go();
    waiting = [];
  }, CLICK);
}

addEventListener(
  "pointerdown",
  ({ isPrimary, button, target }) => {
    if (!isPrimary) return; // another finger: the first still holds
    // A select's list takes what comes after, so that nothing is heard of its end.
    isPressed = button === 0 && !target.closest("select");
  },
  true,
);
for (const kind of ["pointerup", "pointercancel"])
  addEventListener(kind, ({ isPrimary }) => isPrimary && release(), true);
addEventListener("contextmenu", release, true);
addEventListener("blur", ({ target }) => target === window && release());

/** Waits until nothing is pressed. */
export const released = () =>
  isPressed || waiting.length ? new Promise((go) => waiting.push(go)) : Promise.resolve();
