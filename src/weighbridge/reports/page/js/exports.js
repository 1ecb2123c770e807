/**
 * Export: the figures at the knobs' setting as JSON, the layers as CSV, Markdown or LaTeX, and the command for them.
 */

import { part } from "./elements.js";
import { sizeOf } from "./record.js";
import { copy, save } from "./saving.js";
import { significant } from "./units.js";

/** @typedef {import("./record.js").Head} Head */
/** @typedef {import("./reading.js").Reading} Reading */

const HEADINGS = ["layer", "kind", "output", "params"];

/** What a column of time is called, and how seconds stand in it: in full as data, in three digits to be read. */
const DATA = { heading: "time (s)", written: (/** @type {number} */ seconds) => String(seconds) };
const READ = { heading: "time (ms)", written: (/** @type {number} */ seconds) => significant(1000 * seconds) };

/**
 * The layers, each with what it does itself; their time where it is known.
 * @param {Head} head @param {Reading} reading @param {typeof DATA} time @returns {string[][]}
 */
function rows(head, reading, time) {
  const { layers, network, devices } = reading.contract;
  const seconds = devices?.[0].time?.by_layer;
  const lines = layers
    .filter((/** @type {any} */ layer) => layer.scope || layer.params || layer.operators)
    .map((/** @type {any} */ layer) => [
      layer.scope || network.name,
      layer.kind,
      layer.outputs.map((/** @type {number[]} */ shape) => shape.join("x")).join(" "),
      String(layer.params),
      String(layer.forward.operations),
      String(layer.backward.operations),
      ...(seconds ? [time.written(seconds[layer.scope] ?? 0)] : []),
    ]);
  return [[...HEADINGS, head.unit, `backward ${head.unit}`, ...(seconds ? [time.heading] : [])], ...lines];
}

/** @param {string} text */
function csvCell(text) {
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** @param {string} text */
function latexCell(text) {
  return text.replace(/[&%$#_{}]/g, "\\$&").replaceAll("~", "\\textasciitilde{}").replaceAll("^", "\\textasciicircum{}");
}

/** @type {Record<string, (head: Head, reading: Reading) => string>} */
const FORMS = {
  json: (_head, reading) => `${JSON.stringify(reading.contract, null, 2)}\n`,
  csv: (head, reading) => `${rows(head, reading, DATA).map((row) => row.map(csvCell).join(",")).join("\n")}\n`,
  md: (head, reading) => {
    const [headings, ...lines] = rows(head, reading, READ);
    const rule = headings.map((_, place) => (place < 3 ? "---" : "---:"));
    const cells = [headings, rule, ...lines.map((row) => row.map((text) => text.replaceAll("|", "\\|")))];
    return `${cells.map((row) => `| ${row.join(" | ")} |`).join("\n")}\n`;
  },
  tex: (head, reading) => {
    const cells = rows(head, reading, READ);
    const [headings, ...lines] = cells.map((row) => row.map(latexCell).join(" & "));
    const places = "lll".padEnd(cells[0].length, "r");
    return `\\begin{tabular}{${places}}\n\\hline\n${headings} \\\\\n\\hline\n${lines.join(" \\\\\n")} \\\\\n\\hline\n\\end{tabular}\n`;
  },
};

/** The command that prints the same figures. @param {Head} head @param {Reading} reading @returns {string} */
export function command(head, reading) {
  const { setting, device } = reading;
  const { network, inputs, inputs_given, rest } = head.command;
  const { lattice, options } = head.positions[setting.entry];
  const parts = ["weigh", network, `--batch ${setting.batch}`, options, rest];
  const size = lattice ? sizeOf(lattice, setting.sizeSteps) : head.size?.own;
  if (inputs_given || setting.sizeSteps) parts.splice(2, 0, inputs.join(String(size)));
  if (device && device.key) parts.push(`--on ${device.key}`);
  return parts.filter(Boolean).join(" ");
}

export class Exports {
  /** @param {Head} head */
  constructor(head) {
    /** @type {Reading|null} */
    this.reading = null;
    this.head = head;
    for (const form of Object.keys(FORMS)) {
      part(`export-${form}`).addEventListener("click", () => this.#save(form));
    }
    part("command-copy").addEventListener("click", () => void copy(part("command"), part("command-copied")));
  }

  /** The figures in one of the forms. @param {string} form @returns {string} */
  text(form) {
    return this.reading ? FORMS[form](this.head, this.reading) : "";
  }

  /** @param {string} form */
  #save(form) {
    save(`${this.head.network}.${form}`, this.text(form));
  }

  /** @param {Reading} reading */
  draw(reading) {
    this.reading = reading;
    part("command").textContent = command(this.head, reading);
    part("command-copied").textContent = "";
  }
}
