/**
 * What a training loop takes of a device, whether it fits, and the largest batch that does (analyses/memory/resident.py,
 * analyses/memory/largest.py).
 */

import { FREED, replay } from "./allocator.js";
import { at, NEVER } from "./record.js";

/** @typedef {import("./record.js").Position} Position */
/** @typedef {import("./record.js").Head} Head */
/** @typedef {import("./record.js").Device} Device */
/** @typedef {{low: number, expected: number, high: number}} Interval */

/**
 * @typedef {object} Resident
 * @property {"fits" | "does not fit" | "too close to call"} answer
 * @property {Interval} allocated
 * @property {Interval} reserved
 * @property {Interval} outside
 * @property {Interval} total
 * @property {number} retries
 * @property {string|null} message what PyTorch would say
 */

/**
 * @typedef {object} Loop Two rounds of a loop, in the order in which an allocator meets them.
 * @property {Int32Array} ids
 * @property {Int32Array} places the place of each allocation among the storages, -1 for a free
 * @property {number} handles workspaces of cuBLAS that are taken before
 */

/**
 * The order of events, which is the same at every batch (resident.order).
 * @param {Position} position
 * @param {Head} head
 * @returns {Loop}
 */
export function loopOf(position, head) {
  const { birth, first, death, category, held } = position.lives;
  const count = birth.length;
  const gradient = head.categories.indexOf("gradient");
  const holding = head.categories.indexOf("held");
  const staying = new Set(head.stays.map((name) => head.categories.indexOf(name)));
  const stays = (/** @type {number} */ place) =>
    staying.has(category[place]) || (category[place] === gradient && birth[place] === -1);
  const heldOf = new Map(held);
  const number = (/** @type {number} */ place, /** @type {number} */ round) =>
    stays(place) ? place : place + round * count;

  /** @type {number[]} */
  const ids = [];
  /** @type {number[]} */
  const places = [];
  /** @type {Map<number, number>} what is alive, and its place */
  const living = new Map();
  const allocate = (/** @type {number} */ place, /** @type {number} */ round) => {
    living.set(number(place, round), place);
    ids.push(number(place, round));
    places.push(place);
  };
  const release = (/** @type {number} */ id) => {
    if (!living.delete(id)) return;
    ids.push(id);
    places.push(-1);
  };

  for (let round = 0; round < 2; round += 1) {
    /** @type {Map<number, number[]>} */
    const births = new Map();
    /** @type {Map<number, number[]>} */
    const deaths = new Map();
    for (let place = 0; place < count; place += 1) {
      const end = death[place];
      if (category[place] === holding) {
        if (round && end !== NEVER) append(deaths, end, number(heldOf.get(place) ?? place, round - 1));
        continue;
      }
      const begin = round === 0 ? first[place] : birth[place];
      if (begin === NEVER || living.has(number(place, round))) continue;
      append(births, begin, place);
      if (end !== NEVER) append(deaths, end, number(place, round));
    }
    const awaited = new Set([...deaths.values()].flat());
    const before = [...living].filter(([, place]) => !stays(place)).map(([id]) => id);
    for (const place of births.get(-1) ?? []) allocate(place, round);
    births.delete(-1);
    for (const id of before) if (!awaited.has(id)) release(id);
    const moments = [...new Set([...births.keys(), ...deaths.keys()])].sort((a, b) => a - b);
    for (const index of moments) {
      for (const place of births.get(index) ?? []) allocate(place, round);
      for (const id of deaths.get(index) ?? []) release(id);
    }
  }
  const trains = category.includes(gradient);
  return {
    ids: Int32Array.from(ids),
    places: Int32Array.from(places),
    handles: trains ? head.margins.handles : 1,
  };
}

/** @param {Map<number, number[]>} map @param {number} key @param {number} value */
function append(map, key, value) {
  const found = map.get(key);
  if (found) found.push(value);
  else map.set(key, [value]);
}

/**
 * The events with every tensor larger by a share, or smaller, after the workspaces of cuBLAS.
 * @param {Loop} loop
 * @param {Float64Array} bytes
 * @param {number} share
 * @param {number} workspace
 */
function events(loop, bytes, share, workspace) {
  const length = loop.handles + loop.ids.length;
  const ids = new Int32Array(length);
  const sizes = new Float64Array(length);
  for (let handle = 0; handle < loop.handles; handle += 1) {
    ids[handle] = 2 * bytes.length + handle;
    sizes[handle] = workspace;
  }
  ids.set(loop.ids, loop.handles);
  for (let event = 0; event < loop.ids.length; event += 1) {
    const place = loop.places[event];
    if (place < 0) sizes[loop.handles + event] = FREED;
    else sizes[loop.handles + event] = share ? Math.trunc(bytes[place] * (1 + share)) : bytes[place];
  }
  return { ids, sizes };
}

/**
 * @param {Loop} loop
 * @param {Float64Array} bytes
 * @param {Device} device
 * @param {number|null} room
 * @param {number} share
 */
function played(loop, bytes, device, room, share) {
  const { ids, sizes } = events(loop, bytes, share, device.workspace);
  return replay(ids, sizes, room);
}

/**
 * @param {number} size
 * @param {Head["margins"]} margins
 * @returns {Interval}
 */
function around(size, margins) {
  return {
    low: Math.trunc(size * (1 - margins.fewer)),
    expected: size,
    high: Math.trunc(size * (1 + margins.more)),
  };
}

/** @param {Interval} a @param {Interval} b @returns {Interval} */
function sum(a, b) {
  return { low: a.low + b.low, expected: a.expected + b.expected, high: a.high + b.high };
}

/**
 * What the loop takes of the device.
 * @param {Loop} loop
 * @param {Float64Array} bytes
 * @param {Device} device
 * @param {Head["margins"]} margins
 * @returns {Resident}
 */
export function resident(loop, bytes, device, margins) {
  const [low, expected, high] = device.outside;
  const outside = { low, expected, high };
  const { capacity } = device;
  if (!device.cached) {
    let live = 0;
    let most = 0;
    for (let event = 0; event < loop.ids.length; event += 1) {
      const place = loop.places[event];
      live += place < 0 ? -bytes[loop.ids[event] % bytes.length] : bytes[place];
      most = Math.max(most, live);
    }
    const held = around(most, margins);
    const total = sum(held, outside);
    const answer = total.high <= capacity ? "fits" : total.low > capacity ? "does not fit" : "too close to call";
    return { answer, allocated: held, reserved: held, outside, total, retries: 0, message: null };
  }
  /** @type {Resident["answer"]} */
  let answer = "fits";
  if (played(loop, bytes, device, capacity - high, margins.more).failure) {
    const best = played(loop, bytes, device, capacity - low, -margins.fewer);
    answer = best.failure ? "does not fit" : "too close to call";
  }
  let found = played(loop, bytes, device, capacity - expected, 0);
  const { failure } = found;
  if (failure) found = played(loop, bytes, device, null, 0);
  const reserved = around(found.reserved, margins);
  let total = sum(reserved, outside);
  if (answer === "fits") {
    total = {
      low: Math.min(total.low, capacity),
      expected: Math.min(total.expected, capacity),
      high: Math.min(total.high, capacity),
    };
  }
  return {
    answer,
    allocated: around(found.allocated, margins),
    reserved,
    outside,
    total,
    retries: found.retries,
    message: failure && expected <= capacity ? outOfMemory(failure, capacity, expected) : null,
  };
}

/**
 * What PyTorch would print, without its advice.
 * @param {import("./allocator.js").Failure} failure
 * @param {number} capacity
 * @param {number} outside
 */
function outOfMemory(failure, capacity, outside) {
  const { segment, free, allocated, reserved } = failure;
  return (
    `CUDA out of memory. Tried to allocate ${size(segment)}. GPU 0 has a total capacity of ${size(capacity)}` +
    ` of which ${size(free)} is free. Including non-PyTorch memory, this process has ${size(outside + reserved)}` +
    ` memory in use. Of the allocated memory ${size(allocated)} is allocated by PyTorch, and` +
    ` ${size(reserved - allocated)} is reserved by PyTorch but unallocated.`
  );
}

/** PyTorch's own spelling of a size. @param {number} bytes @returns {string} */
function size(bytes) {
  if (bytes <= 2 ** 10) return `${bytes} bytes`;
  if (bytes <= 2 ** 20) return `${(bytes / 2 ** 10).toFixed(2)} KiB`;
  if (bytes <= 2 ** 30) return `${(bytes / 2 ** 20).toFixed(2)} MiB`;
  return `${(bytes / 2 ** 30).toFixed(2)} GiB`;
}

/**
 * The largest batch that surely fits by the polynomials; less than `smallest` where none does.
 * @param {Position} position
 * @param {Loop} loop
 * @param {Device} device
 * @param {Head["margins"]} margins
 * @param {number} smallest
 * @param {number} sizeSteps
 * @returns {number}
 */
export function largestBatch(position, loop, device, margins, smallest, sizeSteps) {
  const bytesAt = (/** @type {number} */ batch) => at(position.lives.bytes, { batch, sizeSteps });
  const live = (/** @type {number} */ batch) => liveness(position, bytesAt(batch));
  const fits = (/** @type {number} */ batch) => {
    const most = Math.trunc(live(batch) * (1 + margins.more));
    if (!device.cached) return resident(loop, bytesAt(batch), device, margins).answer === "fits";
    if (most + device.outside[2] > device.capacity) return false;
    const bytes = bytesAt(batch);
    return played(loop, bytes, device, device.capacity - device.outside[2], margins.more).failure === null;
  };
  const holds = (/** @type {number} */ batch) => Math.trunc(live(batch) * (1 + margins.more)) <= device.capacity;
  return descended(fits, doubled(holds, smallest, margins.limit), smallest);
}

/**
 * Bytes at the peak of a later round.
 * @param {Position} position
 * @param {Float64Array} bytes
 * @returns {number}
 */
function liveness(position, bytes) {
  const { birth, death } = position.lives;
  const change = new Float64Array(position.ops.name.length + 1);
  for (let place = 0; place < bytes.length; place += 1) {
    change[Math.max(birth[place], 0)] += bytes[place];
    const end = death[place];
    if (end !== NEVER) change[end + 1] -= bytes[place];
  }
  let live = 0;
  let most = 0;
  for (const step of change) {
    live += step;
    most = Math.max(most, live);
  }
  return most;
}

/** @param {(n: number) => boolean} fits @param {number} start @param {number} limit @returns {number} */
function doubled(fits, start, limit) {
  if (!fits(start)) return start - 1;
  let low = start;
  let high = start;
  while (high < limit) {
    high = Math.min(2 * high, limit);
    if (!fits(high)) return halved(fits, low, high);
    low = high;
  }
  return limit;
}

/** @param {(n: number) => boolean} fits @param {number} low @param {number} high @returns {number} */
function halved(fits, low, high) {
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (fits(middle)) low = middle;
    else high = middle;
  }
  return low;
}

/**
 * The largest that fits, of which `most` is a bound and mostly not far off.
 * @param {(n: number) => boolean} fits @param {number} most @param {number} smallest @returns {number}
 */
function descended(fits, most, smallest) {
  const none = smallest - 1;
  if (most <= none || fits(most)) return most;
  let high = most;
  let gap = Math.max(1, Math.floor(most / 32));
  let low = Math.max(high - gap, none);
  while (low > none && !fits(low)) {
    high = low;
    gap *= 2;
    low = Math.max(high - gap, none);
  }
  return halved(fits, low, high);
}
