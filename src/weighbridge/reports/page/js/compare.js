/**
 * The page of a comparison: chooses rows, marks one network wherever it stands, and saves.
 */

import { part } from "./elements.js";
import { copy, save } from "./saving.js";

/** @typedef {{name: string, forms: Record<string, string>}} Comparison */

/** @type {Comparison} */
const comparison = JSON.parse(part("record").textContent ?? "");

/** Marks a network in the table and in every picture; none for ''. @param {string} name */
function mark(name) {
  for (const each of document.querySelectorAll("[data-network]")) {
    each.classList.toggle("marked", each.getAttribute("data-network") === name);
  }
}

/** @param {Event} event */
function markTarget(event) {
  const found = /** @type {Element} */ (event.target).closest("[data-network]");
  mark(found?.getAttribute("data-network") ?? "");
}

/** The rows of the table of modules: those of the chosen levels, or those that differ. */
function choosePaths() {
  const rows = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("#paths-table tbody tr")]);
  const depth = /** @type {HTMLSelectElement} */ (part("paths-depth"));
  const differ = /** @type {HTMLInputElement} */ (part("paths-differ"));
  const draw = () => {
    for (const row of rows) {
      row.hidden = Number(row.dataset.level) > Number(depth.value) || (differ.checked && !row.classList.contains("differs"));
    }
    part("paths-count").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} modules`;
  };
  depth.addEventListener("change", draw);
  differ.addEventListener("change", draw);
  draw();
}

document.documentElement.classList.add("live");
document.addEventListener("pointerover", markTarget);
document.addEventListener("focusin", markTarget);
if (document.getElementById("paths-table")) choosePaths();
for (const button of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("button[data-form]"))) {
  const form = button.dataset.form ?? "";
  button.addEventListener("click", () => save(`${comparison.name}.${form}`, comparison.forms[form]));
}
if (document.getElementById("command")) {
  part("command-copy").addEventListener("click", () => void copy(part("command"), part("command-copied")));
}
document.documentElement.dataset.turned = "1";
performance.mark("ready");
