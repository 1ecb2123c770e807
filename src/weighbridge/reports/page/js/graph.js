/**
 * The graph: what reads what, from the input down, at the level of modules, each of which opens to those that it calls and
 * to its operators.
 */

import { Calls, HEAD, MARGIN, widthOf } from "./calls.js";
import { part, svg } from "./elements.js";
import { walk } from "./modules.js";
import { percent, plural, unit } from "./units.js";

/** @typedef {import("./record.js").Head} Head */
/** @typedef {import("./modules.js").Node} Node */

/** @typedef {import("./calls.js").Drawn} Drawn */
/** @typedef {import("./calls.js").Level} Level */

const BAR = 4;

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
    this.calls = new Calls(head);
    this.picture = part("graph");
    part("graph-more").addEventListener("click", () => this.#openALevel());
    part("graph-fold").addEventListener("click", () => {
      this.calls.open.clear();
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

  #draw() {
    const whole = this.calls.whole();
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
    const { level, operator, width, height } = each;
    const folds = each.inside.length > 0;
    const made = svg(
      "g",
      {
        class: `part${level ? " open" : ""}${operator ? " operator" : ""}`,
        "data-key": each.key, "data-scope": each.scope, role: "button", tabindex: -1,
        transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`, "aria-label": this.#said(each),
      },
      svg("title", {}, this.#said(each)),
      svg("rect", { class: "box", width: width.toFixed(1), height: height.toFixed(1), rx: operator ? height / 2 : 4 }),
    );
    const at = folds ? { x: 20, "text-anchor": "start" } : { x: (width / 2).toFixed(1), "text-anchor": "middle" };
    made.append(svg("text", { ...at, y: 16 }, each.name));
    if (folds) {
      made.setAttribute("aria-expanded", String(level !== null));
      made.append(svg("text", { class: "fold", x: 7, y: 16 }, level ? "▾" : "▸"));
    }
    if (level) made.append(...this.#inside(each, level));
    else if (!operator) {
      const bar = { x: 1, y: height - BAR - 1, width: 0, height: BAR, "data-room": (width - 2).toFixed(1), "data-modules": each.modules };
      made.append(svg("text", { class: "tick", ...at, y: 30 }, each.kind), svg("rect", { class: "length", ...bar }));
    }
    return made;
  }

  /** What stands in an open box: its class, the lines through its edge, and its level. @param {Drawn} each @param {Level} level */
  #inside(each, level) {
    const { width, height } = each;
    const [into, outOf] = [each.enter ?? 0, each.leave ?? 0].map((shift) => (width / 2 + shift).toFixed(1));
    return [
      svg("text", { class: "tick", x: (width - 7).toFixed(1), y: 16, "text-anchor": "end" }, this.#roomFor(each)),
      svg("path", { class: "edge", d: `M${into} 0V${HEAD}M${outOf} ${height - MARGIN}V${height}` }),
      ...this.#shapes(level, (width - level.layout.width) / 2, HEAD),
    ];
  }

  /** The class, where there is room for it beside the name. @param {Drawn} each */
  #roomFor(each) {
    return widthOf(each.name) + widthOf(each.kind) + 40 < each.width ? each.kind : "";
  }

  /** @param {Drawn} each */
  #said(each) {
    const operators = plural(each.end - each.begin, "operator");
    if (each.operator) return `${each.name}, an operator of ${each.scope || this.head.network}`;
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

  /** Opens every call that is shown folded. */
  #openALevel() {
    for (const box of this.#boxes()) {
      if (box.getAttribute("aria-expanded") === "false") this.calls.open.add(box.getAttribute("data-key") ?? "");
    }
    this.#draw();
  }

  /** @param {Element} box */
  #toggle(box) {
    const key = box.getAttribute("data-key") ?? "";
    if (!box.hasAttribute("aria-expanded")) return;
    if (!this.calls.open.delete(key)) this.calls.open.add(key);
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
