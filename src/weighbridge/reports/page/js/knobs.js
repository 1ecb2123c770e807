/**
 * The knobs: batch, the input's size, training, precision, checkpointing, device.
 */

import { html, part } from "./elements.js";
import { sizeOf } from "./record.js";
import { memory } from "./units.js";

/** @typedef {import("./record.js").Head} Head */
/** @typedef {import("./reading.js").Setting} Setting */

/** The slider's steps for each doubling of the batch, and the largest batch that it reaches. */
const STEPS = 8;
const LARGEST = 16384;

export class Knobs {
  /** @param {Head} head @param {() => void} turned */
  constructor(head, turned) {
    this.head = head;
    this.turned = turned;
    this.batch = /** @type {HTMLInputElement} */ (part("knob-batch"));
    this.slider = /** @type {HTMLInputElement} */ (part("knob-batch-slider"));
    this.size = /** @type {HTMLInputElement} */ (part("knob-size"));
    this.sizeSlider = /** @type {HTMLInputElement} */ (part("knob-size-slider"));
    part("knob-size-name").textContent = head.size?.what ?? "";
    part("knob-size-label").hidden = !head.size;
    this.train = /** @type {HTMLSelectElement} */ (part("knob-train"));
    this.precision = /** @type {HTMLSelectElement} */ (part("knob-precision"));
    this.checkpointing = /** @type {HTMLSelectElement} */ (part("knob-checkpoint"));
    this.device = /** @type {HTMLSelectElement} */ (part("knob-device"));
    const unique = (/** @type {string[]} */ values) => [...new Set(values)];
    fill(this.train, unique(head.positions.map((each) => each.optimizer)), (text) => text || "inference");
    fill(this.precision, unique(head.positions.map((each) => each.precision)), (text) => text);
    fill(this.checkpointing, unique(head.positions.map((each) => each.checkpointing)), (text) => text);
    this.device.append(html("option", { value: "-1" }, "none"));
    head.devices.forEach((device, place) => {
      const size = memory(device.capacity);
      const name = device.name.includes(size) ? device.name : `${device.name} (${size})`;
      this.device.append(html("option", { value: place }, name));
    });
    this.slider.max = String(STEPS * Math.log2(LARGEST));
    this.slider.addEventListener("input", () => {
      this.batch.value = String(Math.max(Math.round(2 ** (Number(this.slider.value) / STEPS)), this.#entry().smallest));
      turned();
    });
    this.batch.addEventListener("input", () => this.batch.checkValidity() && turned());
    this.size.addEventListener("input", () => this.size.checkValidity() && turned());
    this.sizeSlider.addEventListener("input", () => {
      this.size.value = this.sizeSlider.value;
      turned();
    });
    /** @type {"optimizer" | "precision" | "checkpointing"} what was turned last */
    this.last = "optimizer";
    const turning = { optimizer: this.train, precision: this.precision, checkpointing: this.checkpointing };
    for (const name of /** @type {(keyof typeof turning)[]} */ (Object.keys(turning))) {
      turning[name].addEventListener("input", () => {
        this.last = name;
        turned();
      });
    }
    this.device.addEventListener("input", turned);
    part("knob-reset").addEventListener("click", () => {
      this.reset();
      turned();
    });
    this.reset();
  }

  /** Back to what was asked for when the page was made. */
  reset() {
    const [asked] = this.head.positions;
    this.train.value = asked.optimizer;
    this.precision.value = asked.precision;
    this.checkpointing.value = asked.checkpointing;
    this.batch.value = String(this.head.batch);
    this.size.value = String(this.head.size?.own ?? "");
    this.device.value = String(this.head.devices.findIndex((device) => device.key === this.head.device));
  }

  #entry() {
    return this.head.positions[this.#place()];
  }

  /** The position of the knobs; where there is none, the one that has what was turned last, and most of the rest. */
  #place() {
    const wanted = {
      optimizer: this.train.value, precision: this.precision.value, checkpointing: this.checkpointing.value,
    };
    const names = /** @type {(keyof typeof wanted)[]} */ (Object.keys(wanted));
    let best = 0;
    let most = -1;
    this.head.positions.forEach((each, place) => {
      let alike = 0;
      for (const name of names) if (each[name] === wanted[name]) alike += name === this.last ? names.length : 1;
      if (alike > most) [best, most] = [place, alike];
    });
    return best;
  }

  /** @returns {Setting} */
  setting() {
    const entry = this.#place();
    const { smallest, largest, fixed, checkpointing, optimizer, precision } = this.head.positions[entry];
    this.checkpointing.value = checkpointing;
    this.train.value = optimizer;
    this.precision.value = precision;
    this.batch.min = String(smallest);
    this.batch.max = String(largest ?? 2 ** 20);
    this.batch.disabled = this.slider.disabled = fixed !== null;
    const asked = Math.round(Number(this.batch.value)) || smallest;
    const batch = Math.min(Math.max(asked, smallest), largest ?? 2 ** 20);
    if (batch !== Number(this.batch.value)) this.batch.value = String(batch);
    this.slider.value = String(STEPS * Math.log2(batch));
    const notes = this.head.refused.map((text) => `not to be had: ${text}`);
    if (fixed !== null) notes.unshift(`one batch only: ${fixed}`);
    const sizeSteps = this.#sizeSteps(notes);
    part("knob-note").textContent = notes.join("; ");
    return { entry, batch, sizeSteps, device: Number(this.device.value) };
  }

  /** Steps to the nearest size that the position is known at. @param {string[]} notes what is said below the knobs */
  #sizeSteps(notes) {
    const { size } = this.head;
    const { lattice, one_size, fixed } = this.#entry();
    this.size.disabled = this.sizeSlider.disabled = !lattice;
    if (!size) return 0;
    if (!lattice) {
      this.size.value = String(size.own);
      if (fixed === null) notes.unshift(`one ${size.what} only: ${one_size}`);
      return 0;
    }
    const ends = [lattice.least, lattice.most].map((steps) => sizeOf(lattice, steps)).sort((a, b) => a - b);
    for (const field of [this.size, this.sizeSlider]) {
      [field.min, field.max] = ends.map(String);
      field.step = String(Math.abs(lattice.stride));
    }
    const wanted = Math.round((Number(this.size.value) - lattice.own) / lattice.stride) || 0;
    const steps = Math.min(Math.max(wanted, lattice.least), lattice.most);
    const found = String(sizeOf(lattice, steps));
    if (this.size.value !== found) this.size.value = found;
    this.sizeSlider.value = found;
    return steps;
  }
}

/** @param {HTMLSelectElement} select @param {string[]} values @param {(value: string) => string} named */
function fill(select, values, named) {
  select.append(...values.map((value) => html("option", { value }, named(value))));
  select.disabled = values.length < 2;
}
