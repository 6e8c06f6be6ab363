// The first step of the set-up: offers the browser's time zone, unless somebody chose one already.

/** @returns {string} the browser's zone, "" when it has none */
function readZone() {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || "";
}

const field = document.querySelector("input[data-time-zone]");
const zone = readZone();
// Only a zone that the server knows: its list stands in the page.
const isKnown = Array.from(document.querySelectorAll("#time-zones option")).some((option) => option.getAttribute("value") === zone);
if (field instanceof HTMLInputElement && field.value === "UTC" && isKnown) {
  field.value = zone;
}
