/**
 * The box: what is typed is read at once, an error is shown at its place, and what can be read is weighed.
 * It stands above the page, which is a document of its own in a frame and reaches nothing of this one.
 */

/** @typedef {{ message: string, hints: string[], position: number | null }} Complaint */
/** @typedef {{ error: Complaint | null, network?: string, params?: number, macs?: number, output?: number[] }} Reading */

/** Milliseconds without a key before what is typed is read. */
const PAUSE = 300;

/** @template {HTMLElement} T @param {string} id @param {new () => T} kind @returns {T} */
function part(id, kind) {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the box has no part #${id}`);
  return found;
}

const form = part("box", HTMLFormElement);
const model = part("model", HTMLTextAreaElement);
const marked = part("marked", HTMLPreElement);
const said = part("said", HTMLParagraphElement);
const names = part("names", HTMLInputElement);
const known = part("known", HTMLDataListElement);
const batch = part("batch", HTMLInputElement);
const input = part("input", HTMLInputElement);
const inputSaid = part("input-said", HTMLSpanElement);
const train = part("train", HTMLSelectElement);
const precision = part("precision", HTMLSelectElement);
const device = part("on", HTMLSelectElement);
const file = part("file", HTMLInputElement);
const report = part("report", HTMLIFrameElement);
const links = [part("alone", HTMLAnchorElement), part("save", HTMLAnchorElement)];

/** The latest thing that was asked: an answer to an earlier one is not shown. */
let latest = 0;
let timer = 0;

/** @param {string} text @param {boolean} wrong */
function say(text, wrong = false) {
  said.textContent = text;
  said.classList.toggle("wrong", wrong);
  model.setAttribute("aria-invalid", String(wrong));
}

/** Marks the place in the text where reading stopped; nothing without one. @param {number | null} position */
function mark(position) {
  const letters = [...model.value]; // positions count characters, not halves of them
  if (position === null) return marked.replaceChildren();
  const at = Math.min(position, letters.length);
  const place = document.createElement("mark");
  place.textContent = letters[at] ?? " ";
  marked.replaceChildren(letters.slice(0, at).join(""), place, letters.slice(at + 1).join(""));
  marked.scrollTop = model.scrollTop;
}

/** An error in a line, with its place. @param {Complaint} error */
function told({ message, hints, position }) {
  const drawn = /^\s*\^$/; // a line with a caret is the text again: the place is marked in the box
  const kept = hints.filter((hint, at) => !drawn.test(hint) && !drawn.test(hints[at + 1] ?? ""));
  const where = position === null ? "" : ` (character ${position + 1})`;
  return [message + where, ...kept].join(" · ");
}

/** @param {Complaint} error */
function complain(error) {
  say(told(error), true);
  mark(error.position);
}

/** What is wrong with the sizes, beside them; nothing where they are right. @param {string} text */
function sayOfInput(text) {
  inputSaid.textContent = text;
  input.setAttribute("aria-invalid", String(text !== ""));
}

/** Whether the box has something of which only the sizes can be wrong: a name that is known, or what was read. */
function isKnown() {
  const name = model.value.trim();
  return isNotation() || name.startsWith("upload:") || [...known.options].some((each) => each.value === name);
}

/** The sizes of the inputs, one after the other. */
function typedSizes() {
  return input.value.trim() ? input.value.trim().split(/\s+/) : [];
}

/** Whether the text is meant as notation and not as a name. */
function isNotation() {
  return /->|→|[([|]/.test(model.value);
}

/** @param {string} path @param {BodyInit} body @returns {Promise<any>} */
async function post(path, body) {
  const answer = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body });
  return answer.json();
}

/** Reads what is typed, and weighs it if that can be done. */
async function read() {
  latest += 1;
  const mine = latest;
  mark(null);
  if (model.value.trim() === "") return say("");
  if (isNotation()) {
    const sizes = typedSizes();
    const reading = /** @type {Reading} */ (
      await post("/api/notation", JSON.stringify({ text: model.value, input: sizes }))
    );
    if (mine !== latest) return;
    if (reading.error && sizes.length && reading.error.position === null) {
      say("");
      return sayOfInput(told(reading.error));
    }
    if (reading.error) return complain(reading.error);
    const integer = (/** @type {number | undefined} */ number) => (number ?? 0).toLocaleString("en");
    say(`${integer(reading.params)} parameters · ${integer(reading.macs)} MACs · output ${reading.output?.join(" x ")}`);
  } else {
    say("");
  }
  await weigh();
}

/** Shows the page of what the box says; where sizes are given, once they are known to be right. */
async function weigh() {
  latest += 1;
  const mine = latest;
  if (!batch.checkValidity()) return say("the batch is a whole number from 1 on", true);
  const query = new URLSearchParams({ model: model.value.trim(), batch: batch.value || "1" });
  const sizes = typedSizes();
  for (const each of sizes) query.append("input", each);
  if (train.value) query.set("train", train.value);
  if (precision.value) query.set("precision", precision.value);
  if (device.value) query.set("on", device.value);
  if (sizes.length && isKnown()) {
    const { error } = await (await fetch(`/api/weigh?${query}`)).json();
    if (mine !== latest) return;
    if (error) return sayOfInput(told(error));
  }
  sayOfInput(""); // not before: what is typed is asked for twice, on leaving the field and after the pause
  const path = `/page?${query}`;
  if (report.getAttribute("src") === path) return;
  document.documentElement.dataset.shown = "";
  report.setAttribute("src", path);
  history.replaceState(null, "", `/?${query}`);
  for (const link of links) {
    link.href = path;
    link.hidden = false;
  }
}

function soon() {
  clearTimeout(timer);
  mark(null);
  timer = setTimeout(read, PAUSE);
}

async function upload() {
  const [chosen] = file.files ?? [];
  if (!chosen) return;
  const found = await post("/api/upload", chosen);
  if (found.error) return complain(found.error);
  model.value = found.model;
  await read();
}

/** Fills the lists of names and devices. */
async function fill() {
  const [networks, devices] = await Promise.all(
    ["/api/networks", "/api/devices"].map(async (path) => (await fetch(path)).json()),
  );
  const option = (/** @type {string} */ value, /** @type {string} */ text) => {
    const made = document.createElement("option");
    made.value = value;
    made.textContent = text;
    return made;
  };
  for (const [frontend, each] of Object.entries(networks)) {
    const prefix = frontend === "zoo" ? "" : `${frontend}:`;
    known.append(...each.map((/** @type {string} */ name) => option(prefix + name, prefix + name)));
  }
  const chosen = new URLSearchParams(location.search).get("on") ?? "";
  device.append(...devices.devices.map((/** @type {any} */ each) => option(each.key, each.name)));
  device.value = chosen;
}

/** What the address says: a page that was shown can be shown again. */
function restore() {
  const query = new URLSearchParams(location.search);
  model.value = query.get("model") ?? "";
  batch.value = query.get("batch") ?? "1";
  input.value = query.getAll("input").join(" ");
  train.value = query.get("train") ?? "";
  precision.value = query.get("precision") ?? "";
}

model.addEventListener("input", soon);
model.addEventListener("scroll", () => (marked.scrollTop = model.scrollTop));
names.addEventListener("change", () => {
  if (!names.value) return;
  model.value = names.value;
  void read();
});
input.addEventListener("change", () => model.value.trim() && read()); // notation is read with them
for (const knob of [batch, train, precision, device]) knob.addEventListener("change", () => model.value.trim() && weigh());
file.addEventListener("change", upload);
report.addEventListener("load", () => (document.documentElement.dataset.shown = report.getAttribute("src") ?? ""));
form.addEventListener("submit", (event) => {
  event.preventDefault();
  void read();
});
restore();
const filled = fill();
if (model.value) {
  await filled;
  await read();
}
await filled;
document.documentElement.dataset.ready = "true";

export {};
