// <a href="/the/confirm/page/" data-dialog="ID">: opens <dialog id="ID"> here. Without JavaScript the link leads to
// the page that asks the same question.

/** @param {Element} link */
function findDialog(link) {
  const dialog = document.getElementById(link.getAttribute("data-dialog") ?? "");
  return dialog instanceof HTMLDialogElement ? dialog : null;
}

export function watchDialogs() {
  document.addEventListener("click", (event) => {
    if (!(event.target instanceof Element) || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const link = event.target.closest("[data-dialog]");
    const dialog = link && findDialog(link);
    if (dialog) {
      event.preventDefault();
      dialog.showModal();
      return;
    }
    const close = event.target.closest("dialog [data-close]");
    if (close || event.target instanceof HTMLDialogElement) {
      event.preventDefault();
      event.target.closest("dialog")?.close();
    }
  });
}
