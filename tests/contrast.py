"""How far letters stand out from what they stand on, in a browser: WCAG 2.2, 1.4.3, asks for 4.5 to 1."""

from __future__ import annotations

LEAST = 4.5

FAINT = r"""least => {
  const parsed = text => {
    const [red, green, blue, alpha = 1] = text.match(/[\d.]+/g).map(Number);
    return text.startsWith("color(srgb") ? [255 * red, 255 * green, 255 * blue, alpha] : [red, green, blue, alpha];
  };
  const over = (top, ground) => [...[0, 1, 2].map(at => top[at] * top[3] + ground[at] * (1 - top[3])), 1];
  const luminance = colour => {
    const [red, green, blue] = colour.map(part => part / 255).map(
      part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const upwards = element => element ? [element, ...upwards(element.parentElement)] : [];
  const ground = element => {
    const layers = upwards(element).reverse().map(each => parsed(getComputedStyle(each).backgroundColor));
    const box = element instanceof SVGElement && element.closest("g")?.querySelector(":scope > rect");
    const filled = box && getComputedStyle(box).fill;
    return [...layers, ...(filled && filled !== "none" ? [parsed(filled)] : [])].reduce((one, next) => over(next, one));
  };
  const found = {};
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const { data, parentElement: element } = texts.currentNode;
    const range = document.createRange();
    range.selectNode(texts.currentNode);
    if (!data.trim() || !range.getBoundingClientRect().width || element.closest(":disabled, option, title")) continue;
    const style = getComputedStyle(element);
    const under = ground(element);
    const [red, green, blue, alpha] = parsed(element instanceof SVGElement ? style.fill : style.color);
    if (!alpha) continue; // what is marked behind the letters of a field
    const shown = upwards(element).reduce((rest, each) => rest * Number(getComputedStyle(each).opacity), alpha);
    const [low, high] = [over([red, green, blue, shown], under), under].map(luminance).sort((one, other) => one - other);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < least) found[data.trim().slice(0, 40)] = Number(ratio.toFixed(2));
  }
  return found;
}"""


def faint(page):
    """The texts of a page that stand out too little, each with its contrast."""
    return page.evaluate(FAINT, LEAST)
