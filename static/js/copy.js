// <button data-copy="ID">: copies the text of the element with that id.
import { showToast } from "./toast.js";

/**
 * The clipboard interface exists only in secure contexts (HTTPS, loopback); elsewhere the old command still works.
 * @param {HTMLElement} source
 * @returns {Promise<boolean>}
 */
async function copyText(source) {
  const text = source instanceof HTMLInputElement || source instanceof HTMLTextAreaElement ? source.value : source.innerText;
  if (navigator.clipboard && window.isSecureContext) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Refused by the browser: try the selection below, and say so if that fails too.
    }
  }
  const range = document.createRange();
  range.selectNodeContents(source);
  const selection = getSelection();
  selection?.removeAllRanges();
  selection?.addRange(range);
  return document.execCommand("copy");
}

export function watchCopyButtons() {
  document.addEventListener("click", async (event) => {
    const button = event.target instanceof Element ? event.target.closest("[data-copy]") : null;
    if (!button) return;
    const source = document.getElementById(button.getAttribute("data-copy") ?? "");
    if (!source) return;
    const copied = await copyText(source);
    showToast(copied ? "Copied" : "The browser did not allow copying. The text is selected: press Ctrl+C.");
  });
}
