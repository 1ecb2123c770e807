/**
 * The network as a tree of modules: each with what it does itself, and what it does with all below it.
 */

import { add } from "./clock.js";
import { count, duration, integer, memory } from "./units.js";

/** @typedef {import("./record.js").Head} Head */
/** @typedef {import("./reading.js").Reading} Reading */

/**
 * @typedef {object} Node
 * @property {string} scope
 * @property {string} name
 * @property {any} layer the module's own row of the contract; null where only those below it have one
 * @property {Node[]} children
 * @property {Node|null} parent
 * @property {Record<Measure, number>} own
 * @property {Record<Measure, number>} all
 * @property {Map<import("./clock.js").Limit, number>} bounds seconds of all by what they go to
 * @property {number} operators
 * @property {number} uncounted
 */

/** @typedef {"params" | "operations" | "backward" | "memory" | "time"} Measure */

/** @type {Measure[]} */
export const MEASURES = ["params", "operations", "backward", "memory", "time"];

/**
 * @param {Head} head
 * @param {Reading} reading
 * @returns {Node} the network itself
 */
export function tree(head, reading) {
  const { contract } = reading;
  const held = heldBy(head, reading);
  /** @type {Map<string, Node>} */
  const nodes = new Map();
  const root = node("", contract.network.name, null);
  nodes.set("", root);
  for (const layer of contract.layers) {
    const found = reach(nodes, layer.scope);
    found.layer = layer;
    found.operators = layer.operators;
    found.uncounted = layer.uncounted;
    found.own = {
      params: layer.params,
      operations: layer.forward.operations,
      backward: layer.backward.operations,
      memory: held.get(layer.scope) ?? 0,
      time: 0,
    };
  }
  for (const [scope, size] of held) reach(nodes, scope).own.memory = size;
  takeTime(head, reading, nodes);
  total(root);
  return root;
}

/** @param {string} scope @param {string} name @param {Node|null} parent @returns {Node} */
function node(scope, name, parent) {
  const nothing = () => ({ params: 0, operations: 0, backward: 0, memory: 0, time: 0 });
  return {
    scope, name, parent, layer: null, children: [], own: nothing(), all: nothing(), bounds: new Map(), operators: 0, uncounted: 0,
  };
}

/** The node of a scope, made with its ancestors where it is not there. @param {Map<string, Node>} nodes @param {string} scope */
function reach(nodes, scope) {
  const known = nodes.get(scope);
  if (known) return known;
  /** @type {Node} */
  const parent = reach(nodes, parentOf(scope) ?? "");
  const made = node(scope, scope.slice(scope.lastIndexOf(".") + 1), parent);
  parent.children.push(made);
  nodes.set(scope, made);
  return made;
}

/** @param {Node} each */
function total(each) {
  each.all = { ...each.own };
  for (const child of each.children) {
    total(child);
    for (const measure of MEASURES) each.all[measure] += child.all[measure];
    for (const [limit, seconds] of child.bounds) add(each.bounds, limit, seconds);
  }
}

/** The seconds of the step, where they are known. @param {Head} head @param {Reading} reading @param {Map<string, Node>} nodes */
function takeTime(head, { time, position }, nodes) {
  if (time === null || typeof time === "string") return;
  for (const [op, limit, seconds] of time.shares) {
    const found = reach(nodes, head.names[position.ops.scope[op]]);
    found.own.time += seconds;
    add(found.bounds, limit, seconds);
  }
}

/** Bytes at the peak by module. @param {Head} head @param {Reading} reading @returns {Map<string, number>} */
function heldBy(head, reading) {
  const { position, steps, alive } = reading;
  const found = new Map();
  for (const place of alive) {
    const scope = head.names[position.lives.scope[place]];
    found.set(scope, (found.get(scope) ?? 0) + steps.bytes[place]);
  }
  return found;
}

/** Every node, parents before children. @param {Node} root @returns {Generator<Node>} */
export function* walk(root) {
  yield root;
  for (const child of root.children) yield* walk(child);
}

/** The module that holds another; null of the network itself. @param {string} scope @returns {string|null} */
export function parentOf(scope) {
  if (!scope) return null;
  const end = scope.lastIndexOf(".");
  return end < 0 ? "" : scope.slice(0, end);
}

/** @param {string} scope @returns {number} */
export function depth(scope) {
  return scope ? scope.split(".").length : 0;
}

/** A figure as text, zero without its unit. @param {Measure} measure @param {number} value @returns {string} */
export function figure(measure, value) {
  if (!value) return "0";
  if (measure === "params") return integer(value);
  return { operations: count, backward: count, memory, time: duration }[measure](value);
}
