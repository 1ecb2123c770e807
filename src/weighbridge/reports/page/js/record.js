/**
 * The record that the page carries, and a position of its knobs at a batch.
 *
 * A position is a step under one workload. Each of its numbers is a polynomial in the batch, held as its value at 0 and
 * its first and second difference there: at a batch b it is zero + b * first + b (b - 1) / 2 * second.
 */

/**
 * @typedef {{zero: number[], first: number[], second: [number, number][]}} Growing
 * `second` lists only those that are not 0, as [place, difference].
 *
 * @typedef {object} Lives Storages, one a place of every column, as `analyses/memory/timeline.py` has them.
 * @property {Growing} bytes
 * @property {number[]} birth the operator that allocates it, -1 before the step
 * @property {(number|null)[]} first its birth in the first step of all, null where that has none
 * @property {(number|null)[]} death the operator after which it is free, null where it outlives the step
 * @property {number[]} category
 * @property {number[]} scope
 * @property {number[]} maker
 * @property {[number, number][]} held outputs that a loop still names, and the place of the output that each is
 *
 * @typedef {object} Position
 * @property {any} contract
 * @property {Growing} figures
 * @property {Lives} lives
 * @property {{name: number[], scope: number[], phase: number[]}} ops
 *
 * @typedef {object} Entry A position as the head lists it, before it is unpacked.
 * @property {string} precision
 * @property {string} optimizer '' in inference
 * @property {string} checkpointing
 * @property {string} options what the command is given for it
 * @property {number} smallest
 * @property {number|null} largest
 * @property {string|null} fixed
 * @property {string} packed
 *
 * @typedef {object} Device
 * @property {string} key
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
 * @property {{fewer: number, more: number, handles: number, limit: number}} margins
 * @property {string[]} said a verdict that is not worked out here
 * @property {string} time how long the step takes as it was asked for
 * @property {string} advice what makes the step that was asked for fit
 * @property {{network: string, rest: string}} command
 * @property {Record<string, {lines: Formula[], rest: number}>} formulas
 * @property {Record<string, string>} details
 *
 * @typedef {{times: number, text: string, value: Growing, names: string[], sizes: Growing}} Formula
 */

/** @returns {Head} */
export function readHead() {
  const text = document.getElementById("record")?.textContent ?? "";
  return JSON.parse(text);
}

/**
 * Unpacks a position: base64 of deflated JSON.
 * @param {string} packed
 * @returns {Promise<Position>}
 */
export async function unpack(packed) {
  const raw = atob(packed);
  const bytes = Uint8Array.from(raw, (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

/**
 * The numbers at a batch.
 * @param {Growing} growing
 * @param {number} batch
 * @returns {Float64Array}
 */
export function at(growing, batch) {
  const { zero, first, second } = growing;
  const found = new Float64Array(zero.length);
  for (let place = 0; place < zero.length; place += 1) {
    found[place] = zero[place] + batch * first[place];
  }
  const pairs = (batch * (batch - 1)) / 2;
  for (const [place, difference] of second) found[place] += pairs * difference;
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
