/**
 * The graph: what reads what, from the input down, at the level of modules, each of which opens to those that it calls and
 * to its operators.
 */

import { part, svg } from "./elements.js";
import { layered } from "./layered.js";
import { walk } from "./modules.js";
import { percent, plural, unit } from "./units.js";

/** @typedef {import("./record.js").Head} Head */
/** @typedef {import("./modules.js").Node} Node */
/** @typedef {import("./layered.js").Layout} Layout */

/** @typedef {[scope: number, last: number, begin: number, end: number, copies: number, inside: Part[]]} Call */
/** @typedef {Call | number} Part a call, or an operator's place */

/**
 * @typedef {object} Drawn what is drawn of a part
 * @property {string} key of the part: what is open is known by it
 * @property {string} scope
 * @property {string} name
 * @property {string} kind
 * @property {number} copies
 * @property {number} modules how many modules the copies are calls of
 * @property {number} begin
 * @property {number} end
 * @property {Part[]} inside
 * @property {Level|null} level what is inside, where it is open
 * @property {number} width
 * @property {number} height
 * @property {number} [enter] where lines enter and leave, right of its middle
 * @property {number} [leave]
 *
 * @typedef {object} Level
 * @property {Drawn[]} parts
 * @property {Layout} layout of the way in, the parts, and the way out
 */

const LETTER = 7;
const HEIGHT = 40;
const OPERATOR = 24;
const HEAD = 24;
const MARGIN = 12;
const BAR = 4;

/** Parts that are shown at first, at most. */
const FITS = 24;

/** Parts of a level above which it is not drawn. */
const MOST = 400;

/** What leads in, and what leads out, are drawn as points. */
const END = { width: 1, height: 1 };

export class Graph {
  /** @param {Head} head @param {(scope: string) => void} chosen */
  constructor(head, chosen) {
    this.head = head;
    this.chosen = chosen;
    /** @type {Node|null} */
    this.root = null;
    this.selected = "";
    /** The key of the part that has, or gets, the keyboard. */
    this.focused = "";
    /** @type {Set<string>} */
    this.open = new Set();
    /** @type {number[][]} who reads what an operator made */
    this.readers = head.graph.reads.map(() => []);
    head.graph.reads.forEach((reads, reader) => {
      for (const read of reads) this.readers[read]?.push(reader);
    });
    this.picture = part("graph");
    this.#openWhatFits();
    part("graph-more").addEventListener("click", () => this.#openALevel());
    part("graph-fold").addEventListener("click", () => {
      this.open.clear();
      this.#draw();
    });
    this.picture.addEventListener("click", (event) => this.#click(/** @type {Element} */ (event.target)));
    this.picture.addEventListener("keydown", (event) => this.#key(event));
  }

  /** @param {Node} root */
  draw(root) {
    const first = this.root === null;
    this.root = root;
    if (first) this.#draw();
    else this.#bars();
  }

  /** Marks the parts of a scope. @param {string} scope */
  select(scope) {
    this.selected = scope;
    for (const box of this.picture.querySelectorAll("g.part")) {
      box.classList.toggle("selected", scope !== "" && box.getAttribute("data-scope") === scope);
    }
  }

  /** @param {Part} each @param {string} above the scope around it @returns {Drawn} */
  #part(each, above) {
    const { names, graph } = this.head;
    if (typeof each === "number") {
      const kind = names[graph.kinds[each]];
      const width = kind.length * LETTER + 20;
      return {
        key: String(each), scope: names[graph.scopes[each]], name: kind, kind: "", copies: 1, modules: 1, begin: each,
        end: each + 1, inside: [], level: null, width, height: OPERATOR,
      };
    }
    const [place, lastPlace, begin, end, copies, inside] = each;
    const scope = names[place];
    const last = names[lastPlace];
    const name = scope.slice(above ? above.length + 1 : 0);
    const until = last === scope ? "" : ` … ${last.slice(last.lastIndexOf(".") + 1)}`;
    const kind = names[graph.classes[String(place)]] ?? "";
    const title = `${name}${until}${copies > 1 ? ` ×${copies}` : ""}`;
    /** @type {Drawn} */
    const found = {
      key: `${place} ${begin}`, scope, name: title, kind, copies, modules: last === scope ? 1 : copies, begin, end,
      inside: inside.length > 1 || typeof inside[0] === "object" ? inside : [],
      level: null, width: Math.max(title.length, kind.length) * LETTER + 32, height: HEIGHT,
    };
    if (this.open.has(found.key) && found.inside.length && found.inside.length <= MOST) {
      const level = this.#level(found.inside, scope, begin, begin + (end - begin) / copies);
      found.level = level;
      found.width = Math.max(level.layout.width + 2 * MARGIN, found.width);
      found.height = level.layout.height + HEAD + MARGIN;
      const { boxes, width } = level.layout;
      found.enter = boxes[0].x - width / 2;
      found.leave = boxes[boxes.length - 1].x - width / 2;
    }
    return found;
  }

  /**
   * What stands between two places of operators, and what leads in and out.
   * @param {Part[]} inside @param {string} scope @param {number} begin @param {number} end
   * @returns {Level}
   */
  #level(inside, scope, begin, end) {
    const parts = inside.map((each) => this.#part(each, scope));
    const out = parts.length + 1;
    const boxOf = new Map();
    parts.forEach((each, index) => {
      for (let place = each.begin; place < each.end; place += 1) boxOf.set(place, index + 1);
    });
    const seen = new Set();
    /** @type {[number, number][]} */
    const edges = [];
    const add = (/** @type {number} */ from, /** @type {number} */ to) => {
      if (from === to || seen.has(from * (out + 1) + to)) return;
      seen.add(from * (out + 1) + to);
      edges.push([from, to]);
    };
    const { reads } = this.head.graph;
    for (let place = begin; place < end; place += 1) {
      const box = boxOf.get(place);
      for (const read of reads[place]) add(boxOf.get(read) ?? 0, box);
      const readers = this.readers[place];
      if (readers.some((reader) => reader >= end) || (!readers.length && end === reads.length)) add(box, out);
    }
    return { parts, layout: layered([END, ...parts, END], edges) };
  }

  #whole() {
    const { inside, reads } = this.head.graph;
    return inside.length <= MOST ? this.#level(inside, "", 0, reads.length) : null;
  }

  #draw() {
    const whole = this.#whole();
    part("graph-note").textContent = whole ? "" : `${plural(this.head.graph.inside.length, "part")} at one level are too many to draw`;
    if (!whole) return;
    const { width, height } = whole.layout;
    const shapes = this.#shapes(whole, 0, HEAD);
    const [input, output] = [whole.layout.boxes[0].x, whole.layout.boxes[whole.parts.length + 1].x];
    const edge = Math.max(60 - Math.min(input, output), 0);
    const full = Math.max(width, input + 60, output + 60) + edge + 2;
    this.picture.setAttribute("viewBox", `${-edge} 0 ${full.toFixed(0)} ${(height + 2 * HEAD).toFixed(0)}`);
    this.picture.setAttribute("width", full.toFixed(0));
    this.picture.setAttribute("height", (height + 2 * HEAD).toFixed(0));
    this.picture.replaceChildren(
      svg("text", { class: "end", x: input.toFixed(1), y: HEAD - 8, "text-anchor": "middle" }, "input"),
      ...shapes,
      svg("text", { class: "end", x: output.toFixed(1), y: (height + 2 * HEAD - 6).toFixed(1), "text-anchor": "middle" }, "output"),
    );
    this.#bars();
    this.select(this.selected);
    const boxes = this.#boxes();
    const focused = boxes.find((box) => box.getAttribute("data-key") === this.focused) ?? boxes[0];
    focused?.setAttribute("tabindex", "0");
  }

  /** @param {Level} level @param {number} left @param {number} top @returns {SVGElement[]} */
  #shapes(level, left, top) {
    const at = { transform: `translate(${left.toFixed(1)} ${top.toFixed(1)})` };
    const lines = level.layout.lines.map((d) => svg("path", { class: "edge", d }));
    const boxes = level.parts.map((each, index) => {
      const { x, y } = level.layout.boxes[index + 1];
      return this.#box(each, x - each.width / 2, y);
    });
    return [svg("g", at, ...lines, ...boxes)];
  }

  /** @param {Drawn} each @param {number} x @param {number} y */
  #box(each, x, y) {
    const folds = each.inside.length > 0;
    const operator = each.height === OPERATOR;
    const attributes = {
      class: `part${each.level ? " open" : ""}${operator ? " operator" : ""}`,
      "data-key": each.key, "data-scope": each.scope, role: "button", tabindex: -1,
      transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`, "aria-label": this.#said(each),
    };
    const { width, height } = each;
    const inner = [
      svg("title", {}, this.#said(each)),
      svg("rect", { class: "box", width: width.toFixed(1), height: height.toFixed(1), rx: operator ? height / 2 : 4 }),
      svg("text", { x: operator || !folds ? (width / 2).toFixed(1) : 20, y: 16, "text-anchor": operator || !folds ? "middle" : "start" }, each.name),
    ];
    if (folds) inner.push(svg("text", { class: "fold", x: 7, y: 16 }, each.level ? "▾" : "▸"));
    if (each.level) {
      inner.push(svg("text", { class: "tick", x: (width - 7).toFixed(1), y: 16, "text-anchor": "end" }, this.#roomFor(each)));
      const [into, outOf] = [each.enter ?? 0, each.leave ?? 0].map((shift) => (width / 2 + shift).toFixed(1));
      inner.push(svg("path", { class: "edge", d: `M${into} 0V${HEAD}M${outOf} ${height - MARGIN}V${height}` }));
      inner.push(...this.#shapes(each.level, (width - each.level.layout.width) / 2, HEAD));
    } else if (!operator) {
      inner.push(svg("text", { class: "tick", x: folds ? 20 : (width / 2).toFixed(1), y: 30, "text-anchor": folds ? "start" : "middle" }, each.kind));
      inner.push(svg("rect", { class: "length", x: 1, y: HEIGHT - BAR - 1, width: 0, height: BAR, "data-room": (width - 2).toFixed(1), "data-modules": each.modules }));
    }
    const made = svg("g", attributes, ...inner);
    if (folds) made.setAttribute("aria-expanded", String(each.level !== null));
    return made;
  }

  /** The class, where there is room for it beside the name. @param {Drawn} each */
  #roomFor(each) {
    return (each.name.length + each.kind.length) * LETTER + 40 < each.width ? each.kind : "";
  }

  /** @param {Drawn} each */
  #said(each) {
    const operators = plural(each.end - each.begin, "operator");
    if (each.height === OPERATOR) return `${each.name}, an operator of ${each.scope || this.head.network}`;
    return [each.scope || each.name, each.kind, each.copies > 1 ? `${each.copies} alike, one after the other` : "", operators]
      .filter(Boolean).join(", ");
  }

  /** A bar in every box: its module's share of what forward computes. */
  #bars() {
    if (!this.root) return;
    const known = new Map([...walk(this.root)].map((each) => [each.scope, each.all.operations]));
    const whole = this.root.all.operations;
    for (const bar of this.picture.querySelectorAll("rect.length")) {
      const scope = bar.parentElement?.getAttribute("data-scope") ?? "";
      const value = (known.get(scope) ?? 0) * Number(bar.getAttribute("data-modules"));
      const share = whole ? value / whole : 0;
      bar.setAttribute("width", (share * Number(bar.getAttribute("data-room"))).toFixed(1));
      const title = bar.parentElement?.querySelector("title");
      const said = bar.parentElement?.getAttribute("aria-label") ?? "";
      if (title) title.textContent = `${said}; ${unit(value, this.head.unit)} forward, ${percent(share)}`;
    }
  }

  #boxes() {
    return /** @type {SVGElement[]} */ ([...this.picture.querySelectorAll("g.part")]);
  }

  /** Every call that may be opened, those outside before those inside. @param {Part[]} inside @returns {Generator<Call>} */
  *#calls(inside = this.head.graph.inside) {
    const calls = /** @type {Call[]} */ (inside.filter((each) => typeof each !== "number"));
    for (const call of calls) if (call[5].length > 1 || typeof call[5][0] === "object") yield call;
  }

  /** Opens level after level, as long as what is drawn fits a screen. */
  #openWhatFits() {
    let parts = this.head.graph.inside.length;
    const holding = (/** @type {Call} */ call) => call[5].some((each) => typeof each !== "number");
    for (let level = [...this.#calls()]; level.length; level = level.flatMap((call) => [...this.#calls(call[5])])) {
      level = level.filter(holding);
      parts += level.reduce((sum, call) => sum + call[5].length - 1, 0);
      if (parts > FITS) return;
      for (const call of level) this.open.add(`${call[0]} ${call[2]}`);
    }
  }

  /** Opens every call that is shown folded. */
  #openALevel() {
    for (const box of this.#boxes()) {
      if (box.getAttribute("aria-expanded") === "false") this.open.add(box.getAttribute("data-key") ?? "");
    }
    this.#draw();
  }

  /** @param {Element} box */
  #toggle(box) {
    const key = box.getAttribute("data-key") ?? "";
    if (!box.hasAttribute("aria-expanded")) return;
    if (!this.open.delete(key)) this.open.add(key);
    this.focused = key;
    this.#draw();
    this.#focus(this.#boxes().find((each) => each.getAttribute("data-key") === key));
  }

  /** A click chooses; on the mark of what folds, or on what is chosen, it opens or folds. @param {Element} target */
  #click(target) {
    const box = /** @type {SVGElement|null} */ (target.closest("g.part"));
    if (!box) return;
    const scope = box.getAttribute("data-scope") ?? "";
    if (target.classList.contains("fold") || box.classList.contains("selected")) {
      this.#toggle(box);
      return;
    }
    this.chosen(scope);
    this.#focus(box);
  }

  /** @param {SVGElement|undefined} box */
  #focus(box) {
    if (!box) return;
    for (const each of this.#boxes()) each.setAttribute("tabindex", "-1");
    box.setAttribute("tabindex", "0");
    box.focus({ preventScroll: true });
    box.scrollIntoView({ block: "nearest", inline: "nearest" });
    this.focused = box.getAttribute("data-key") ?? "";
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const box = /** @type {SVGElement|null} */ (/** @type {Element} */ (event.target).closest("g.part"));
    if (!box || event.altKey || event.ctrlKey || event.metaKey) return;
    const boxes = this.#boxes();
    const place = boxes.indexOf(box);
    const expanded = box.getAttribute("aria-expanded");
    if (event.key === "ArrowDown") this.#focus(boxes[place + 1]);
    else if (event.key === "ArrowUp") this.#focus(boxes[place - 1]);
    else if (event.key === "Home") this.#focus(boxes[0]);
    else if (event.key === "End") this.#focus(boxes.at(-1));
    else if (event.key === "ArrowRight") expanded === "false" ? this.#toggle(box) : this.#focus(boxes[place + 1]);
    else if (event.key === "ArrowLeft") {
      const around = /** @type {SVGElement|null} */ (box.parentElement?.closest("g.part") ?? null);
      if (expanded === "true") this.#toggle(box);
      else if (around) this.#focus(around);
    } else if (event.key === "Enter" || event.key === " ") this.chosen(box.getAttribute("data-scope") ?? "");
    else return;
    event.preventDefault();
  }
}
