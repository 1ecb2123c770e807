/**
 * Taking something away from the page: a file to save, a line to copy.
 */

/** Offers a text as a file. @param {string} name @param {string} text */
export function save(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

/** Copies what an element shows, or selects it where that is not allowed. @param {HTMLElement} shown @param {HTMLElement} done */
export async function copy(shown, done) {
  try {
    await navigator.clipboard.writeText(shown.textContent ?? "");
    done.textContent = "copied";
  } catch {
    getSelection()?.selectAllChildren(shown);
    done.textContent = "selected: copy it with the keyboard";
  }
}
