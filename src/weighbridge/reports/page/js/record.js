/**
 * The record that the page carries, and a position of its knobs at a batch and a size.
 *
 * A position is a step under one workload. Each of its numbers is a polynomial in the batch and in the steps of the input's
 * size from the one that was asked for (`analyses/growing.py`): a sum of terms, each so much times (batch choose i)
 * (steps choose j).
 */

/**
 * @typedef {{of: ArrayLike<number>, zero: ArrayLike<number>, terms: [number, number, ArrayLike<number>][]}} Growing
 * Which polynomial each number is; of each polynomial its value at a batch of 0 and no steps; and the terms as [i, j, of each].
 *
 * @typedef {{batch: number, sizeSteps: number}} Point
 *
 * @typedef {{own: number, stride: number, least: number, most: number}} Lattice
 * The sizes own + steps * stride, from `least` to `most` steps.
 *
 * @typedef {object} Lives Storages, one a place of every column, as `analyses/memory/timeline.py` has them.
 * @property {Growing} bytes
 * @property {Int32Array} birth the operator that allocates it, -1 before the step
 * @property {Int32Array} first its birth in the first step of all, NEVER where that has none
 * @property {Int32Array} death the operator after which it is free, NEVER where it outlives the step
 * @property {Int32Array} category
 * @property {number[]} scope
 * @property {number[]} maker
 * @property {[number, number][]} held outputs that a loop still names, and the place of the output that each is
 *
 * @typedef {object} Position
 * @property {any} contract
 * @property {Growing} figures
 * @property {Lives} lives
 * @property {{name: number[], scope: number[], phase: number[]}} ops
 * @property {import("./clock.js").Growth[]} kernels
 *
 * @typedef {object} Entry A position as the head lists it, before it is unpacked.
 * @property {string} precision
 * @property {string} optimizer '' in inference
 * @property {string} checkpointing
 * @property {string} options what the command is given for it
 * @property {number} smallest
 * @property {number|null} largest
 * @property {string|null} fixed
 * @property {Lattice|null} lattice
 * @property {string|null} one_size why there is no lattice
 * @property {string} packed
 *
 * @typedef {object} Device
 * @property {string} key
 * @property {string} card the key of its card
 * @property {string|null} clock what it reaches, packed; null where the page cannot tell the time by it
 * @property {string|null} told the time of the step that was asked for, packed, where the page cannot work it out
 * @property {string} name
 * @property {number} capacity
 * @property {[number, number, number]} outside low, expected, high
 * @property {boolean} cached
 * @property {string} basis what an interval on it rests on
 * @property {number} workspace
 *
 * @typedef {object} Head
 * @property {string} network
 * @property {string} origin where it is from and how it was read
 * @property {number} batch
 * @property {{what: string, own: number}|null} size
 * @property {string} convention
 * @property {string} convention_text
 * @property {string} unit
 * @property {string[]} names
 * @property {string[]} categories
 * @property {Record<string, string>} category_names
 * @property {string[]} phases
 * @property {string[]} stays
 * @property {Entry[]} positions
 * @property {string[]} refused positions that the network cannot take, and why
 * @property {Device[]} devices
 * @property {string|null} device
 * @property {import("./clock.js").Shared} clocks
 * @property {{fewer: number, more: number, handles: number, limit: number}} margins
 * @property {string[]} said a verdict that is not worked out here
 * @property {string} advice what makes the step that was asked for fit
 * @property {{kinds: number[], scopes: number[], reads: number[][], inside: import("./graph.js").Part[], classes: Record<string, number>}} graph
 * @property {{network: string, inputs: string[], inputs_given: boolean, rest: string}} command
 * `inputs` is what it is given for them, as the text around the places where the size stands
 * @property {Record<string, {lines: Formula[], rest: number}>} formulas
 * @property {Record<string, string>} details
 *
 * @typedef {{times: number, text: string, value: Growing, names: string[], sizes: Growing}} Formula
 */

/** No operator. */
export const NEVER = -2;

/** @returns {Head} */
export function readHead() {
  const text = document.getElementById("record")?.textContent ?? "";
  return JSON.parse(text);
}

/**
 * Unpacks plain data: base64 of deflated JSON.
 * @param {string} packed
 * @returns {Promise<any>}
 */
export async function unpack(packed) {
  const raw = atob(packed);
  const bytes = Uint8Array.from(raw, (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

/**
 * Unpacks a position, its columns as arrays of numbers.
 * @param {string} packed
 * @returns {Promise<Position>}
 */
export async function unpackPosition(packed) {
  const position = await unpack(packed);
  const { lives } = position;
  for (const column of ["birth", "first", "death", "scope", "maker"]) lives[column] = climbed(lives[column]);
  for (const column of ["birth", "first", "death", "category"]) lives[column] = Int32Array.from(lives[column]);
  for (const each of position.kernels) each.ops = climbed(each.ops);
  const kernels = position.kernels.map((/** @type {import("./clock.js").Growth} */ each) => each.numbers);
  for (const growing of [position.figures, lives.bytes, ...kernels]) {
    growing.of = Int32Array.from(growing.of);
    growing.zero = Float64Array.from(growing.zero);
    for (const term of growing.terms) term[2] = Float64Array.from(term[2]);
  }
  return position;
}

/**
 * Numbers of which each is kept less the one before it, groups of them too (`packing.py`).
 * @param {(number|number[])[]} climbs
 * @returns {(number|number[])[]}
 */
function climbed(climbs) {
  let height = 0;
  return climbs.map((each) => (Array.isArray(each) ? each.map((step) => (height += step)) : (height += each)));
}

/**
 * The numbers at a point.
 * @param {Growing} growing
 * @param {Point} point
 * @returns {Float64Array}
 */
export function at({ of, zero, terms }, { batch, sizeSteps }) {
  const values = Float64Array.from(zero);
  for (const [power, sizePower, column] of terms) {
    const times = choose(batch, power) * choose(sizeSteps, sizePower);
    if (times) for (let place = 0; place < values.length; place += 1) values[place] += times * column[place];
  }
  const found = new Float64Array(of.length);
  for (let place = 0; place < found.length; place += 1) found[place] = values[of[place]];
  return found;
}

/** Whether the knobs but the device stand as when the page was made. @param {Head} head @param {Point & {entry: number}} setting */
export function asAsked(head, { entry, batch, sizeSteps }) {
  return entry === 0 && batch === head.batch && !sizeSteps;
}

/** @param {Lattice} lattice @param {number} steps @returns {number} */
export function sizeOf({ own, stride }, steps) {
  return own + steps * stride;
}

/** The binomial coefficient, for negative numbers too. @param {number} number @param {number} power @returns {number} */
function choose(number, power) {
  let found = 1;
  for (let place = 0; place < power; place += 1) found = (found * (number - place)) / (place + 1);
  return found;
}

/**
 * Plain data with the numbers put into it, in the order in which they stand.
 * @param {any} template
 * @param {Float64Array} numbers
 * @returns {any}
 */
export function filled(template, numbers) {
  let next = 0;
  /** @param {any} value @returns {any} */
  const walk = (value) => {
    if (typeof value === "number") return numbers[next++];
    if (Array.isArray(value)) return value.map(walk);
    if (value === null || typeof value !== "object") return value;
    /** @type {any} */
    const copy = {};
    for (const key in value) copy[key] = walk(value[key]);
    return copy;
  };
  return walk(template);
}
