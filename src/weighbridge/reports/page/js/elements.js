/**
 * Making elements of the page, and finding those that the template has.
 */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} tag
 * @param {Record<string, string|number>} attributes
 * @param {(Node|string)[]} children
 * @returns {HTMLElement}
 */
export function html(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/**
 * @param {string} tag
 * @param {Record<string, string|number>} attributes
 * @param {(Node|string)[]} children
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/** Sets what is not so already. @param {Element} element @param {Record<string, string|number>} attributes */
export function update(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    const text = String(value);
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
}

/** Writes a text where it is another. @param {Element} element @param {string} text */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** The element of the template with that id. @param {string} id @returns {HTMLElement} */
export function part(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no part #${id}`);
  return found;
}

/** A table: headings, and rows of cells; numbers stand right. @param {string[]} headings @param {string[][]} rows */
export function table(headings, rows) {
  const head = html("tr", {}, ...headings.map((text) => html("th", { scope: "col" }, text)));
  const body = rows.map((cells) =>
    html("tr", {}, ...cells.map((text, place) => (place ? html("td", {}, text) : html("th", { scope: "row" }, text)))),
  );
  return html("table", {}, html("thead", {}, head), html("tbody", {}, ...body));
}

/** A place in a picture. @param {number} place @returns {number} */
export function tenths(place) {
  return Math.round(10 * place) / 10;
}
