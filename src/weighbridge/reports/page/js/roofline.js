/**
 * The roofline of a step: what each class of kernels or each layer computes and moves, under what the device could reach.
 */

import { add, descending, paceOf } from "./clock.js";
import { part, svg, table, tenths } from "./elements.js";
import { boundBy } from "./timing.js";
import { count, duration, memory, percent, significant, unit } from "./units.js";

/** @typedef {import("./record.js").Head} Head */
/** @typedef {import("./reading.js").Reading} Reading */
/** @typedef {import("./clock.js").Time} Time */
/** @typedef {import("./clock.js").Limit} Limit */

/**
 * @typedef {object} Piece As `analyses/time/roofline.py` has them.
 * @property {string} name
 * @property {number} kernels
 * @property {number} flops
 * @property {number} traffic_bytes
 * @property {number} ideal its time at the device's peaks
 * @property {number} seconds
 * @property {Map<Limit, number>} bounds
 */

const NARROWEST = 320;
const HEIGHT = 340;
const LEFT = 64;
const RIGHT = 12;
const BOTTOM = 34;
const TOP = 24;

/** Rows of the table below the picture. */
const MOST = 20;

/**
 * The pieces of a step, slowest first; what the host adds is one of them.
 * @param {Head} head @param {Reading} reading @param {Time} time @param {string} by "class" or "layer"
 * @returns {Piece[]}
 */
export function pieces(head, { position }, time, by) {
  /** @type {Map<string, Piece>} */
  const found = new Map();
  time.herd.forEach((herd, launch) => {
    const one = time.ops[launch];
    const ops = typeof one === "number" ? [one] : one;
    if (by === "class") take(found, head.clocks.kinds[time.kernels[herd].sort], time, herd, 0, 1);
    else ops.forEach((op, place) => take(found, head.names[position.ops.scope[op]], time, herd, place, ops.length));
  });
  const host = time.seconds - time.device_s;
  if (host) {
    const { host: name } = head.clocks.roofline;
    found.set(name, { name, kernels: 0, flops: 0, traffic_bytes: 0, ideal: 0, seconds: host, bounds: new Map([["host", host]]) });
  }
  return [...found.values()].sort((one, other) => other.seconds - one.seconds);
}

/**
 * Adds a kernel to a piece, or of one that runs several operators the equal part of the one at `place`.
 * @param {Map<string, Piece>} found @param {string} name @param {Time} time @param {number} herd
 * @param {number} place @param {number} parts
 */
function take(found, name, { kernels, times, clock }, herd, place, parts) {
  const kernel = kernels[herd];
  const { seconds, bound } = times[herd];
  const traffic = kernel.read_bytes + kernel.write_bytes;
  const whole = (/** @type {number} */ value) =>
    Math.floor((value * (place + 1)) / parts) - Math.floor((value * place) / parts);
  let piece = found.get(name);
  if (!piece) {
    piece = { name, kernels: 0, flops: 0, traffic_bytes: 0, ideal: 0, seconds: 0, bounds: new Map() };
    found.set(name, piece);
  }
  piece.kernels += 1;
  piece.flops += whole(kernel.flops);
  piece.traffic_bytes += whole(traffic);
  piece.ideal += Math.max(kernel.flops / paceOf(kernel, clock).peak, traffic / clock.bandwidth) / parts;
  piece.seconds += seconds / parts;
  add(piece.bounds, bound, seconds / parts);
}

export class Roofline {
  /** @param {Head} head @param {(scope: string) => void} chosen */
  constructor(head, chosen) {
    this.head = head;
    this.chosen = chosen;
    /** @type {Reading|null} */
    this.reading = null;
    /** @type {Piece[]} those that are drawn, from low intensity to high */
    this.drawn = [];
    this.width = 1000;
    this.picture = part("roofline");
    this.by = /** @type {HTMLSelectElement} */ (part("roofline-by"));
    this.by.addEventListener("change", () => this.reading && this.draw(this.reading));
    new ResizeObserver(([entry]) => {
      const width = Math.max(Math.round(entry.contentRect.width), NARROWEST);
      if (width === this.width) return;
      this.width = width;
      if (this.reading) this.draw(this.reading);
    }).observe(this.picture);
    for (const kind of ["pointerover", "focusin", "click"]) {
      this.picture.addEventListener(kind, (event) => this.#at(event, kind === "click"));
    }
    this.picture.addEventListener("keydown", (event) => this.#key(event));
  }

  /** @param {Event} event @param {boolean} chosen */
  #at(event, chosen) {
    const dot = /** @type {Element} */ (event.target).closest("g.dot");
    const piece = this.drawn[Number(dot?.getAttribute("data-place") ?? -1)];
    if (!piece || !this.reading) return;
    this.#say(piece, /** @type {Time} */ (this.reading.time));
    if (chosen && this.by.value === "layer") this.chosen(piece.name);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const dot = /** @type {Element} */ (event.target).closest("g.dot");
    if (!dot) return;
    const place = Number(dot.getAttribute("data-place"));
    const last = this.drawn.length - 1;
    const moves = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: last };
    if (event.key === "Enter" || event.key === " ") this.#at(event, true);
    else if (event.key in moves) {
      const to = moves[/** @type {keyof typeof moves} */ (event.key)];
      const next = this.picture.querySelector(`g.dot[data-place="${Math.min(Math.max(to, 0), last)}"]`);
      dot.setAttribute("tabindex", "-1");
      next?.setAttribute("tabindex", "0");
      /** @type {SVGElement|null} */ (next)?.focus({ preventScroll: true });
    } else return;
    event.preventDefault();
  }

  /** @param {Piece} piece @param {Time} time */
  #say(piece, time) {
    part("roofline-readout").textContent = sentence(this.head, this.#name(piece), piece, time);
  }

  /** @param {Piece} piece */
  #name({ name }) {
    return name || this.head.network;
  }

  /** @param {Reading} reading */
  draw(reading) {
    this.reading = reading;
    const { time } = reading;
    const known = time !== null && typeof time !== "string" && time.herd.length > 0;
    part("roofline-part").hidden = !known;
    if (!known) return;
    const { lowest, least } = this.head.clocks.roofline;
    const all = pieces(this.head, reading, time, this.by.value);
    this.drawn = all
      .filter((piece) => intensity(piece) >= lowest && piece.seconds >= least * time.seconds)
      .sort((one, other) => intensity(one) - intensity(other));
    this.#picture(time);
    const rows = all.slice(0, MOST).map((piece) => [this.#name(piece), ...figures(this.head, piece, time)]);
    part("roofline-table").replaceChildren(
      table([this.by.value, "FLOPs", "traffic", "FLOP/B", "reached (FLOP/s)", "of the roof", "time", "share", "bound by"], rows),
    );
    part("roofline-more").textContent = all.length > MOST ? `and ${all.length - MOST} more, which take less` : "";
    const [slowest] = [...this.drawn].sort((one, other) => other.seconds - one.seconds);
    if (slowest) this.#say(slowest, time);
  }

  /** @param {Time} time */
  #picture(time) {
    const { clock, kernels } = time;
    const used = new Set(kernels.map((kernel) => paceOf(kernel, clock).computes).filter(Boolean));
    if (!used.size) used.add("float32");
    /** @type {Map<number, string[]>} */
    const roofs = new Map();
    for (const [dtype, peak] of clock.peaks) {
      if (used.has(dtype)) roofs.set(peak, [...(roofs.get(peak) ?? []), dtype]);
    }
    const heights = [...roofs.keys()];
    const ridges = heights.map((peak) => peak / clock.bandwidth);
    const rates = this.drawn.map((piece) => piece.flops / piece.seconds);
    const across = scale([...this.drawn.map(intensity), ...ridges.map((ridge) => 4 * ridge)], LEFT, this.width - RIGHT);
    const up = scale([...rates, ...heights.map((peak) => 1.6 * peak)], HEIGHT - BOTTOM, TOP);
    const drawn = [...axes(across, up, this.width), ...this.#roofs(roofs, clock.bandwidth, across, up)];
    const labels = new Labels(this.width - RIGHT);
    for (const piece of this.drawn) labels.keep(across.at(intensity(piece)), up.at(piece.flops / piece.seconds), radiusOf(piece, time));
    const dots = this.drawn.map((piece, place) => this.#dot(piece, place, time, across, up, labels));
    this.picture.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.picture.replaceChildren(...drawn, ...dots);
    dots[0]?.setAttribute("tabindex", "0");
  }

  /**
   * The slope of the bandwidth, and each peak from where it meets that.
   * @param {Map<number, string[]>} roofs @param {number} bandwidth @param {Scale} across @param {Scale} up
   */
  #roofs(roofs, bandwidth, across, up) {
    const highest = Math.max(...roofs.keys());
    const begin = Math.max(across.low, up.low / bandwidth);
    const path = `M${across.at(begin)} ${up.at(begin * bandwidth)}L${across.at(highest / bandwidth)} ${up.at(highest)}`;
    const drawn = [svg("path", { class: "roof", d: path })];
    for (const [peak, dtypes] of roofs) {
      const y = up.at(peak);
      const text = `${dtypes.join("/")} ${unit(peak, "FLOP/s")}`;
      drawn.push(svg("path", { class: "roof", d: `M${across.at(peak / bandwidth)} ${y}H${this.width - RIGHT}` }));
      drawn.push(svg("text", { class: "tick", x: this.width - RIGHT, y: y - 5, "text-anchor": "end" }, text));
    }
    const middle = Math.sqrt(begin * (highest / bandwidth));
    const slope = { class: "tick", x: across.at(middle) - 8, y: up.at(middle * bandwidth), "text-anchor": "end" };
    drawn.push(svg("text", slope, unit(bandwidth, "B/s")));
    return drawn;
  }

  /**
   * @param {Piece} piece @param {number} place @param {Time} time @param {Scale} across @param {Scale} up @param {Labels} labels
   */
  #dot(piece, place, time, across, up, labels) {
    const x = across.at(intensity(piece));
    const y = up.at(piece.flops / piece.seconds);
    const radius = radiusOf(piece, time);
    const [[bound]] = descending(piece.bounds);
    const title = sentence(this.head, this.#name(piece), piece, time);
    const label = this.by.value === "class" ? labels.placed(piece.name, x, y, radius) : null;
    return svg(
      "g",
      { class: `dot ${bound}`, role: "button", tabindex: -1, "data-place": place, "aria-label": title },
      svg("title", {}, title),
      svg("circle", { cx: x, cy: y, r: radius }),
      ...(label ? [svg("text", { x: label.x, y: label.y }, piece.name)] : []),
    );
  }
}

/** The larger, the more of the time. @param {Piece} piece @param {Time} time */
function radiusOf(piece, time) {
  return tenths(3 + 12 * Math.sqrt(piece.seconds / time.seconds));
}

/** FLOPs for each byte; 0 of what moves nothing. @param {Piece} piece */
function intensity({ flops, traffic_bytes: traffic }) {
  return traffic ? flops / traffic : 0;
}

/** @param {Head} head @param {Piece} piece @param {Time} time */
function figures(head, piece, time) {
  const { flops, traffic_bytes: traffic, ideal, kernels, seconds, bounds } = piece;
  return [
    count(flops),
    memory(traffic),
    traffic ? significant(intensity(piece)) : "-",
    flops && seconds ? count(flops / seconds) : "-",
    kernels && seconds ? percent(ideal / seconds) : "-",
    seconds ? duration(seconds) : "0",
    percent(seconds / time.seconds),
    boundBy(head, bounds, seconds),
  ];
}

/** @param {Head} head @param {string} name @param {Piece} piece @param {Time} time */
function sentence(head, name, piece, time) {
  const [, traffic, each, , roof, took, share, bound] = figures(head, piece, time);
  return (
    `${name}: ${took}, ${share} of the step; ${unit(piece.flops, "FLOPs")} and ${traffic}, ${each} FLOP/B; ` +
    `reaches ${unit(piece.flops / piece.seconds, "FLOP/s")}, ${roof} of the roof; bound by ${bound}`
  );
}

/** @typedef {{low: number, high: number, at: (value: number) => number}} Scale An axis by powers of ten. */

/** @param {number[]} values @param {number} begin @param {number} end @returns {Scale} */
function scale(values, begin, end) {
  const low = Math.log10(Math.min(...values)) - 0.2;
  const high = Math.log10(Math.max(...values)) + 0.05;
  return {
    low: 10 ** low,
    high: 10 ** high,
    at: (value) => tenths(begin + ((Math.log10(value) - low) / (high - low)) * (end - begin)),
  };
}

/** The powers of ten of both axes. @param {Scale} across @param {Scale} up @param {number} width */
function axes(across, up, width) {
  const drawn = [];
  for (const power of powers(up)) {
    const y = up.at(power);
    drawn.push(svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y, y2: y }));
    drawn.push(svg("text", { class: "tick", x: LEFT - 6, y: y + 4, "text-anchor": "end" }, short(power)));
  }
  for (const power of powers(across)) {
    const x = across.at(power);
    drawn.push(svg("line", { class: "grid", x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }));
    drawn.push(svg("text", { class: "tick", x, y: HEIGHT - BOTTOM + 16, "text-anchor": "middle" }, String(power)));
  }
  drawn.push(svg("text", { class: "tick", x: LEFT - 6, y: 12, "text-anchor": "end" }, "FLOP/s"));
  drawn.push(svg("text", { class: "tick", x: width - RIGHT, y: HEIGHT - 4, "text-anchor": "end" }, "FLOPs a byte"));
  return drawn;
}

/** @param {Scale} axis @returns {number[]} */
function powers({ low, high }) {
  const found = [];
  for (let power = Math.ceil(Math.log10(low)); power <= Math.floor(Math.log10(high)); power += 1) {
    found.push(Number(`1e${power}`));
  }
  return found;
}

/** '100 G'. @param {number} power */
function short(power) {
  const [number, prefix = ""] = count(power).split(" ");
  return `${Number(number)} ${prefix}`.trimEnd();
}

/** Names beside dots, as far as there is room for them. */
class Labels {
  /** @param {number} right */
  constructor(right) {
    this.right = right;
    /** @type {{left: number, right: number, top: number, bottom: number}[]} */
    this.taken = [];
  }

  /** Keeps the place of a dot free. @param {number} x @param {number} y @param {number} radius */
  keep(x, y, radius) {
    this.taken.push({ left: x - radius, right: x + radius, top: y - radius, bottom: y + radius });
  }

  /** @param {string} name @param {number} x @param {number} y @param {number} radius */
  placed(name, x, y, radius) {
    const width = 6.6 * name.length;
    const places = [
      { x: x + radius + 4, y: y + 4 }, { x: x - radius - 4 - width, y: y + 4 },
      { x: x - width / 2, y: y + radius + 14 }, { x: x - width / 2, y: y - radius - 5 },
    ];
    for (const place of places) {
      const box = { left: place.x, right: place.x + width, top: place.y - 11, bottom: place.y + 3 };
      const free = this.taken.every(
        (other) => box.left > other.right || box.right < other.left || box.top > other.bottom || box.bottom < other.top,
      );
      if (!free || box.left < LEFT || box.right > this.right || box.bottom > HEIGHT - BOTTOM) continue;
      this.taken.push(box);
      return { x: tenths(place.x), y: tenths(place.y) };
    }
    return null;
  }
}
