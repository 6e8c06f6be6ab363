// The form of a policy: rows without a page load, search in the list of devices. Without this file the buttons post
// the form and the server answers it with a row more or less.

const form = /** @type {HTMLFormElement | null} */ (document.getElementById("policy-form"));
const rows = form?.querySelector("[data-rows]");
const template = /** @type {HTMLTemplateElement | null | undefined} */ (form?.querySelector("[data-row-template]"));
const total = /** @type {HTMLInputElement | null | undefined} */ (form?.querySelector('[name="sources-TOTAL_FORMS"]'));
const most = Number(/** @type {HTMLInputElement | null | undefined} */ (form?.querySelector('[name="sources-MAX_NUM_FORMS"]'))?.value);

/** Give every row the number of its place: names, ids and what points to them. */
function renumber() {
  const all = [...(rows?.querySelectorAll("[data-row]") ?? [])];
  all.forEach((row, number) => {
    for (const element of row.querySelectorAll("[name], [id], [for], [aria-describedby]")) {
      for (const attribute of ["name", "id", "for", "aria-describedby"]) {
        const value = element.getAttribute(attribute);
        if (value) element.setAttribute(attribute, value.replaceAll(/sources-(\d+|__prefix__)-/g, `sources-${number}-`));
      }
    }
    row.querySelector("[data-row-remove]")?.setAttribute("value", String(number));
  });
  if (total) total.value = String(all.length);
  form?.dispatchEvent(new Event("change"));
}

form?.addEventListener("click", (event) => {
  const target = /** @type {Element} */ (event.target);
  if (target.closest("[data-row-add]") && rows && template) {
    event.preventDefault();
    if (rows.children.length >= most) return;
    rows.append(template.content.cloneNode(true));
    renumber();
    /** @type {HTMLInputElement | null} */ (rows.lastElementChild?.querySelector("input"))?.focus();
  }
  const remove = target.closest("[data-row-remove]");
  if (remove && rows && rows.children.length > 1) {
    event.preventDefault();
    remove.closest("[data-row]")?.remove();
    renumber();
  }
});

const search = /** @type {HTMLElement | null | undefined} */ (form?.querySelector("[data-device-search]"));
if (search) search.hidden = false;
search?.addEventListener("input", () => {
  const words = /** @type {HTMLInputElement} */ (search.querySelector("input")).value.trim().toLowerCase();
  for (const label of form?.querySelectorAll(".device-list .check") ?? []) {
    /** @type {HTMLElement} */ (label).hidden = !label.textContent?.toLowerCase().includes(words);
  }
});
// Enter in the search must not save the policy.
search?.addEventListener("keydown", (event) => {
  if (event.key === "Enter") event.preventDefault();
});
