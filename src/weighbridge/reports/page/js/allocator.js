/**
 * PyTorch's CUDA caching allocator with its default settings, one stream (analyses/memory/allocator.py, which names the
 * rules and their sources).
 */

const MIB = 2 ** 20;
const MIN_BLOCK = 512;
const SMALL = MIB;
const SMALL_SEGMENT = 2 * MIB;
const MIN_LARGE = 10 * MIB;
const LARGE_SEGMENT = 20 * MIB;
const ROUND_LARGE = 2 * MIB;

/** Stands for the bytes of an event that frees. */
export const FREED = -1;

/**
 * @typedef {object} Block
 * @property {number} address
 * @property {number} size
 * @property {boolean} allocated
 * @property {Block|null} prev
 * @property {Block|null} next
 * @property {Block[]} cache the free blocks of its pool, by size and address
 */

/**
 * @typedef {object} Replay
 * @property {number} allocated most bytes handed out at once (max_memory_allocated)
 * @property {number} reserved most bytes taken from the device at once (max_memory_reserved)
 * @property {number} retries how often cached memory was given back before there was room
 * @property {Failure|null} failure
 *
 * @typedef {object} Failure where it ran out
 * @property {number} segment bytes that the device was asked for
 * @property {number} free
 * @property {number} allocated
 * @property {number} reserved
 */

/**
 * Plays a loop's allocations and frees.
 * @param {Int32Array} ids what each event allocates or frees
 * @param {Float64Array} sizes bytes that each event allocates, FREED where it frees
 * @param {number|null} room bytes that the device has for it; null: any number
 * @returns {Replay}
 */
export function replay(ids, sizes, room) {
  /** @type {(Block|null)[]} */
  const live = new Array(ids.reduce((most, id) => Math.max(most, id), -1) + 1);
  /** @type {Block[]} */
  const small = [];
  /** @type {Block[]} */
  const large = [];
  let address = 0;
  let allocated = 0;
  let reserved = 0;
  let mostAllocated = 0;
  let mostReserved = 0;
  let retries = 0;

  /** @param {number} size @param {Block[]} cache @returns {Block|null} */
  const segment = (size, cache) => {
    if (room !== null && reserved + size > room) return null;
    reserved += size;
    mostReserved = Math.max(mostReserved, reserved);
    const block = { address, size, allocated: false, prev: null, next: null, cache };
    address += Math.ceil(size / ROUND_LARGE) * ROUND_LARGE;
    return block;
  };
  const empty = () => {
    for (const cache of [small, large]) {
      const kept = cache.filter((block) => block.prev || block.next);
      for (const block of cache) if (!block.prev && !block.next) reserved -= block.size;
      cache.splice(0, cache.length, ...kept);
    }
  };

  for (let event = 0; event < ids.length; event += 1) {
    const id = ids[event];
    const bytes = sizes[event];
    if (bytes === FREED) {
      const block = live[id];
      live[id] = null;
      if (!block) continue;
      allocated -= block.size;
      free(block);
      continue;
    }
    if (bytes === 0) continue;
    const size = Math.max(Math.ceil(bytes / MIN_BLOCK) * MIN_BLOCK, MIN_BLOCK);
    const cache = size <= SMALL ? small : large;
    const place = placeOf(cache, size, -1);
    /** @type {Block|null} */
    let block = null;
    if (place < cache.length) {
      block = cache[place];
      cache.splice(place, 1);
    } else {
      const wanted = segmentSize(size);
      block = segment(wanted, cache);
      if (block === null) {
        empty();
        retries += 1;
        block = segment(wanted, cache);
      }
      if (block === null) {
        const failure = { segment: wanted, free: Math.max((room ?? 0) - reserved, 0), allocated, reserved };
        return { allocated: mostAllocated, reserved: mostReserved, retries, failure };
      }
    }
    block.allocated = true;
    const rest = block.size - size;
    if (cache === small ? rest >= MIN_BLOCK : rest > SMALL) put(cut(block, size));
    live[id] = block;
    allocated += block.size;
    mostAllocated = Math.max(mostAllocated, allocated);
  }
  return { allocated: mostAllocated, reserved: mostReserved, retries, failure: null };
}

/** @param {number} size @returns {number} */
function segmentSize(size) {
  if (size <= SMALL) return SMALL_SEGMENT;
  if (size < MIN_LARGE) return LARGE_SEGMENT;
  return Math.ceil(size / ROUND_LARGE) * ROUND_LARGE;
}

/**
 * The place of the first free block that is not smaller, the lowest address among equals.
 * @param {Block[]} cache @param {number} size @param {number} address @returns {number}
 */
function placeOf(cache, size, address) {
  let low = 0;
  let high = cache.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const block = cache[middle];
    if (block.size < size || (block.size === size && block.address < address)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** @param {Block} block */
function put(block) {
  block.cache.splice(placeOf(block.cache, block.size, block.address), 0, block);
}

/** @param {Block} block */
function take(block) {
  block.cache.splice(placeOf(block.cache, block.size, block.address), 1);
}

/** Shrinks a block and returns the rest. @param {Block} block @param {number} size @returns {Block} */
function cut(block, size) {
  const { next, cache } = block;
  /** @type {Block} */
  const rest = {
    address: block.address + size, size: block.size - size, allocated: false, prev: block, next, cache,
  };
  if (next) next.prev = rest;
  block.next = rest;
  block.size = size;
  return rest;
}

/** @param {Block} block @param {Block} following */
function absorb(block, following) {
  block.size += following.size;
  block.next = following.next;
  if (block.next) block.next.prev = block;
}

/** Takes a block back and joins it with free neighbours. @param {Block} block */
function free(block) {
  block.allocated = false;
  const before = block.prev;
  if (before && !before.allocated) {
    take(before);
    absorb(before, block);
    block = before;
  }
  const after = block.next;
  if (after && !after.allocated) {
    take(after);
    absorb(block, after);
  }
  put(block);
}
