// <input type="checkbox" data-checks="GROUP">: stands for all boxes with data-check="GROUP"; half when some are ticked.

/** @param {string} group */
function findBoxes(group) {
  const boxes = document.querySelectorAll(`input[data-check="${CSS.escape(group)}"]`);
  return /** @type {HTMLInputElement[]} */ ([...boxes]).filter((box) => !box.disabled);
}

/** @param {HTMLInputElement} leader */
function showState(leader) {
  const boxes = findBoxes(leader.dataset.checks ?? "");
  const ticked = boxes.filter((box) => box.checked).length;
  leader.checked = boxes.length > 0 && ticked === boxes.length;
  leader.indeterminate = ticked > 0 && ticked < boxes.length;
}

export function watchChecks() {
  document.addEventListener("change", (event) => {
    const box = event.target;
    if (!(box instanceof HTMLInputElement)) return;
    if (box.dataset.checks) {
      for (const other of findBoxes(box.dataset.checks)) other.checked = box.checked;
    }
    for (const leader of document.querySelectorAll("input[data-checks]")) {
      if (leader instanceof HTMLInputElement) showState(leader);
    }
  });
  for (const leader of document.querySelectorAll("input[data-checks]")) {
    if (leader instanceof HTMLInputElement) showState(leader);
  }
}
