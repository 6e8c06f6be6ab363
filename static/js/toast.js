// Short notes in the corner. They never carry something that is needed later.

const SHOWN_MS = 6000;

/** @param {string} text */
export function showToast(text) {
  const place = document.getElementById("toasts");
  if (!place) return;
  const toast = document.createElement("p");
  toast.className = "toast";
  toast.textContent = text;
  place.append(toast);
  setTimeout(() => toast.remove(), SHOWN_MS);
}
