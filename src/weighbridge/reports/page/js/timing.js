/**
 * The time of a step as data and in words, as `reports/time.py` has both.
 */

import { add, descending, growthAt, stepTime } from "./clock.js";
import { asAsked, unpack } from "./record.js";
import { count, duration, durations, plural, wholePercent } from "./units.js";

/** @typedef {import("./record.js").Head} Head */
/** @typedef {import("./record.js").Position} Position */
/** @typedef {import("./record.js").Device} Device */
/** @typedef {import("./clock.js").Time} Time */

/** Classes that a sentence names. */
const MOST_NAMES = 4;

/** Clocks that are unpacked already, by device. @type {Map<string, import("./clock.js").Clock>} */
const clocks = new Map();

/**
 * The time of a position's step on a device; why nobody knows it; null where the page cannot tell.
 * @param {Head} head @param {Position} position @param {import("./reading.js").Setting} setting @param {Device|null} device
 * @returns {Promise<Time|string|null>}
 */
export async function timeOf(head, position, setting, device) {
  const growth = growthAt(position.kernels, setting);
  if (device?.clock && growth) {
    const clock = clocks.get(device.key) ?? (await unpack(device.clock));
    clocks.set(device.key, clock);
    return stepTime(growth, setting, clock, head.clocks, position.contract.workload.mode);
  }
  return device?.told && asAsked(head, setting) ? told(await unpack(device.told)) : null;
}

/** What the command says of the step that was asked for; of which kernels, it does not. @param {any} time @returns {Time|string} */
function told(time) {
  if (typeof time === "string") return time;
  return {
    ...time, kernels: [], times: [], herd: [], ops: [], byBound: new Map(time.byBound), byClass: new Map(time.byClass),
  };
}

/** Why a page cannot tell the time on a device, and what can. @param {Device} device */
export function untold(device) {
  const why = device.clock
    ? "at so small a size the page does not know the kernels"
    : "of a machine that was calibrated, the page has the time as it was asked for alone";
  return `${why}; the command below tells`;
}

/**
 * The keys of a device's record in the JSON contract that are of time.
 * @param {Head} head @param {Position} position @param {Time|string} time @param {any} workload
 */
export function timeRecord(head, position, time, workload) {
  if (typeof time === "string") return { time: null, time_unknown: time };
  const { seconds, low, high } = time;
  const epoch = epochOf(time, workload);
  return {
    time: {
      seconds, low, high,
      samples_per_s: workload.batch / seconds,
      ...(epoch === null ? {} : { epoch_s: epoch }),
      device_s: time.device_s,
      dispatch_s: time.dispatch_s,
      waits_for_host: time.waits,
      by_bound: Object.fromEntries(time.byBound),
      by_class: Object.fromEntries(time.byClass),
      by_phase: byPhase(head, position, time),
      by_layer: Object.fromEntries(byScope(head, position, time)),
      rates_of: time.clock.rates_of,
      basis: time.clock.basis,
      extrapolating: time.extrapolating,
      uncounted: time.uncounted,
    },
  };
}

/** Seconds by the module whose operators take them, without those below it. @param {Head} head @param {Position} position @param {Time} time */
function byScope(head, position, time) {
  /** @type {Map<string, number>} */
  const found = new Map();
  for (const [op, , seconds] of time.shares) add(found, head.names[position.ops.scope[op]], seconds);
  return descending(found);
}

/** @param {Head} head @param {Position} position @param {Time} time */
function byPhase(head, position, time) {
  const found = new Map(head.phases.map((phase) => [phase, 0]));
  for (const [op, , seconds] of time.shares) add(found, head.phases[position.ops.phase[op]], seconds);
  return Object.fromEntries(found);
}

/** Seconds of an epoch; null where nobody says of how many samples. @param {Time} time @param {any} workload */
function epochOf(time, { dataset, learning_rule: rule, accumulation, batch }) {
  if (dataset === null || rule !== "batch" || accumulation > 1) return null;
  return time.seconds * Math.ceil(dataset / batch);
}

/** '~71.3 ms (60.4 to 84.6 ms)'. @param {Time} time */
function about({ seconds, low, high }) {
  return `~${duration(seconds)} (${durations(low, high)})`;
}

/**
 * 'memory 61 %': what most of some time goes to; '' of none.
 * @param {Head} head @param {Map<import("./clock.js").Limit, number>} bounds @param {number} seconds
 */
export function boundBy(head, bounds, seconds) {
  const [most] = descending(bounds);
  return most && seconds ? `${head.clocks.short_limits[most[0]]} ${wholePercent(most[1] / seconds)}` : "";
}

/** '898 samples/s'. @param {Time} time @param {number} batch */
export function rate(time, batch) {
  return `${count(batch / time.seconds)} samples/s`;
}

/**
 * 'one step ~71.3 ms (60.4 to 84.6 ms), 898 samples/s; bound by memory traffic in 61 % of the time'.
 * @param {Head} head @param {Time|string} time @param {Device} device @param {any} workload
 */
export function sentence(head, time, device, workload) {
  if (typeof time === "string") return `no time of a step: ${time}`;
  const epoch = epochOf(time, workload);
  const parts = [
    `one step ${about(time)}${standIn(time, device)}, ${rate(time, workload.batch)}` +
      (epoch === null ? "" : `, an epoch ~${duration(epoch)}`),
  ];
  if (time.waits) {
    parts.push(
      `it waits for the host, which hands out operators for ${duration(time.dispatch_s)}, and needs ` +
        `${duration(time.device_s)} itself`,
    );
  } else {
    const [[limit, seconds]] = time.byBound;
    parts.push(`bound by ${head.clocks.limits[limit]} in ${wholePercent(seconds / time.seconds)} of the time`);
  }
  if (time.uncounted) parts.push(`without ${plural(time.uncounted, "operator")} that no rule is known for`);
  return parts.join("; ");
}

/** Whose rates stand for those of the device that was named. @param {Time} time @param {Device} device */
function standIn({ clock }, device) {
  return clock.rates_of.key === device.card ? "" : ` on ${clock.rates_of.name}`;
}

/**
 * Whose rates were taken, what they rest on, and what lies outside of that.
 * @param {Head} head @param {Time} time @param {Device} device
 */
export function grounds(head, { clock, extrapolating }, device) {
  const parts = [clock.basis];
  if (clock.rates_of.key !== device.card) parts.push(`rates of ${clock.rates_of.name}`);
  let left = clock.told ? extrapolating : [];
  for (const [beyond, said] of Object.entries(head.clocks.beyond)) {
    const named = left.filter((name) => name.startsWith(beyond)).map((name) => name.slice(beyond.length));
    if (named.length) parts.push(`extrapolating ${said}${listed(named)}`);
    left = left.filter((name) => !name.startsWith(beyond));
  }
  if (left.length) parts.push(`extrapolating: ${listed(left)}`);
  return parts.join("; ");
}

/** 'fc6, fc7 and fc8'; of many the first ones and how many more. @param {string[]} names */
function listed(names) {
  const few = names.length > MOST_NAMES ? [...names.slice(0, MOST_NAMES - 1), `${names.length - MOST_NAMES + 1} more`] : names;
  const last = few[few.length - 1];
  return few.length > 1 ? `${few.slice(0, -1).join(", ")} and ${last}` : last;
}
