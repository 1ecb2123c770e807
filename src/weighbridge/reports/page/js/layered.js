/**
 * A layered drawing: boxes from top to bottom so that every line goes down, few lines cross, and most are straight.
 *
 * Layers by the longest path; order by the mean of the neighbours above and below; places by least squares, where
 * order and distance allow. A line across several layers has a point of its own in each. Where those would be too many, as between
 * layers each of which reads all before it, such lines are arcs beside the boxes.
 */

/** @typedef {{width: number, height: number, enter?: number, leave?: number}} Size where lines enter and leave, right of its middle */
/** @typedef {{x: number, y: number}} Point `x` is a box's middle, `y` its top. */
/** @typedef {{width: number, height: number, boxes: Point[], lines: string[]}} Layout */

const BESIDE = 18;
const BELOW = 26;
/** How much room a line takes that passes by. */
const LANE = 8;
/** Points of lines that are placed; where there would be more, lines are arcs. */
const MOST_POINTS = 150;
const SWEEPS = 6;

/**
 * @typedef {object} Item a box, or a line's point in a layer that it crosses
 * @property {number} width
 * @property {number} layer
 * @property {number} x
 * @property {Item[]} above
 * @property {Item[]} below
 */

/**
 * @param {Size[]} sizes every box after those that lead to it
 * @param {[number, number][]} edges from and to
 * @returns {Layout}
 */
export function layered(sizes, edges) {
  const layers = layersOf(sizes.length, edges);
  /** @type {Item[]} */
  const items = sizes.map(({ width }, box) => ({ width, layer: layers[box], x: 0, above: [], below: [] }));
  const crossed = edges.reduce((sum, [from, to]) => sum + layers[to] - layers[from] - 1, 0);
  const arcs = crossed > MOST_POINTS;
  /** @type {Item[][]} */
  const rows = Array.from({ length: Math.max(...layers) + 1 }, () => []);
  for (const item of items) rows[item.layer].push(item);
  const chains = edges.map(([from, to]) => {
    if (arcs && layers[to] - layers[from] > 1) return null;
    const chain = [items[from]];
    for (let layer = layers[from] + 1; layer < layers[to]; layer += 1) {
      const point = { width: LANE, layer, x: 0, above: [], below: [] };
      rows[layer].push(point);
      chain.push(point);
    }
    chain.push(items[to]);
    for (let place = 1; place < chain.length; place += 1) {
      chain[place - 1].below.push(chain[place]);
      chain[place].above.push(chain[place - 1]);
    }
    return chain;
  });
  arrange(rows);
  return draw(sizes, edges, layers, items, rows, chains);
}

/**
 * The first box, which is the way in, stands alone; what nothing leads to, just above what it leads to.
 * @param {number} count @param {[number, number][]} edges
 */
function layersOf(count, edges) {
  const layers = new Array(count).fill(1, 1).fill(0, 0, 1);
  const led = new Set(edges.map(([, to]) => to));
  for (const [from, to] of edges.toSorted((one, other) => one[1] - other[1])) {
    layers[to] = Math.max(layers[to], layers[from] + 1);
  }
  const next = new Array(count).fill(Infinity);
  for (const [from, to] of edges) next[from] = Math.min(next[from], layers[to]);
  return layers.map((layer, box) => (box && !led.has(box) && next[box] < Infinity ? next[box] - 1 : layer));
}

/** Orders every row, and places what stands in it. @param {Item[][]} rows */
function arrange(rows) {
  for (const row of rows) place(row, row.map((_, index) => index * (BESIDE + LANE)));
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const down = sweep % 2 === 0;
    for (const row of down ? rows : rows.toReversed()) {
      const wanted = new Map(row.map((item) => [item, mean(down ? item.above : item.below, item.x)]));
      const at = (/** @type {Item} */ item) => wanted.get(item) ?? 0;
      row.sort((one, other) => at(one) - at(other));
      place(row, row.map(at));
    }
  }
  for (const row of rows) place(row, row.map((item) => mean([...item.above, ...item.below], item.x)));
}

/** @param {Item[]} items @param {number} otherwise */
function mean(items, otherwise) {
  return items.length ? items.reduce((sum, item) => sum + item.x, 0) / items.length : otherwise;
}

/**
 * Places a row as near to where each wants to be as order and distance allow: the least sum of squares. Those that would
 * overlap stand together around the mean of what they want.
 * @param {Item[]} row @param {number[]} wanted
 */
function place(row, wanted) {
  let offset = 0;
  const offsets = row.map((item, index) => {
    if (index) offset += (row[index - 1].width + item.width) / 2 + BESIDE;
    return offset;
  });
  /** @type {{sum: number, count: number}[]} */
  const groups = [];
  row.forEach((_, index) => {
    groups.push({ sum: wanted[index] - offsets[index], count: 1 });
    while (groups.length > 1) {
      const [before, last] = groups.slice(-2);
      if (before.sum / before.count <= last.sum / last.count) break;
      groups.splice(-2, 2, { sum: before.sum + last.sum, count: before.count + last.count });
    }
  });
  let index = 0;
  for (const { sum, count } of groups) {
    for (let each = 0; each < count; each += 1, index += 1) row[index].x = sum / count + offsets[index];
  }
}

/**
 * @param {Size[]} sizes @param {[number, number][]} edges @param {number[]} layers
 * @param {Item[]} items @param {Item[][]} rows @param {(Item[]|null)[]} chains
 * @returns {Layout}
 */
function draw(sizes, edges, layers, items, rows, chains) {
  const heights = rows.map(() => 0);
  sizes.forEach(({ height }, box) => { heights[layers[box]] = Math.max(heights[layers[box]], height); });
  const tops = rows.map(() => 0);
  for (let layer = 1; layer < rows.length; layer += 1) tops[layer] = tops[layer - 1] + heights[layer - 1] + BELOW;
  const left = Math.min(...rows.flat().map((item) => item.x - item.width / 2));
  for (const item of rows.flat()) item.x -= left;
  let width = Math.max(...rows.flat().map((item) => item.x + item.width / 2));
  const boxes = items.map((item, box) => ({ x: item.x, y: tops[layers[box]] + (heights[layers[box]] - sizes[box].height) / 2 }));
  const bottom = (/** @type {number} */ box) => boxes[box].y + sizes[box].height;
  const lines = edges.map(([from, to], edge) => {
    const chain = chains[edge];
    if (chain) return curve(chain, sizes[from], sizes[to], bottom(from), boxes[to].y, tops, heights);
    const [start, end] = [from, to].map((box) => boxes[box].x + sizes[box].width / 2);
    const side = Math.max(start, end) + 12 + 9 * (layers[to] - layers[from]);
    width = Math.max(width, side);
    const [high, low] = [bottom(from) - sizes[from].height / 4, boxes[to].y + sizes[to].height / 4];
    return `M${text(start, high)}C${text(side, high)} ${text(side, low)} ${text(end, low)}`;
  });
  return { width, height: tops[rows.length - 1] + heights[rows.length - 1], boxes, lines };
}

/** @param {Item[]} chain @param {Size} first @param {Size} final @param {number} begin @param {number} end @param {number[]} tops @param {number[]} heights */
function curve(chain, first, final, begin, end, tops, heights) {
  const across = chain.map((item) => item.x);
  across[0] += first.leave ?? 0;
  across[chain.length - 1] += final.enter ?? 0;
  let at = begin;
  let path = `M${text(across[0], begin)}`;
  for (let each = 1; each < chain.length; each += 1) {
    const item = chain[each];
    const last = each === chain.length - 1;
    const to = last ? end : tops[item.layer];
    const middle = (at + to) / 2;
    path += `C${text(across[each - 1], middle)} ${text(across[each], middle)} ${text(across[each], to)}`;
    at = last ? end : to + heights[item.layer];
    if (!last) path += `L${text(across[each], at)}`;
  }
  return path;
}

/** @param {number} x @param {number} y */
function text(x, y) {
  return `${x.toFixed(1)} ${y.toFixed(1)}`;
}
