/**
 * The layer tree: folds by module, sorts by a column, searches, and shows one layer in detail.
 */

import { descending } from "./clock.js";
import { html, part } from "./elements.js";
import { depth, figure, MEASURES, parentOf, tree, walk } from "./modules.js";
import { at } from "./record.js";
import { boundBy } from "./timing.js";
import { duration, integer, memory, percent, plural, shape, unit, wholePercent } from "./units.js";

/** @typedef {import("./record.js").Head} Head */
/** @typedef {import("./reading.js").Reading} Reading */
/** @typedef {import("./modules.js").Node} Node */
/** @typedef {import("./modules.js").Measure} Measure */

/** Rows that a screen takes: as many levels are open at first as fit. */
const FITS = 24;

/** Rows above which a search or an unfolding shows the first of them and says how many more there are. */
const MOST = 2000;

export class LayerTree {
  /** @param {Head} head @param {(scope: string) => void} chosen */
  constructor(head, chosen) {
    this.head = head;
    this.chosen = chosen;
    /** @type {Set<string>} */
    this.open = new Set();
    /** @type {Measure | "name" | ""} '' is the order in which modules are declared */
    this.sorted = "";
    this.descending = true;
    this.search = "";
    /** @type {string} */
    this.selected = "";
    /** @type {Node|null} */
    this.root = null;
    /** @type {Reading|null} */
    this.reading = null;
    this.body = part("layers-body");
    this.#listen();
  }

  #listen() {
    part("layers-search").addEventListener("input", (event) => {
      this.search = /** @type {HTMLInputElement} */ (event.target).value.trim().toLowerCase();
      this.#rows();
    });
    part("layers-unfold").addEventListener("click", () => {
      if (this.root) for (const each of walk(this.root)) this.open.add(each.scope);
      this.#rows();
    });
    part("layers-fold").addEventListener("click", () => {
      this.open = new Set([""]);
      this.#rows();
    });
    for (const button of part("layers-table").querySelectorAll("thead button")) {
      button.addEventListener("click", () => this.#sort(/** @type {HTMLElement} */ (button)));
    }
    this.body.addEventListener("click", (event) => {
      const target = /** @type {HTMLElement} */ (event.target);
      const row = target.closest("tr");
      if (!row) return;
      const scope = row.dataset.scope ?? "";
      if (target.closest("button.fold")) this.#toggle(scope);
      else this.select(scope);
    });
    this.body.addEventListener("keydown", (event) => this.#key(event));
  }

  /** @param {HTMLElement} button */
  #sort(button) {
    const column = /** @type {Measure | "name" | ""} */ (button.dataset.column ?? "");
    if (this.sorted !== column) {
      this.sorted = column;
      this.descending = column !== "name";
    } else if (this.descending === (column !== "name")) this.descending = !this.descending;
    else this.sorted = "";
    for (const heading of part("layers-table").querySelectorAll("thead th")) {
      const mine = heading.querySelector("button")?.dataset.column === this.sorted && this.sorted;
      heading.setAttribute("aria-sort", mine ? (this.descending ? "descending" : "ascending") : "none");
    }
    this.#rows();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const row = /** @type {HTMLElement} */ (event.target).closest("tr");
    if (!row || event.altKey || event.ctrlKey || event.metaKey) return;
    const scope = row.dataset.scope ?? "";
    const folds = row.getAttribute("aria-expanded");
    const rows = /** @type {HTMLElement[]} */ ([...this.body.querySelectorAll("tr")]);
    const place = rows.indexOf(row);
    const moves = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: rows.length - 1 };
    if (event.key in moves) {
      this.#focus(rows[moves[/** @type {keyof typeof moves} */ (event.key)]]);
    } else if (event.key === "ArrowRight") {
      if (folds === "false") this.#toggle(scope);
      else if (folds === "true") this.#focus(rows[place + 1]);
    } else if (event.key === "ArrowLeft") {
      if (folds === "true") this.#toggle(scope);
      else this.#focus(rows.find((each) => each.dataset.scope === parentOf(scope)));
    } else if (event.key === "Enter" || event.key === " ") {
      this.select(scope);
    } else return;
    event.preventDefault();
  }

  /** @param {HTMLElement|undefined} row */
  #focus(row) {
    if (!row) return;
    for (const each of this.body.querySelectorAll("tr[tabindex='0']")) each.setAttribute("tabindex", "-1");
    row.setAttribute("tabindex", "0");
    row.focus();
  }

  /** @param {string} scope */
  #toggle(scope) {
    if (!this.open.delete(scope)) this.open.add(scope);
    this.#rows();
    this.#focus(this.#row(scope));
  }

  /** @param {string} scope @returns {HTMLElement|undefined} */
  #row(scope) {
    return /** @type {HTMLElement[]} */ ([...this.body.querySelectorAll("tr")]).find((row) => row.dataset.scope === scope);
  }

  /**
   * Shows a layer in detail, and its row; another part of the page that chose it keeps the focus.
   * @param {string} scope @param {boolean} focus
   */
  select(scope, focus = true) {
    for (let above = parentOf(scope); scope && above !== null; above = parentOf(above)) this.open.add(above);
    this.selected = scope;
    this.#rows();
    this.#detail();
    if (focus) this.#focus(this.#row(scope));
    this.chosen(scope);
  }

  /** @param {Reading} reading */
  draw(reading) {
    this.reading = reading;
    this.root = tree(this.head, reading);
    part("layers-table").classList.toggle("untimed", !this.root.all.time);
    part("layers-table").classList.toggle("forward", !this.root.all.backward);
    if (!this.open.size) this.#unfoldWhatFits(this.root);
    this.#rows();
    this.#detail();
    return this.root;
  }

  /** @param {Node} root */
  #unfoldWhatFits(root) {
    this.open.add("");
    for (let level = 1; ; level += 1) {
      const shown = [...walk(root)].filter((each) => depth(each.scope) <= level + 1).length;
      const deeper = [...walk(root)].filter((each) => depth(each.scope) === level && each.children.length);
      if (shown > FITS || !deeper.length) return;
      for (const each of deeper) this.open.add(each.scope);
    }
  }

  /** @returns {Node[]} the nodes that have a row now, in order */
  #shown() {
    if (!this.root) return [];
    /** @type {Set<string>|null} */
    let wanted = null;
    if (this.search) {
      wanted = new Set();
      for (const each of walk(this.root)) {
        const kind = each.layer?.kind ?? "";
        if (!`${each.scope} ${kind}`.toLowerCase().includes(this.search)) continue;
        for (let above = /** @type {string|null} */ (each.scope); above !== null; above = parentOf(above)) wanted.add(above);
      }
    }
    /** @type {Node[]} */
    const found = [];
    /** @param {Node} each */
    const add = (each) => {
      if (wanted && !wanted.has(each.scope)) return;
      found.push(each);
      if (wanted || this.open.has(each.scope)) for (const child of this.#ordered(each.children)) add(child);
    };
    add(this.root);
    return found;
  }

  /** @param {Node[]} children @returns {Node[]} */
  #ordered(children) {
    const column = this.sorted;
    if (!column) return children;
    const sign = this.descending ? -1 : 1;
    const order = (/** @type {Node} */ a, /** @type {Node} */ b) =>
      column === "name" ? a.name.localeCompare(b.name, "en", { numeric: true }) : a.all[column] - b.all[column];
    return [...children].sort((a, b) => sign * order(a, b));
  }

  #rows() {
    if (!this.root) return;
    const nodes = this.#shown();
    const focused = /** @type {HTMLElement|null} */ (document.activeElement?.closest("#layers-body tr"))?.dataset.scope;
    const whole = this.root.all;
    const rows = nodes.slice(0, MOST).map((each) => this.#made(each, whole));
    const reached = rows.find((row) => row.dataset.scope === (focused ?? this.selected)) ?? rows[0];
    reached?.setAttribute("tabindex", "0");
    this.body.replaceChildren(...rows);
    if (focused !== undefined) reached?.focus({ preventScroll: true });
    const more = nodes.length - MOST;
    part("layers-more").textContent = more > 0 ? `and ${integer(more)} more` : "";
  }

  /** @param {Node} each @param {Node["all"]} whole @returns {HTMLElement} */
  #made(each, whole) {
    const level = depth(each.scope);
    const folds = each.children.length > 0;
    const isOpen = this.search !== "" || this.open.has(each.scope);
    const fold = html("button", { class: "fold", tabindex: -1, type: "button", "aria-hidden": "true" }, isOpen ? "▾" : "▸");
    const name = html("th", { scope: "row" }, ...(folds ? [fold] : []), html("span", {}, each.name));
    name.style.paddingInlineStart = `${level + (folds ? 0.2 : 1.3)}em`;
    const row = html(
      "tr",
      { "aria-level": level + 1, tabindex: -1, "aria-selected": String(each.scope === this.selected) },
      name,
      html("td", { class: "text kind" }, each.layer?.kind ?? ""),
      html("td", { class: "text wide" }, each.layer?.outputs.map(shape).join(", ") ?? ""),
      ...MEASURES.map((measure) => cell(each, measure, whole)),
      html("td", { class: "text time bound" }, boundBy(this.head, each.bounds, each.all.time)),
    );
    row.dataset.scope = each.scope;
    if (folds) row.setAttribute("aria-expanded", String(isOpen));
    return row;
  }

  /** The panel of the selected layer. */
  #detail() {
    const { reading, root, head } = this;
    if (!reading || !root) return;
    const each = [...walk(root)].find((one) => one.scope === this.selected) ?? root;
    const { layer } = each;
    part("layer-name").textContent = each.scope || each.name;
    const rows = [];
    if (layer) {
      rows.push(["class", `${layer.kind}${head.details[each.scope] ? `(${head.details[each.scope]})` : ""}`]);
      const leaf = !each.children.length;
      if (leaf && layer.inputs.length) rows.push(["in", layer.inputs.map(shape).join(", ")]);
      if (each.scope && layer.outputs.length) rows.push(["out", layer.outputs.map(shape).join(", ")]);
    }
    rows.push(["parameters", share(each.all.params, root.all.params, integer(each.all.params))]);
    rows.push(["forward", share(each.all.operations, root.all.operations, unit(each.all.operations, head.unit))]);
    if (root.all.backward) {
      rows.push(["backward", share(each.all.backward, root.all.backward, unit(each.all.backward, head.unit))]);
    }
    rows.push(["saves for backward", savedText(head, reading, each.scope)]);
    rows.push(["at the peak", share(each.all.memory, root.all.memory, memory(each.all.memory))]);
    if (root.all.time) {
      rows.push(["takes", share(each.all.time, root.all.time, each.all.time ? `~${duration(each.all.time)}` : "no time")]);
      if (each.all.time) rows.push(["bound by", boundsText(head, each)]);
    }
    if (layer && !each.children.length) {
      const { forward } = layer;
      rows.push(["forward moves", `${memory(forward.read_bytes)} read, ${memory(forward.write_bytes)} written`]);
      rows.push(["operators", each.uncounted ? `${each.operators}, ${each.uncounted} of them not counted` : `${each.operators}`]);
    }
    part("layer-facts").replaceChildren(...rows.flatMap(([term, text]) => [html("dt", {}, term), html("dd", {}, text)]));
    part("layer-formulas").replaceChildren(...this.#formulas(each.scope, reading.setting));
  }

  /** @param {string} scope @param {import("./record.js").Point} point @returns {HTMLElement[]} */
  #formulas(scope, point) {
    const found = this.head.formulas[scope];
    if (!found) return [];
    const lines = found.lines.map(({ times, text, value, names, sizes }) => {
      const numbers = at(sizes, point);
      const filledIn = names.map((name, place) => `${name} = ${numbers[place]}`).join(", ");
      const result = `${text} = ${integer(at(value, point)[0])} ${this.head.unit}`;
      return html("p", {}, html("code", {}, times > 1 ? `${times} × (${result})` : result), html("small", {}, filledIn));
    });
    if (found.rest) lines.push(html("p", {}, `and ${found.rest} more operators`));
    return lines;
  }
}

/** @param {Node} each @param {Measure} measure @param {Node["all"]} whole @returns {HTMLElement} */
function cell(each, measure, whole) {
  const value = each.all[measure];
  const part = whole[measure] ? value / whole[measure] : 0;
  const bar = html("span", { class: "bar", "aria-hidden": "true" });
  bar.style.width = `${(100 * part).toFixed(2)}%`;
  const made = html("td", { class: measure, title: percent(part) }, bar, html("span", {}, figure(measure, value)));
  return made;
}

/** @param {number} value @param {number} whole @param {string} text */
function share(value, whole, text) {
  return whole ? `${text}, ${percent(value / whole)}` : text;
}

/** What a layer's time goes to, most first: 'memory 72 %, arithmetic 28 %'. @param {Head} head @param {Node} each */
function boundsText(head, { bounds, all }) {
  return [...descending(bounds)]
    .filter(([, seconds]) => seconds)
    .map(([limit, seconds]) => `${head.clocks.short_limits[limit]} ${wholePercent(seconds / all.time)}`)
    .join(", ");
}

/** @param {Head} head @param {Reading} reading @param {string} scope @returns {string} */
function savedText(head, reading, scope) {
  const { position, steps } = reading;
  const saved = head.categories.indexOf("saved_activation");
  let total = 0;
  let tensors = 0;
  position.lives.category.forEach((kind, place) => {
    const where = head.names[position.lives.scope[place]];
    if (kind !== saved || !(scope === "" || where === scope || where.startsWith(`${scope}.`))) return;
    total += steps.bytes[place];
    tensors += 1;
  });
  return tensors ? `${memory(total)} in ${plural(tensors, "tensor")}` : "nothing";
}
