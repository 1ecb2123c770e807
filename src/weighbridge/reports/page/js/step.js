/**
 * What is allocated while each operator of a step runs, and where the peak is (analyses/memory/timeline.py).
 */

import { at, NEVER } from "./record.js";

/** @typedef {import("./record.js").Position} Position */
/** @typedef {"first" | "later"} Round */

/**
 * @typedef {object} Timeline
 * @property {Round} round
 * @property {Float64Array} allocated bytes while each operator runs
 * @property {Float64Array[]} categories the same by category
 * @property {number} kept bytes that are there when the step is over
 * @property {number} peak the operator at which most is allocated
 */

/**
 * The birth of each storage in a round; NEVER where the round does not have it.
 * @param {Position} position
 * @param {Round} round
 * @returns {Int32Array}
 */
function births(position, round) {
  return round === "later" ? position.lives.birth : position.lives.first;
}

/**
 * @param {Position} position
 * @param {Float64Array} bytes
 * @param {Round} round
 * @param {number} kinds how many categories there are
 * @returns {Timeline}
 */
export function timeline(position, bytes, round, kinds) {
  const { death, category } = position.lives;
  const count = position.ops.name.length;
  const categories = Array.from({ length: kinds }, () => new Float64Array(count + 1));
  const born = births(position, round);
  let kept = 0;
  for (let place = 0; place < bytes.length; place += 1) {
    const birth = born[place];
    if (birth === NEVER) continue;
    const change = categories[category[place]];
    change[Math.max(birth, 0)] += bytes[place];
    const end = death[place];
    if (end === NEVER) kept += bytes[place];
    else change[end + 1] -= bytes[place];
  }
  const allocated = new Float64Array(count);
  for (const change of categories) {
    let total = 0;
    for (let index = 0; index < count; index += 1) {
      total += change[index];
      change[index] = total;
      allocated[index] += total;
    }
  }
  let peak = 0;
  for (let index = 1; index < count; index += 1) if (allocated[index] > allocated[peak]) peak = index;
  return { round, allocated, categories, kept, peak };
}

/**
 * The places of the storages that are there while an operator runs, largest first.
 * @param {Position} position
 * @param {Float64Array} bytes
 * @param {Round} round
 * @param {number} index
 * @returns {number[]}
 */
export function alive(position, bytes, round, index) {
  const born = births(position, round);
  const { death } = position.lives;
  const found = [];
  for (let place = 0; place < bytes.length; place += 1) {
    const birth = born[place];
    const end = death[place];
    if (birth !== NEVER && birth <= index && (end === NEVER || end >= index)) found.push(place);
  }
  return found.sort((a, b) => bytes[b] - bytes[a] || a - b);
}

/**
 * Both rounds at a point, and which of them has the higher peak.
 * @param {Position} position
 * @param {import("./record.js").Point} point
 * @param {number} kinds
 */
export function steps(position, point, kinds) {
  const bytes = at(position.lives.bytes, point);
  const first = timeline(position, bytes, "first", kinds);
  const later = timeline(position, bytes, "later", kinds);
  const higher = first.allocated[first.peak] > later.allocated[later.peak] ? first : later;
  return { bytes, first, later, higher };
}
