/**
 * How long a step takes on a device, kernel by kernel: the arithmetic of `analyses/time` (pace, tiles, rows, step).
 *
 * What a device reaches is a record (`times.py`): a pace for each sort of kernels. What a step launches is another: herds of
 * kernels that are the same at every batch, and which operators each launch runs.
 */

import { at } from "./record.js";

/** @typedef {"compute" | "memory" | "overhead"} Bound */
/** @typedef {Bound | "host"} Limit */
/** @typedef {import("./record.js").Point} Point */

/**
 * @typedef {object} Growth The kernels of a step from one batch to another, and from one size to another.
 * @property {[number, number]|null} sizes in steps; null for its own alone
 * @property {number} smallest
 * @property {number|null} largest
 * @property {number[]} sort of each herd
 * @property {number[]} product 1 for a herd of matrix products
 * @property {number[]} operands how many operands of each herd may be its largest
 * @property {import("./record.js").Growing} numbers of each herd: its numbers, its product's sizes, its operands' bytes
 * @property {number[]} herd of each launch
 * @property {(number|number[])[]} ops that each launch runs
 * @property {number} dispatches
 * @property {number} uncounted
 *
 * @typedef {{batch: number, rows: number, columns: number, depth: number}} Product
 *
 * @typedef {object} Kernel
 * @property {number} sort
 * @property {number} macs
 * @property {number} flops
 * @property {number} read_bytes
 * @property {number} write_bytes
 * @property {number} row_bytes
 * @property {number} launches
 * @property {number} waits
 * @property {number} largest bytes of its largest operand
 * @property {Product|null} product
 *
 * @typedef {object} Tiling
 * @property {{columns: number, rows: number, loads: number}[]} tiles
 * @property {number} prologue
 * @property {number} tail
 * @property {number} split
 * @property {number} step
 * @property {number} unaligned
 * @property {number|null} most
 *
 * @typedef {{times: number, in_registers_bytes: number, at_once: [number, number], caches: [number, number][]}} Rows
 *
 * @typedef {object} Products
 * @property {number} share
 * @property {number} tiling
 * @property {number} multiprocessors
 * @property {{pages: number, growth: number}|null} reach
 * @property {number} itemsize
 *
 * @typedef {object} Pace
 * @property {number} peak
 * @property {number} rate
 * @property {number} bytes
 * @property {number} launch
 * @property {number} wait
 * @property {number} half
 * @property {Products|null} products
 * @property {Rows|null} rows
 * @property {string|null} computes the dtype of a contraction's arithmetic
 * @property {[number, number|null]|null} sizes from and to which such kernels were measured; null if they were not
 * @property {boolean} borrowed
 *
 * @typedef {object} Clock
 * @property {{key: string, name: string}} rates_of
 * @property {number} bandwidth
 * @property {[string, number][]} peaks by dtype, highest first
 * @property {boolean} on_host
 * @property {number} dispatch_s
 * @property {Record<string, number>} slow_host_s by mode: the same, of a slow host; 0 where the host is known
 * @property {number|null} overlap null where the longer hides the other
 * @property {{last_bytes: number, gain: number, within: number, beyond_bytes_per_s: number|null}} caches
 * @property {string} basis
 * @property {boolean} told whether any class was measured, here or on its like
 * @property {Record<string, [number, number][][]>} intervals
 * by mode, then if the step is extrapolating: with no time borrowed, and with all
 * @property {(Pace|string)[]} paces of each sort; why there is none
 *
 * @typedef {object} Shared What clocks have in common.
 * @property {string[]} numbers names of a kernel's numbers
 * @property {string[]} sizes names of a product's
 * @property {string[]} kinds the class of each sort
 * @property {Tiling[]} tilings
 * @property {{half_block_bytes: number, kept: number, lost: number}} rows
 * @property {{page_bytes: number, walked_rows: number}} pages
 * @property {number} tiny_s
 * @property {number} some the share of the time outside of what was measured that makes a step extrapolating
 * @property {string} smaller what is said of classes that were measured at other sizes
 * @property {string} larger
 * @property {Record<string, string>} beyond the same, as sentences say it
 * @property {{host: string, lowest: number, least: number}} roofline
 * the name of what the host adds; the intensity and the share of the time from which on a piece is drawn
 * @property {Record<Limit, string>} limits
 * @property {Record<Limit, string>} short_limits
 *
 * @typedef {{seconds: number, bound: Bound}} KernelTime
 *
 * @typedef {object} Time
 * @property {Clock} clock
 * @property {Kernel[]} kernels one of each herd; none of a time that the command told
 * @property {KernelTime[]} times theirs
 * @property {number[]} herd of each launch
 * @property {(number|number[])[]} ops of each launch
 * @property {number} seconds
 * @property {number} low
 * @property {number} high
 * @property {number} device_s
 * @property {number} dispatch_s
 * @property {boolean} waits whether the device waits for the host
 * @property {Map<Limit, number>} byBound most first, as the others
 * @property {Map<string, number>} byClass
 * @property {[number, Limit, number][]} shares the place of an operator, and so many seconds of it by what they go to
 * @property {string[]} extrapolating
 * @property {number} uncounted
 */

/** The kernels that are known at a point. @param {Growth[]} growths @param {Point} point @returns {Growth|undefined} */
export function growthAt(growths, { batch, sizeSteps }) {
  return growths.find(({ smallest, largest, sizes }) => {
    const [least, most] = sizes ?? [0, 0];
    return smallest <= batch && (largest === null || batch <= largest) && least <= sizeSteps && sizeSteps <= most;
  });
}

/**
 * The time of a step; why nobody knows it.
 * @param {Growth} growth
 * @param {Point} point
 * @param {Clock} clock
 * @param {Shared} shared
 * @param {string} mode
 * @returns {Time|string}
 */
export function stepTime(growth, point, clock, shared, mode) {
  const kernels = kernelsAt(growth, point, shared);
  for (const { sort } of kernels) {
    const pace = clock.paces[sort];
    if (typeof pace === "string") return pace;
  }
  const times = kernels.map((kernel) => kernelTime(kernel, clock, shared));
  const { herd, ops, uncounted } = growth;
  /** @type {Map<Limit, number>} */
  const byBound = new Map();
  /** @type {Map<string, number>} */
  const byClass = new Map();
  /** @type {Map<string, number>} */
  const outside = new Map();
  let device = 0;
  let borrowed = 0;
  for (const place of herd) {
    const { seconds, bound } = times[place];
    const kernel = kernels[place];
    device += seconds;
    if (paceOf(kernel, clock).borrowed) borrowed += seconds;
    add(byBound, bound, seconds);
    add(byClass, shared.kinds[kernel.sort], seconds);
    const beyond = outsideOf(kernel, clock, shared);
    if (beyond) add(outside, beyond, seconds);
  }
  const dispatch = growth.dispatches * clock.dispatch_s;
  const seconds = clock.on_host ? device + dispatch : Math.max(device, dispatch);
  if (!seconds) return "nothing of this network takes time";
  const waits = !clock.on_host && dispatch > device;
  if (seconds - device) add(byBound, "host", seconds - device);
  const much = [...outside.values()].reduce((sum, each) => sum + each, 0) > shared.some * device;
  const [none, all] = clock.intervals[mode][Number(much)];
  const share = device ? borrowed / device : 0;
  const [low, usual] = none.map((end, place) => seconds * (end + share * (all[place] - end)));
  const high = Math.max(usual, growth.dispatches * clock.slow_host_s[mode]);
  const sizes = (/** @type {string} */ name) => name.startsWith(shared.smaller) || name.startsWith(shared.larger);
  return {
    clock, kernels, times, herd, ops, seconds, low, high, device_s: device, dispatch_s: dispatch, waits,
    byBound: descending(byBound), byClass: descending(byClass),
    shares: shares(growth, kernels, times, waits ? seconds : seconds - device, waits),
    extrapolating: [...descending(outside).keys()].filter((name) => much || !sizes(name)), uncounted,
  };
}

/** @param {Kernel} kernel @param {Clock} clock */
export function paceOf({ sort }, clock) {
  return /** @type {Pace} */ (clock.paces[sort]);
}

/** How a kernel lies outside of what was measured; '' if it does not. @param {Kernel} kernel @param {Clock} clock @param {Shared} shared */
function outsideOf(kernel, clock, shared) {
  const { sizes, computes } = paceOf(kernel, clock);
  const kind = shared.kinds[kernel.sort];
  if (!sizes) return kind;
  const [least, most] = sizes;
  const size = computes === null ? kernel.read_bytes + kernel.write_bytes : kernel.macs;
  if (size < least) return `${shared.smaller}${kind}`;
  return most !== null && size > most ? `${shared.larger}${kind}` : "";
}

/**
 * One kernel of each herd.
 * @param {Growth} growth @param {Point} point @param {Shared} shared
 * @returns {Kernel[]}
 */
function kernelsAt(growth, point, shared) {
  const values = at(growth.numbers, point);
  let next = 0;
  /** @param {string[]} names @returns {any} */
  const named = (names) => Object.fromEntries(names.map((name) => [name, values[next++]]));
  return growth.sort.map((sort, place) => {
    const numbers = named(shared.numbers);
    const product = growth.product[place] ? named(shared.sizes) : null;
    let largest = 0;
    for (let left = growth.operands[place]; left; left -= 1) largest = Math.max(largest, values[next++]);
    return { ...numbers, sort, flops: 2 * numbers.macs + numbers.operations, product, largest };
  });
}

/** @param {Kernel} kernel @param {Clock} clock @param {Shared} shared @returns {KernelTime} */
function kernelTime(kernel, clock, shared) {
  const pace = paceOf(kernel, clock);
  const { caches, overlap } = clock;
  let compute = kernel.flops / pace.rate;
  if (pace.products) compute *= stretch(kernel.product, pace.products, shared);
  if (kernel.product && pace.half) compute *= 1 + pace.half / Math.max(kernel.product.rows, 1);
  const moved = kernel.read_bytes * reads(pace.rows, kernel.row_bytes, shared) + kernel.write_bytes;
  let memory = moved / pace.bytes / speed(caches, kernel.largest);
  if (caches.beyond_bytes_per_s !== null) memory += Math.max(moved - caches.within, 0) / caches.beyond_bytes_per_s;
  const overhead = kernel.launches * pace.launch + kernel.waits * pace.wait;
  const longer = Math.max(compute, memory);
  let together = longer;
  if (overlap !== null) {
    const share = Math.min(compute, memory) / (longer + shared.tiny_s);
    together = longer * (1 + share ** overlap) ** (1 / overlap);
  }
  const bound = overhead >= longer ? "overhead" : compute >= memory ? "compute" : "memory";
  return { seconds: together + overhead, bound };
}

/** How many times what a kernel reads comes from memory (`rows.py`). @param {Rows|null} rows @param {number} row @param {Shared} shared */
function reads(rows, row, shared) {
  if (!rows || row <= rows.in_registers_bytes) return 1;
  const { half_block_bytes: half, kept, lost } = shared.rows;
  const many = rows.at_once[row > half ? 1 : 0];
  const found = rows.caches.map(([size, times]) =>
    Math.min(Math.max((lost - (times * many * row) / size) / (lost - kept), 0), 1));
  return 1 + (rows.times - 1) * (1 - Math.max(0, ...found));
}

/** How many times as fast as memory operands move (`pace.py`). @param {Clock["caches"]} caches @param {number} largest */
function speed({ last_bytes: last, gain }, largest) {
  if (!gain || !last) return 1;
  const there = 1 / (1 + (largest / last) ** 2);
  return 1 / (1 - there + there / (1 + gain));
}

/** How many times as long as at the device's peak a product takes (`tiles.py`). @param {Product|null} product @param {Products} made @param {Shared} shared */
function stretch(product, { share, tiling, multiprocessors, reach, itemsize }, shared) {
  if (!product) return 1 / share;
  const { batch, rows, columns, depth } = product;
  const { tiles, prologue, tail, split, step, unaligned, most } = shared.tilings[tiling];
  let slots = Infinity;
  for (const tile of tiles) {
    for (let parts = 1; parts <= split; parts *= 2) {
      const count = batch * Math.ceil(columns / tile.columns) * Math.ceil(rows / tile.rows) * parts;
      const waves = tail * Math.ceil(count / multiprocessors) + (1 - tail) * Math.max(count / multiprocessors, 1);
      slots = Math.min(slots, waves * tile.columns * tile.rows * tile.loads * (depth / parts + prologue));
    }
  }
  let found = (slots * multiprocessors) / Math.max(batch * rows * columns * depth, 1);
  if (columns % step || depth % step) found *= unaligned;
  if (most !== null) found = Math.min(found, most);
  found /= share;
  if (reach) {
    const pages = (Math.min(rows + columns, shared.pages.walked_rows) * depth * itemsize) / shared.pages.page_bytes;
    found *= Math.max(1, pages / reach.pages) ** reach.growth;
  }
  return found;
}

/**
 * The step's seconds by operator and by what they go to, which add up to it: kernels, and the host; the host alone where the
 * device waits for it.
 * @param {Growth} growth @param {Kernel[]} kernels @param {KernelTime[]} times @param {number} host @param {boolean} waits
 * @returns {[number, Limit, number][]}
 */
function shares({ herd, ops }, kernels, times, host, waits) {
  /** @type {[number, Limit, number][]} */
  const found = [];
  const handed = new Map();
  herd.forEach((place, launch) => {
    const { seconds, bound } = times[place];
    const one = ops[launch];
    const group = typeof one === "number" ? [one] : one;
    if (kernels[place].launches) handed.set(String(one), group);
    for (const op of group) found.push(waits ? [op, "host", 0] : [op, bound, seconds / group.length]);
  });
  if (host) {
    for (const group of handed.values()) {
      for (const op of group) found.push([op, "host", host / handed.size / group.length]);
    }
  }
  return found;
}

/** @template Key @param {Map<Key, number>} sums @param {Key} key @param {number} value */
export function add(sums, key, value) {
  sums.set(key, (sums.get(key) ?? 0) + value);
}

/** @template Key @param {Map<Key, number>} sums @returns {Map<Key, number>} */
export function descending(sums) {
  return new Map([...sums].sort((one, other) => other[1] - one[1]));
}
