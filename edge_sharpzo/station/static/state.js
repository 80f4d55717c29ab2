/** The station's state, kept fresh: by its events, or by asking again where these do not come. */

import { get } from "./api.js";
import { fail, tell } from "./notices.js";
import { released } from "./pressing.js";

/** The states of learning in which it goes on. */
export const GOING = new Set(["encoding", "tuning"]);

/** @type {any} what /api/state said last */
let state = null;
let lost = null;
let soon = 0;
const listeners = new Set();

/** The state as it is known; null before the first answer. */
export const now = () => state;

/**
 * Calls `listener` with the state now, where there is one, and whenever it changes.
 * @returns {() => void} ends it
 */
export function watch(listener) {
  listeners.add(listener);
  if (state) listener(state);
  return () => listeners.delete(listener);
}

function changed() {
  for (const listener of listeners) {
    try {
      listener(state);
    } catch (error) {
      fail(error);
    }
  }
}

function unanswered(error) {
  lost ??= fail(error, { keep: true });
  clearTimeout(soon);
  soon = setTimeout(refresh, 3000);
}

/** Tells why what belongs to the state did not come; where no answer came, all is asked again. */
export function missed(error) {
  if (error.status === 0) unanswered(error);
  else fail(error);
}

let asking = null;
let again = false;

async function ask() {
  try {
    state = await get("/api/state");
    if (lost) {
      lost.remove();
      lost = null;
      tell("The station is back.");
    }
    changed();
    // What is being learnt just now is there in a moment: sooner than the next event.
    clearTimeout(soon);
    if (state.look.state === "working") soon = setTimeout(refresh, 250);
  } catch (error) {
    unanswered(error);
  }
}

/** Asks the station; calls that come meanwhile share one more question. */
export function refresh() {
  again = true;
  asking ??= (async () => {
    while (again) {
      again = false;
      await ask();
    }
    asking = null;
  })();
  return asking;
}

function heard(event) {
  const said = JSON.parse(event.data);
  const known = state && said.version === state.version && said.look?.state === state.look.state;
  if (
    known &&
    said.look?.version === state.look.version &&
    said.learn?.state === state.learn.state
  ) {
    state = { ...state, learn: { ...state.learn, ...said.learn } };
    released().then(changed);
  } else {
    refresh();
  }
}

/** @type {?EventSource} */
let events = null;
let polling = 0;

function hearNothing() {
  events?.close();
  events = null;
  clearInterval(polling);
  polling = 0;
}

/**
 * Listens, while the page is seen: browsers keep six connections to a station, and each page that
 * listens holds one of them.
 */
function listen() {
  hearNothing();
  if (document.hidden) return;
  const mine = new EventSource("/api/events");
  events = mine;
  mine.onmessage = heard;
  mine.onopen = () => {
    clearInterval(polling);
    polling = 0;
    if (lost) refresh();
  };
  mine.onerror = () => {
    polling ||= setInterval(() => {
      refresh();
      if (mine.readyState === EventSource.CLOSED) listen();
    }, 3000);
  };
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) refresh();
  listen();
});
addEventListener("pagehide", hearNothing);
addEventListener("pageshow", (event) => event.persisted && location.reload());

/** Begins to listen; every page calls this once. */
export function begin() {
  refresh();
  listen();
}
