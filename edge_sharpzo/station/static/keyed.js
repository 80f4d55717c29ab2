/** Lists whose elements stay the same while what they are of does. */

import { by } from "./dom.js";

/** @type {WeakMap<Element, string>} */
const keys = new WeakMap();

/**
 * Has `parent` hold an element for each of `items`, in this order, and nothing else. An element
 * whose key was there before stays, with its focus, what is chosen in it, and how far it is scrolled.
 * @template T
 * @param {Element} parent
 * @param {T[]} items
 * @param {(item: T) => Element} make
 * @param {{key?: (item: T) => string, update?: (element: any, item: T) => void}} [how] without a
 * key an element is made anew as soon as anything of its item is another; `update` is called for all
 */
export function keyed(parent, items, make, { key = JSON.stringify, update = () => {} } = {}) {
  const active = document.activeElement;
  const at = [...parent.children].findIndex((each) => each.contains(active));
  const before = new Map([...parent.children].map((each) => [keys.get(each), each]));
  const wanted = items.map((item) => {
    const mine = key(item);
    const element = before.get(mine) ?? make(item);
    before.delete(mine);
    keys.set(element, mine);
    update(element, item);
    return element;
  });
  const staying = new Set(wanted);
  for (const each of [...parent.children]) if (!staying.has(each)) each.remove();
  wanted.forEach((element, i) => {
    if (parent.children[i] !== element)
      parent.insertBefore(element, parent.children[i] ?? null);
  });
  if (at < 0 || document.activeElement === active) return;
  if (active.isConnected) active.focus();
  else focusNear(parent, at);
}

/** Gives the focus that was in the child number `at`, which is gone, to the one in its place. */
export function focusNear(parent, at) {
  const near = parent.children[Math.min(at, parent.children.length - 1)];
  const button = near?.matches("button") ? near : near?.querySelector("button");
  const heading = parent.closest("section")?.querySelector("h2[tabindex], h3[tabindex]");
  (button ?? heading ?? by("main")).focus();
}

/**
 * @typedef {{title: string, make: () => Element, update?: (element: any) => void}} Section
 * `title`: by which it stays the same; `update` has the element show what is new
 */

/** Has `parent` hold these sections. @param {Element} parent @param {Section[]} all */
export const sections = (parent, all) =>
  keyed(parent, all, ({ make }) => make(), {
    key: ({ title }) => title,
    update: (element, { update = () => {} }) => update(element),
  });
