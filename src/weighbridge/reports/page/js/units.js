/**
 * Numbers as text, as the command writes them (units.py): three significant digits, counts decimal, memory binary.
 */

const DECIMAL = ["", "k", "M", "G", "T", "P", "E", "Z", "Y", "R", "Q"];
const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

/** Digits behind the point that hold any double from 0.001 to 1024 exactly. */
const EXACT_DIGITS = 70;

/**
 * A number >= 0 with so many digits behind the point; what lies exactly between two goes to the even one.
 * (`toFixed` alone rounds such ties up, Python to even: 1.125 is '1.12'.)
 * @param {number} value
 * @param {number} digits
 * @returns {string}
 */
export function fixed(value, digits) {
  const exact = value.toFixed(EXACT_DIGITS);
  const end = exact.length - EXACT_DIGITS + digits;
  const rest = exact.slice(end);
  const kept = BigInt(exact.slice(0, end).replace(".", ""));
  const half = "5".padEnd(rest.length, "0");
  const up = rest > half || (rest === half && kept % 2n === 1n);
  const text = (up ? kept + 1n : kept).toString().padStart(digits + 1, "0");
  return digits ? `${text.slice(0, -digits)}.${text.slice(-digits)}` : text;
}

/**
 * A number >= 0 in plain notation with three significant digits; larger whole numbers stay whole.
 * @param {number} value
 * @returns {string}
 */
export function significant(value) {
  if (value === 0) return "0";
  const exponent = Number(value.toExponential(20).split("e")[1]);
  const digits = Math.max(2 - exponent, 0);
  const text = fixed(value, digits);
  const grew = Number(text) >= 10 ** (exponent + 1);
  return grew && digits ? fixed(value, digits - 1) : text;
}

/**
 * @param {number} value
 * @param {string[]} prefixes
 * @param {number} base
 * @returns {string}
 */
function scaled(value, prefixes, base) {
  if (value < base && Number.isInteger(value)) return `${value} ${prefixes[0]}`.trimEnd();
  let exponent = 0;
  let divisor = 1;
  const limit = base === 1000 ? base - 0.5 : base;
  while (exponent + 1 < prefixes.length && value >= divisor * limit) {
    divisor *= base;
    exponent += 1;
  }
  return `${significant(value / divisor)} ${prefixes[exponent]}`.trimEnd();
}

/** A count, decimal: 1814073344 is '1.81 G'. @param {number} value @returns {string} */
export function count(value) {
  return scaled(value, DECIMAL, 1000);
}

/** A count in full, grouped: '25,557,032'. @param {number} value @returns {string} */
export function integer(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** Bytes, binary: '97.5 MiB'. @param {number} value @returns {string} */
export function memory(value) {
  return scaled(value, BINARY, 1024);
}

/** A count with its unit behind the prefix: '1.81 GMACs'. @param {number} value @param {string} name */
export function unit(value, name) {
  const [number, prefix = ""] = count(value).split(" ");
  return `${number} ${prefix}${name}`;
}

/** A share of one as a percentage: '2.9 %'. @param {number} share @returns {string} */
export function percent(share) {
  const value = 100 * share;
  if (value && value < 0.1) return "<0.1 %";
  return `${fixed(value, 1)} %`;
}

/** '1 operator', '175 operators'. @param {number} number @param {string} word @returns {string} */
export function plural(number, word) {
  return `${integer(number)} ${word}${number === 1 ? "" : "s"}`;
}

/** A shape: '32, 64, 112, 112'. @param {number[]} shape @returns {string} */
export function shape(shape) {
  return shape.length ? shape.join(" × ") : "scalar";
}

/** A share of one in whole percent, for what is no better known: '61 %'. @param {number} share @returns {string} */
export function wholePercent(share) {
  return share === 0 || share >= 0.005 ? `${fixed(100 * share, 0)} %` : "<1 %";
}

const MINUTE = 60;
const HOUR = 3600;
const DAY = 24 * HOUR;

/** From how many seconds on a time is told in a unit, the unit's seconds, and its name. @type {[number, number, string][]} */
const DURATIONS = [
  [2 * DAY, DAY, "days"], [HOUR, HOUR, "h"], [MINUTE, MINUTE, "min"], [1, 1, "s"], [1e-3, 1e-3, "ms"], [0, 1e-6, "us"],
];

/** A time: '14.3 ms', '1.50 min'. @param {number} seconds @returns {string} */
export function duration(seconds) {
  const rounded = Number(seconds.toExponential(2)); // 59.97 s is told as a minute, not as 60.0 s
  const [begin, size, name] = DURATIONS.find(([from]) => rounded >= from) ?? DURATIONS[DURATIONS.length - 1];
  return `${significant(Math.max(seconds, begin) / size)} ${name}`;
}

/** Between two times, the unit written once where it is the same: '60.4 to 84.6 ms'. @param {number} low @param {number} high */
export function durations(low, high) {
  const [first, last] = [duration(low), duration(high)];
  const [number, name] = first.split(" ");
  return `${last.endsWith(` ${name}`) ? number : first} to ${last}`;
}
