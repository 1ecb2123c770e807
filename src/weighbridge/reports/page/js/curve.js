/**
 * Memory over a step: what is allocated while each operator runs, stacked by what it is for, the peak marked.
 */

import { html, part, svg, tenths } from "./elements.js";
import { memory } from "./units.js";

/** @typedef {import("./record.js").Head} Head */
/** @typedef {import("./reading.js").Reading} Reading */
/** @typedef {import("./step.js").Timeline} Timeline */

/** The picture is as wide as its place, so that its letters are as large as the page's. */
const NARROWEST = 320;
const HEIGHT = 300;
const LEFT = 76;
const BOTTOM = 24;
const TOP = 22;

/** Columns that are drawn; of the operators of one, the fullest. */
const COLUMNS = 600;

export class Curve {
  /** @param {Head} head @param {(scope: string) => void} chosen */
  constructor(head, chosen) {
    this.head = head;
    /** @type {Reading|null} */
    this.reading = null;
    /** @type {"higher" | "first" | "later"} */
    this.round = "higher";
    this.cursor = 0;
    this.width = 1000;
    this.picture = part("curve");
    new ResizeObserver(([entry]) => this.#resized(entry.contentRect.width)).observe(this.picture);
    const rounds = /** @type {HTMLSelectElement} */ (part("curve-round"));
    rounds.addEventListener("change", () => {
      this.round = /** @type {Curve["round"]} */ (rounds.value);
      if (this.reading) this.draw(this.reading);
    });
    this.picture.addEventListener("pointermove", (event) => this.#point(event));
    this.picture.addEventListener("click", () => chosen(this.#scope()));
    this.picture.addEventListener("keydown", (event) => {
      const stride = event.shiftKey ? 10 : 1;
      const last = this.#step().allocated.length - 1;
      const moves = {
        ArrowLeft: this.cursor - stride, ArrowRight: this.cursor + stride, Home: 0, End: last, p: this.#step().peak,
      };
      if (event.key === "Enter") chosen(this.#scope());
      else if (event.key in moves) this.#move(moves[/** @type {keyof typeof moves} */ (event.key)]);
      else return;
      event.preventDefault();
    });
  }

  /** @param {number} space */
  #resized(space) {
    const width = Math.max(Math.round(space), NARROWEST);
    if (width === this.width) return;
    this.width = width;
    if (this.reading) this.draw(this.reading);
  }

  /** @returns {Timeline} */
  #step() {
    if (!this.reading) throw new Error("no step is drawn yet");
    return this.reading.steps[this.round];
  }

  #scope() {
    const { ops } = /** @type {Reading} */ (this.reading).position;
    return this.head.names[ops.scope[this.cursor]] ?? "";
  }

  /** @param {PointerEvent} event */
  #point(event) {
    const box = this.picture.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * this.width;
    const count = this.#step().allocated.length;
    this.#move(Math.floor(((x - LEFT) / (this.width - LEFT)) * count));
  }

  /** @param {number} index */
  #move(index) {
    const step = this.#step();
    const count = step.allocated.length;
    if (!this.reading || !count) return;
    this.cursor = Math.min(Math.max(index, 0), count - 1);
    const { ops } = this.reading.position;
    const line = this.picture.querySelector(".cursor");
    const x = LEFT + ((this.cursor + 0.5) / count) * (this.width - LEFT);
    line?.setAttribute("x1", x.toFixed(1));
    line?.setAttribute("x2", x.toFixed(1));
    const kinds = this.head.categories
      .map((name, kind) => ({ name, size: step.categories[kind][this.cursor] }))
      .filter((each) => each.size)
      .sort((a, b) => b.size - a.size)
      .map(({ name, size }) => `${this.head.category_names[name]} ${memory(size)}`);
    const phase = this.head.phases[ops.phase[this.cursor]];
    const where = this.#scope() || this.reading.contract.network.name;
    part("curve-readout").textContent =
      `${this.cursor === step.peak ? "peak: " : ""}${memory(step.allocated[this.cursor])} while ` +
      `${this.head.names[ops.name[this.cursor]]} runs in ${where}, ${phase}: ${kinds.join(", ")}`;
  }

  /** @param {Reading} reading */
  draw(reading) {
    this.reading = reading;
    const step = this.#step();
    const count = step.allocated.length;
    if (!count) return;
    this.picture.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    const most = step.allocated[step.peak];
    const columns = fullest(step);
    const x = (/** @type {number} */ index) => tenths(LEFT + (index / count) * (this.width - LEFT));
    const y = (/** @type {number} */ size) => tenths(HEIGHT - BOTTOM - (size / most) * (HEIGHT - BOTTOM - TOP));
    const sides = Float64Array.from([...columns.map(({ begin }) => begin), count], x);
    const parts = [];
    let base = new Float64Array(columns.length);
    /** @type {HTMLElement[]} */
    const legend = [];
    this.head.categories.forEach((name, kind) => {
      const sizes = step.categories[kind];
      if (!sizes.some((size) => size > 0)) return;
      const top = base.map((below, column) => below + sizes[columns[column].index]);
      parts.push(svg("path", { class: `area ${name}`, d: area(sides, base.map(y), top.map(y)) }));
      base = top;
      legend.push(html("li", {}, html("i", { class: `swatch ${name}` }), this.head.category_names[name]));
    });
    parts.push(...this.#axes(reading, step, x, y, most));
    parts.push(svg("line", { class: "cursor", x1: -9, x2: -9, y1: TOP, y2: HEIGHT - BOTTOM }));
    this.picture.replaceChildren(...parts);
    const where = this.head.names[reading.position.ops.scope[step.peak]] || reading.contract.network.name;
    this.picture.setAttribute("aria-label", `Memory over a step, peak ${memory(most)} in ${where}. Arrow keys move along it.`);
    part("curve-legend").replaceChildren(...legend.reverse());
    this.#move(step.peak);
  }

  /**
   * @param {Reading} reading @param {Timeline} step
   * @param {(index: number) => number} x @param {(size: number) => number} y @param {number} most
   */
  #axes(reading, step, x, y, most) {
    const parts = [];
    for (const size of ticks(most)) {
      parts.push(svg("line", { class: "grid", x1: LEFT, x2: this.width, y1: y(size), y2: y(size) }));
      parts.push(svg("text", { class: "tick", x: LEFT - 6, y: y(size) + 4, "text-anchor": "end" }, memory(size)));
    }
    const { phase } = reading.position.ops;
    this.head.phases.forEach((name, kind) => {
      const begin = phase.indexOf(kind);
      if (begin < 0) return;
      const end = phase.lastIndexOf(kind) + 1;
      parts.push(svg("line", { class: "phase", x1: x(begin), x2: x(begin), y1: TOP, y2: HEIGHT - BOTTOM }));
      const middle = (x(begin) + x(end)) / 2;
      if (x(end) - x(begin) > 60) {
        parts.push(svg("text", { class: "tick", x: middle.toFixed(1), y: HEIGHT - 6, "text-anchor": "middle" }, name));
      }
    });
    const at = x(step.peak + 0.5);
    const right = at > this.width / 2;
    parts.push(svg("line", { class: "peak", x1: at, x2: at, y1: TOP - 6, y2: HEIGHT - BOTTOM }));
    parts.push(
      svg("text", { class: "peak", x: at + (right ? -6 : 6), y: TOP - 8, "text-anchor": right ? "end" : "start" },
        `peak ${memory(most)}`),
    );
    return parts;
  }
}

/**
 * Columns of neighbouring operators, each told by its fullest.
 * @param {Timeline} step
 * @returns {{begin: number, end: number, index: number}[]}
 */
function fullest(step) {
  const count = step.allocated.length;
  const width = Math.max(count / COLUMNS, 1);
  const columns = [];
  for (let begin = 0; begin < count; ) {
    const end = Math.min(Math.max(Math.round((columns.length + 1) * width), begin + 1), count);
    let index = begin;
    for (let each = begin; each < end; each += 1) if (step.allocated[each] > step.allocated[index]) index = each;
    columns.push({ begin, end, index });
    begin = end;
  }
  return columns;
}

/**
 * The outline of an area of columns.
 * @param {Float64Array} sides of the columns: one more than there are
 * @param {Float64Array} low @param {Float64Array} high
 */
function area(sides, low, high) {
  const last = high.length;
  let path = `M${sides[0]} ${high[0]}`;
  for (let column = 1; column < last; column += 1) {
    if (high[column] !== high[column - 1]) path += `H${sides[column]}V${high[column]}`;
  }
  path += `H${sides[last]}V${low[last - 1]}`;
  for (let column = last - 1; column > 0; column -= 1) {
    if (low[column] !== low[column - 1]) path += `H${sides[column]}V${low[column - 1]}`;
  }
  return `${path}H${sides[0]}Z`;
}

/** Three or four round sizes up to the highest. @param {number} most @returns {number[]} */
function ticks(most) {
  const rough = most / 4;
  const power = 2 ** Math.floor(Math.log2(rough));
  const stride = rough / power > 1.5 ? 2 * power : power;
  const found = [];
  for (let size = 0; size <= most; size += stride) found.push(size);
  return found;
}
