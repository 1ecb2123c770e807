/**
 * The first screen: the verdict on the device, and the figures that most people came for.
 */

import { html, part, table } from "./elements.js";
import { command } from "./exports.js";
import { asAsked } from "./record.js";
import { boundBy, grounds, rate, sentence, untold } from "./timing.js";
import { count, duration, durations, integer, memory, percent, unit } from "./units.js";

/** @typedef {import("./record.js").Head} Head */
/** @typedef {import("./reading.js").Reading} Reading */

/** @param {import("./resident.js").Interval} size */
export function between(size) {
  return `~${memory(size.expected)}, between ${memory(size.low)} and ${memory(size.high)}`;
}

/** @param {Head} head @param {Reading} reading */
export function drawVerdict(head, reading) {
  const line = part("verdict");
  const { device, resident, largest } = reading;
  if (!device || !resident) {
    delete line.dataset.answer;
    const peak = html("strong", {}, `peak ${memory(reading.contract.memory.peak_bytes ?? 0)} of tensors`);
    const asked = head.said.length && untouched(head, reading);
    const hint = head.devices.length
      ? " over a step; choose a device to see whether it fits"
      : " over a step; whether it fits with these settings of the allocator, the command below tells";
    line.replaceChildren(...(asked ? [html("strong", {}, head.said[0])] : [peak, hint]));
    part("verdict-below").replaceChildren(...(asked ? head.said.slice(1) : []).map((text) => html("p", {}, text)));
    return;
  }
  const size = memory(device.capacity);
  const name = device.name.includes(size) ? device.name : `${device.name} (${size})`;
  line.dataset.answer = resident.answer;
  const most = largest === null ? "" : largest < 1 ? "; no batch fits" : `; largest batch ${integer(largest)}`;
  line.replaceChildren(html("strong", {}, `${resident.answer} ${name}`), ` peak ${between(resident.total)}${most}`);
  part("verdict-below").replaceChildren(...below(head, reading).map((text) => html("p", {}, text)));
}

/** @param {Head} head @param {Reading} reading @returns {string[]} */
function below(head, reading) {
  const { device, resident, time } = reading;
  if (!device || !resident) return [];
  const lines = timeLine(head, reading);
  if (device.cached) {
    const unused = resident.reserved.expected ? 1 - resident.allocated.expected / resident.reserved.expected : 0;
    lines.push(
      `max_memory_allocated ~${memory(resident.allocated.expected)}, max_memory_reserved ` +
        `~${memory(resident.reserved.expected)} (${percent(unused)} of it in gaps and cache), nvidia-smi ` +
        `~${memory(resident.total.expected)} with a context of ~${memory(resident.outside.expected)}`,
    );
  } else {
    lines.push(
      `tensors ${memory(resident.allocated.expected)}, the process beside them ~${memory(resident.outside.expected)}`,
    );
  }
  if (resident.retries && resident.answer === "fits") {
    lines.push("fits only as cached memory is given back, for which the allocator waits: it will be slower");
  }
  if (resident.message && resident.answer === "does not fit") lines.push(`PyTorch would say: ${resident.message}`);
  lines.push(`basis: ${device.basis}`);
  if (time && typeof time !== "string") lines.push(`basis of the time: ${grounds(head, time, device)}`);
  if (resident.answer !== "fits") {
    const asks = `what would make it fit: ${command(head, reading).replace("weigh ", "weigh fit ")}`;
    lines.push(head.advice && untouched(head, reading) ? head.advice : asks);
  }
  return lines;
}

/** How long a step takes. @param {Head} head @param {Reading} reading @returns {string[]} */
function timeLine(head, reading) {
  const { device, time, contract } = reading;
  if (!device) return [];
  return [time === null ? `no time of a step: ${untold(device)}` : sentence(head, time, device, contract.workload)];
}

/** Whether all the knobs stand as when the page was made. @param {Head} head @param {Reading} reading */
function untouched(head, { setting, device }) {
  return asAsked(head, setting) && (device?.key ?? null) === head.device;
}

/** @param {Head} head @param {Reading} reading */
export function drawFigures(head, reading) {
  const { contract } = reading;
  const { parameters, compute } = contract;
  const { batch } = reading.setting;
  const training = contract.workload.mode === "training";
  const cards = [
    card("parameters", integer(parameters.total), `${memory(parameters.bytes)} ${contract.workload.dtype}`),
    operations("forward", compute.forward, head, batch),
  ];
  if (training) {
    cards.push(operations("backward", compute.backward, head, 0));
    cards.push(
      card("update", count(compute.update.multiplications + compute.update.additions + compute.update.other),
        "operations: arithmetic of the optimizer"),
    );
  }
  cards.push(peakCard(reading), ...timeCard(head, reading));
  part("figures").replaceChildren(...cards);
}

/** @param {Reading} reading */
function peakCard(reading) {
  const { contract } = reading;
  const peak = contract.memory.peak_bytes ?? 0;
  const step = contract.memory[reading.steps.higher.round === "first" ? "first_step" : "later_steps"];
  const where = step ? `in ${step.scope || contract.network.name}, ${step.phase}` : "no operator ran";
  return card("peak of tensors", memory(peak), where);
}

/** What a step takes. @param {Head} head @param {Reading} reading */
function timeCard(head, { time, setting, device }) {
  if (time === null) return device ? [card("a step", "?", untold(device))] : [];
  if (typeof time === "string") return [card("a step", "?", time)];
  const note = [durations(time.low, time.high), rate(time, setting.batch), `bound by ${boundBy(head, time.byBound, time.seconds)}`];
  return [card("a step", `~${duration(time.seconds)}`, note.join(" · "))];
}

/**
 * @param {string} phase
 * @param {any} cost
 * @param {Head} head
 * @param {number} batch samples to divide by for the figure of one; 0 for none
 */
function operations(phase, cost, head, batch) {
  const each = batch > 1 ? ` · ${unit(Math.floor(cost.macs / batch), "MACs")} a sample` : "";
  if (head.convention !== "macs") {
    return card(phase, unit(cost.operations, head.unit), `${unit(cost.macs, "MACs")}${each}`);
  }
  return card(phase, unit(cost.macs, "MACs"), `= ${unit(cost.flops, "FLOPs")} (1 MAC = 2 FLOPs)${each}`);
}

/** @param {string} name @param {string} value @param {string} note */
function card(name, value, note) {
  return html("div", { class: "figure" }, html("dt", {}, name), html("dd", {}, html("b", {}, value), html("span", {}, note)));
}

/** What is alive at the peak: by category, by module, the largest tensors. @param {Head} head @param {Reading} reading */
export function drawPeak(head, reading) {
  const { position, steps, alive } = reading;
  const { higher, bytes } = steps;
  const total = higher.allocated[higher.peak] ?? 0;
  if (!alive.length) return;
  const kinds = head.categories
    .map((name, kind) => ({ name, size: higher.categories[kind][higher.peak] }))
    .filter((each) => each.size)
    .map(({ name, size }) => [head.category_names[name], memory(size), percent(size / total)]);
  const largest = alive.slice(0, 10).map((place) => {
    const scope = head.names[position.lives.scope[place]];
    const maker = head.names[position.lives.maker[place]];
    const name = scope && !maker.startsWith(scope) ? `${scope}: ${maker}` : maker;
    return [name, memory(bytes[place]), head.category_names[head.categories[position.lives.category[place]]]];
  });
  part("peak-categories").replaceChildren(table(["at the peak", "bytes", "share"], kinds));
  part("peak-tensors").replaceChildren(table(["largest tensors there", "bytes", "for"], largest));
}
