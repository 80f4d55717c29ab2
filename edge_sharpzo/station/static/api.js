/** Requests to the station, and what becomes of those that fail. */

import { released } from "./pressing.js";

/** A request that failed; `message` says why and what to do. */
export class Failure extends Error {
  /** @param {string} message @param {number} status 0 where no answer came @param {?string} field */
  constructor(message, status, field = null) {
    super(message);
    this.status = status;
    this.field = field;
  }
}

const NO_ANSWER =
  "The station does not answer. See whether it still runs on the device, then try again.";
const MARK = { "X-Edge-Sharpzo": "1" }; // another site's page cannot send this

/** @param {string} text the body of an answer */
function understood(status, text) {
  let answer;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new Failure(
      `The station's answer cannot be read (status ${status}). Load this page anew.`,
      status,
    );
  }
  if (status < 400) return answer;
  const { cause = `The station refused this (status ${status}).`, field = null } =
    answer.error ?? {};
  throw new Failure(cause, status, field);
}

async function fetched(path, options) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(NO_ANSWER, 0);
  }
  return understood(answer.status, await answer.text());
}

let changes = 0; // that were made by this page

/**
 * What the station says at this path, to be shown: not while something is pressed, and nothing
 * that was said before a change and comes after it.
 */
export async function get(path, options = {}) {
  for (;;) {
    const before = changes;
    const answer = await fetched(path, options);
    await released();
    if (before === changes) return answer;
  }
}

/** Asks the station to do something. */
export async function post(path, body = {}) {
  try {
    return await fetched(path, {
      method: "POST",
      headers: { ...MARK, "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
  } finally {
    changes += 1;
  }
}

/**
 * Sends files. `progress` is called with the share that has gone out.
 * @param {string} path
 * @param {FormData} form
 * @param {(share: number) => void} progress
 * @param {AbortSignal} [signal]
 */
export function send(path, form, progress = () => {}, signal = undefined) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", path);
    request.setRequestHeader("X-Edge-Sharpzo", "1");
    request.upload.onprogress = (event) =>
      event.lengthComputable && progress(event.loaded / event.total);
    request.onload = () => {
      try {
        resolve(understood(request.status, request.responseText));
      } catch (error) {
        reject(error);
      }
    };
    request.onerror = () => reject(new Failure(NO_ANSWER, 0));
    request.onabort = () => reject(new DOMException("stopped", "AbortError"));
    signal?.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}
