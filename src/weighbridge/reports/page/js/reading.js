/**
 * A reading: everything that the page shows at one setting of its knobs.
 */

import { at, filled, unpackPosition } from "./record.js";
import { largestBatch, loopOf, resident } from "./resident.js";
import { alive, steps } from "./step.js";
import { timeOf, timeRecord } from "./timing.js";

/** @typedef {import("./record.js").Head} Head */
/** @typedef {import("./record.js").Position} Position */
/** @typedef {import("./record.js").Device} Device */
/** @typedef {{entry: number, batch: number, sizeSteps: number, device: number}} Setting `device` is -1 for none. */

/**
 * @typedef {object} Reading
 * @property {Setting} setting
 * @property {Position} position
 * @property {any} contract what `weigh --json` prints
 * @property {ReturnType<typeof steps>} steps
 * @property {number[]} alive the places of the storages at the peak, largest first
 * @property {Device|null} device
 * @property {import("./resident.js").Resident|null} resident
 * @property {number|null} largest
 * @property {import("./clock.js").Time|string|null} time of the step; why nobody knows it; null where the page cannot tell
 */

/** Positions that are unpacked already, with their loops. */
/** @type {Map<number, {position: Position, loop: import("./resident.js").Loop}>} */
const known = new Map();

/**
 * @param {Head} head
 * @param {number} entry
 */
async function opened(head, entry) {
  let found = known.get(entry);
  if (!found) {
    const position = await unpackPosition(head.positions[entry].packed);
    found = { position, loop: loopOf(position, head) };
    known.set(entry, found);
  }
  return found;
}

/**
 * Unpacks, while nothing else is to do, the positions that are one knob away, so that turning one finds them there.
 * @param {Head} head
 * @param {number} entry
 */
export function prepare(head, entry) {
  const here = head.positions[entry];
  const turns = (/** @type {import("./record.js").Entry} */ each) =>
    Number(each.precision !== here.precision) + Number(each.optimizer !== here.optimizer) +
    Number(each.checkpointing !== here.checkpointing);
  const left = [...head.positions.keys()].filter((place) => !known.has(place) && turns(head.positions[place]) === 1);
  const next = async () => {
    const place = left.shift();
    if (place === undefined) return;
    await opened(head, place);
    requestIdleCallback(next);
  };
  requestIdleCallback(next);
}

/**
 * @param {Head} head
 * @param {Setting} setting
 * @returns {Promise<Reading>}
 */
export async function read(head, setting) {
  const { position, loop } = await opened(head, setting.entry);
  const contract = filled(position.contract, at(position.figures, setting));
  const found = steps(position, setting, head.categories.length);
  const { higher, bytes } = found;
  const there = position.ops.name.length ? alive(position, bytes, higher.round, higher.peak) : [];
  const device = setting.device < 0 ? null : head.devices[setting.device];
  if (position.ops.name.length) {
    Object.assign(contract.memory, {
      peak_bytes: higher.allocated[higher.peak],
      first_step: stepRecord(head, position, found.first),
      later_steps: stepRecord(head, position, found.later),
    });
  }
  const placed = device && resident(loop, bytes, device, head.margins);
  const range = head.positions[setting.entry];
  const searched = device && range.largest === null;
  const largest = searched ? largestOn(position, loop, setting, device, head, range.smallest) : null;
  const time = await timeOf(head, position, setting, device);
  if (device && placed) {
    const timed = time === null ? {} : timeRecord(head, position, time, contract.workload);
    contract.devices = [{ ...deviceRecord(device, placed, largest), ...timed }];
  }
  return { setting, position, contract, steps: found, alive: there, device, resident: placed, largest, time };
}

/** Largest batches that were looked for already, by position, size and device: the batch does not change them. */
/** @type {Map<string, number>} */
const largestKnown = new Map();

/**
 * @param {Position} position @param {import("./resident.js").Loop} loop @param {Setting} setting
 * @param {Device} device @param {Head} head @param {number} smallest
 */
function largestOn(position, loop, setting, device, head, smallest) {
  const key = `${setting.entry} ${setting.sizeSteps} ${setting.device}`;
  const found =
    largestKnown.get(key) ?? largestBatch(position, loop, device, head.margins, smallest, setting.sizeSteps);
  largestKnown.set(key, found);
  return found;
}

/**
 * @param {Head} head
 * @param {Position} position
 * @param {import("./step.js").Timeline} step
 */
function stepRecord(head, position, step) {
  const { ops } = position;
  /** @type {Record<string, number>} */
  const sizes = {};
  head.categories.forEach((name, kind) => {
    const held = step.categories[kind][step.peak];
    if (held) sizes[`${name}_bytes`] = held;
  });
  return {
    peak_bytes: step.allocated[step.peak],
    operator: step.peak,
    name: head.names[ops.name[step.peak]],
    scope: head.names[ops.scope[step.peak]],
    phase: head.phases[ops.phase[step.peak]],
    ...sizes,
    kept_bytes: step.kept,
  };
}

/**
 * @param {Device} device
 * @param {import("./resident.js").Resident} found
 * @param {number|null} largest
 */
function deviceRecord(device, found, largest) {
  return {
    device: { key: device.key, name: device.name },
    capacity_bytes: device.capacity,
    answer: found.answer,
    allocated_bytes: found.allocated,
    reserved_bytes: found.reserved,
    outside_bytes: found.outside,
    total_bytes: found.total,
    retries: found.retries,
    largest_batch: largest === null ? null : { axis: "batch", size: Math.max(largest, 0) },
  };
}
