/**
 * An icicle: every module as a bar as wide as its share, those that it holds below it.
 */

import { part, svg, update, write } from "./elements.js";
import { figure, parentOf, walk } from "./modules.js";
import { percent } from "./units.js";

/** @typedef {import("./modules.js").Node} Node */
/** @typedef {import("./modules.js").Measure} Measure */

const ROW = 34;

/** Bars narrower than this are not drawn. */
const NARROWEST = 0.6;

export class Icicle {
  /** @param {(scope: string) => void} chosen */
  constructor(chosen) {
    this.chosen = chosen;
    /** @type {Node|null} */
    this.root = null;
    this.top = "";
    this.selected = "";
    this.picture = part("icicle");
    /** @type {Map<string, SVGElement>} bars that were drawn before, by scope */
    this.bars = new Map();
    const measures = /** @type {HTMLSelectElement} */ (part("icicle-measure"));
    this.measures = measures;
    measures.addEventListener("change", () => this.#draw());
    part("icicle-up").addEventListener("click", () => {
      this.top = parentOf(this.top) ?? "";
      this.#draw();
    });
    this.width = 1000;
    new ResizeObserver(([entry]) => {
      const width = Math.max(Math.round(entry.contentRect.width), 300);
      if (width === this.width) return;
      this.width = width;
      this.#draw();
    }).observe(this.picture);
    this.picture.addEventListener("click", (event) => this.#choose(/** @type {Element} */ (event.target)));
    this.picture.addEventListener("keydown", (event) => this.#key(event));
  }

  /** @param {Element} target */
  #choose(target) {
    const bar = target.closest("g.bar");
    if (!bar) return;
    const scope = bar.getAttribute("data-scope") ?? "";
    if (this.selected === scope) this.top = scope;
    this.selected = scope;
    this.#draw();
    this.chosen(scope);
    this.#focus(scope);
  }

  /** @param {string} scope */
  #focus(scope) {
    for (const bar of this.picture.querySelectorAll("g.bar")) {
      const mine = bar.getAttribute("data-scope") === scope;
      bar.setAttribute("tabindex", mine ? "0" : "-1");
      if (mine) /** @type {SVGElement} */ (bar).focus({ preventScroll: true });
    }
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const bar = /** @type {Element} */ (event.target).closest("g.bar");
    if (!bar || !this.root) return;
    const scope = bar.getAttribute("data-scope") ?? "";
    const each = [...walk(this.root)].find((one) => one.scope === scope);
    const siblings = each?.parent?.children.filter((one) => this.#drawn(one.scope)) ?? [];
    const place = siblings.indexOf(/** @type {Node} */ (each));
    const to = {
      ArrowUp: each?.parent, ArrowDown: each?.children.find((one) => this.#drawn(one.scope)),
      ArrowLeft: siblings[place - 1], ArrowRight: siblings[place + 1],
    };
    if (event.key === "Enter" || event.key === " ") this.#choose(bar);
    else if (event.key in to) {
      const target = to[/** @type {keyof typeof to} */ (event.key)];
      if (target && this.#drawn(target.scope)) this.#focus(target.scope);
    } else return;
    event.preventDefault();
  }

  /** @param {string} scope */
  #drawn(scope) {
    return [...this.picture.querySelectorAll("g.bar")].some((bar) => bar.getAttribute("data-scope") === scope);
  }

  /** @param {Node} root */
  draw(root) {
    this.root = root;
    this.#draw();
  }

  #draw() {
    if (!this.root) return;
    const measure = /** @type {Measure} */ (this.measures.value);
    const top = [...walk(this.root)].find((each) => each.scope === this.top) ?? this.root;
    const whole = top.all[measure];
    /** @type {SVGElement[]} */
    const bars = [];
    let levels = 1;
    /** @param {Node} each @param {number} left @param {number} width @param {number} level */
    const add = (each, left, width, level) => {
      if (width < NARROWEST) return;
      levels = Math.max(levels, level + 1);
      bars.push(this.#bar(each, left, width, level, measure, this.root?.all[measure] ?? 0));
      let next = left;
      for (const child of each.children) {
        const size = whole ? (child.all[measure] / whole) * this.width : 0;
        add(child, next, size, level + 1);
        next += size;
      }
    };
    if (whole) add(top, 0, this.width, 0);
    this.picture.setAttribute("viewBox", `0 0 ${this.width} ${levels * ROW}`);
    const { children } = this.picture;
    const same = children.length === bars.length && bars.every((bar, place) => bar === children[place]);
    if (!same) this.picture.replaceChildren(...bars);
    bars[0]?.setAttribute("tabindex", "0");
    part("icicle-empty").hidden = whole > 0;
    /** @type {HTMLButtonElement} */ (part("icicle-up")).disabled = this.top === "";
  }

  /**
   * @param {Node} each @param {number} left @param {number} width @param {number} level
   * @param {Measure} measure @param {number} whole
   */
  #bar(each, left, width, level, measure, whole) {
    const value = each.all[measure];
    const title = `${each.scope || each.name}: ${figure(measure, value)}, ${percent(value / whole)}`;
    const label = width > 9 * each.name.length + 8 ? each.name : "";
    const bar = this.bars.get(each.scope) ?? svg("g", { role: "button" }, svg("title"), svg("rect"), svg("text"));
    this.bars.set(each.scope, bar);
    update(bar, {
      class: `bar level${level % 3}${each.scope === this.selected ? " selected" : ""}`,
      "data-scope": each.scope, tabindex: -1, "aria-label": title,
    });
    const [heading, box, text] = bar.children;
    write(heading, title);
    update(box, { x: left.toFixed(1), y: level * ROW, width: Math.max(width - 1, 0.5).toFixed(1), height: ROW - 1 });
    update(text, { x: (left + 5).toFixed(1), y: level * ROW + 21 });
    write(text, label);
    return bar;
  }
}
