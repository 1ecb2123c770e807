/**
 * What a graph draws: of the calls of a forward pass those that are shown, how large each is, and the lines between them.
 */

import { layered } from "./layered.js";

/** @typedef {import("./record.js").Head} Head */
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
 * @property {boolean} operator
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

/** A box that is open: its name above what is inside, and room around that. */
export const HEAD = 24;
export const MARGIN = 12;

/** Parts that are shown at first, at most. */
const FITS = 24;

/** Parts of a level above which it is not drawn. */
const MOST = 400;

/** What leads in, and what leads out, are drawn as points. */
const END = { width: 1, height: 1 };

/** How wide a text is drawn. @param {string} text */
export function widthOf(text) {
  return text.length * LETTER;
}

/** Whether there is more to see in a call than the one operator that it is. @param {Call} call */
function opens([, , , , , inside]) {
  return inside.length <= MOST && (inside.length > 1 || typeof inside[0] === "object");
}

export class Calls {
  /** @param {Head} head */
  constructor(head) {
    this.head = head;
    /** @type {Set<string>} the keys of the calls that are open */
    this.open = new Set();
    /** @type {number[][]} who reads what an operator made */
    this.readers = head.graph.reads.map(() => []);
    head.graph.reads.forEach((reads, reader) => {
      for (const read of reads) this.readers[read]?.push(reader);
    });
    this.#openWhatFits();
  }

  /** The whole network, or null where its parts are too many to draw. @returns {Level|null} */
  whole() {
    const { inside, reads } = this.head.graph;
    return inside.length <= MOST ? this.#level(inside, "", 0, reads.length) : null;
  }

  /** @param {Part} each @param {string} above the scope around it @returns {Drawn} */
  #part(each, above) {
    const { names, graph } = this.head;
    if (typeof each === "number") {
      const kind = names[graph.kinds[each]];
      return {
        key: String(each), scope: names[graph.scopes[each]], name: kind, kind: "", operator: true, copies: 1, modules: 1, begin: each,
        end: each + 1, inside: [], level: null, width: widthOf(kind) + 20, height: OPERATOR,
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
      key: `${place} ${begin}`, scope, name: title, kind, operator: false, copies, modules: last === scope ? 1 : copies, begin, end,
      inside: opens(each) ? inside : [],
      level: null, width: Math.max(widthOf(title), widthOf(kind)) + 32, height: HEIGHT,
    };
    if (this.open.has(found.key) && found.inside.length) {
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

  /** Every call that may be opened, those outside before those inside. @param {Part[]} inside @returns {Generator<Call>} */
  *#calls(inside = this.head.graph.inside) {
    for (const each of inside) if (typeof each !== "number" && opens(each)) yield each;
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
}
