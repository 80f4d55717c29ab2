/** Elements made of data: text is always text, never markup. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Attributes and children into an element. A function is a listener, true an empty attribute;
 * false, null and undefined are left out. Properties that are no attributes: `value`, `checked`.
 * @template {Element} E
 * @param {E} element
 * @param {Object<string, any>} attributes
 * @param {any[]} children nodes, or text
 * @returns {E}
 */
function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name === "value" || name === "checked") element[name] = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, String(value));
    }
  }
  const there = children
    .flat()
    .filter((child) => child !== null && child !== undefined && child !== false);
  element.append(...there.map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

/** An element of HTML. */
export const h = (tag, attributes = {}, ...children) =>
  filled(document.createElement(tag), attributes, children);

/** A photo's thumbnail; what stands beside it says what it shows. @param {string} id */
export const thumbnail = (id, more = {}) =>
  h("img", {
    src: `/api/photos/${id}/thumbnail`,
    alt: "",
    loading: "lazy",
    width: 256,
    height: 256,
    ...more,
  });

/** An element of SVG. */
export const s = (tag, attributes = {}, ...children) =>
  filled(document.createElementNS(SVG, tag), attributes, children);

/** An icon of icons.svg; the text beside it says what it means. */
export const icon = (name) =>
  s(
    "svg",
    { class: "icon", "aria-hidden": "true" },
    s("use", { href: `/static/icons.svg#${name}` }),
  );

/**
 * Has an element show this: attributes (true is an empty one, false none), and `text`. What it
 * shows already is not touched.
 * @param {Element} element @param {Object<string, string | number | boolean>} shown
 */
export function put(element, shown) {
  for (const [name, value] of Object.entries(shown)) {
    if (name === "text") {
      if (element.textContent !== value) element.textContent = String(value);
    } else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
  }
}

const PHOTOS = "the page Photos";

/** A text in which these words lead there. @param {string} text @returns {(string | Element)[]} */
export const linked = (text) =>
  text.split(PHOTOS).flatMap((part, i) => (i ? [h("a", { href: "/" }, PHOTOS), part] : [part]));

/** Has an element show a text with these links. What it shows already is not touched. */
export function putLinked(element, text) {
  if (element.textContent !== text) element.replaceChildren(...linked(text));
}

/** The element of this id, which the page's template has. */
export const by = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** Lets what is called often happen once, `wait` ms after the last call. */
export function calmly(wait, act) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...given), wait);
  };
}
