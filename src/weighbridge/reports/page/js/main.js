/**
 * Puts the page together: the knobs say what is read, and a reading is drawn by every part.
 */

import { Curve } from "./curve.js";
import { part } from "./elements.js";
import { Exports } from "./exports.js";
import { drawFigures, drawPeak, drawVerdict } from "./figures.js";
import { Graph } from "./graph.js";
import { Icicle } from "./icicle.js";
import { Knobs } from "./knobs.js";
import { prepare, read } from "./reading.js";
import { readHead } from "./record.js";
import { pieces, Roofline } from "./roofline.js";
import { LayerTree } from "./tree.js";
import { count, duration, integer, memory, percent, plural } from "./units.js";

/** @typedef {import("./record.js").Head} Head */
/** @typedef {import("./reading.js").Reading} Reading */

const head = readHead();
const choose = (/** @type {string} */ scope) => layers.select(scope, false);
const layers = new LayerTree(head, (scope) => {
  icicle.selected = scope;
  if (layers.root) icicle.draw(layers.root);
  graph.select(scope);
});
const curve = new Curve(head, choose);
const icicle = new Icicle(choose);
const graph = new Graph(head, choose);
const roofline = new Roofline(head, choose);
const exports = new Exports(head);
const knobs = new Knobs(head, () => void turn());

/** The latest turn of a knob: an earlier one that is still unpacking is not drawn. */
let latest = 0;

async function turn() {
  const began = performance.now();
  latest += 1;
  const mine = latest;
  const reading = await read(head, knobs.setting());
  if (mine !== latest) return;
  draw(reading);
  document.documentElement.dataset.turned = String(mine);
  document.documentElement.dataset.milliseconds = (performance.now() - began).toFixed(1);
  prepare(head, reading.setting.entry);
}

/** @param {Reading} reading */
function draw(reading) {
  drawVerdict(head, reading);
  drawFigures(head, reading);
  drawPeak(head, reading);
  const root = layers.draw(reading);
  icicle.draw(root);
  graph.draw(root);
  curve.draw(reading);
  roofline.draw(reading);
  exports.draw(reading);
  drawSetting(reading);
}

/** What was weighed, and how much of it was counted. @param {Reading} reading */
function drawSetting(reading) {
  const { compute, workload } = reading.contract;
  const given = workload.inputs
    .filter((/** @type {any} */ input) => input.name !== "targets")
    .map((/** @type {any} */ input) => `${input.name ?? "input"} ${input.shape.join(" x ") || "scalar"} ${input.dtype}`);
  const { optimizer, precision, checkpointing } = head.positions[reading.setting.entry];
  const step = [workload.mode, optimizer, precision, checkpointing === "none" ? "" : `${checkpointing} checkpointed`];
  part("origin").textContent = `${head.origin} · ${given.join(", ")} · ${step.filter(Boolean).join(", ")}`;
  part("coverage").textContent =
    `${integer(compute.counted)} of ${plural(compute.operators, "operator")} counted · ` +
    `${head.convention_text} · ${given.join(", ")}`;
}

document.documentElement.classList.add("live");
/** What tests ask the page for. */
const asked = {
  text: (/** @type {string} */ form) => exports.text(form),
  pieces: (/** @type {string} */ by) => {
    const { reading } = roofline;
    return reading && typeof reading.time === "object" && reading.time && pieces(head, reading, reading.time, by);
  },
  count, duration, memory, percent,
};
Object.assign(window, { weighbridge: asked });
await turn();
performance.mark("ready");
