// <time datetime data-ago>: keeps "18 min ago" true. The words are those of backupsite/web/formatting.py.

const NBSP = "\u00a0";

/** @type {[limit: number, size: number, unit: string][]} */
const UNITS = [
  [60, 1, "s"],
  [3600, 60, "min"],
  [48 * 3600, 3600, "h"],
  [60 * 86400, 86400, "days"],
  [730 * 86400, 30 * 86400, "months"],
  [Infinity, 365 * 86400, "years"],
];

/**
 * @param {number} seconds since the moment; negative in the future
 * @returns {string}
 */
export function formatAgo(seconds) {
  const distance = Math.abs(seconds);
  if (distance < 10) return "just now";
  const [, size, unit] = UNITS.find(([limit]) => distance < limit) ?? UNITS[UNITS.length - 1];
  const text = `${Math.floor(distance / size)}${NBSP}${unit}`;
  return seconds > 0 ? `${text} ago` : `in ${text}`;
}

function refreshTimes() {
  for (const element of document.querySelectorAll("time[data-ago]")) {
    const moment = Date.parse(element.getAttribute("datetime") ?? "");
    if (Number.isNaN(moment)) continue;
    const text = formatAgo(Math.round((Date.now() - moment) / 1000));
    if (element.textContent !== text) element.textContent = text;
  }
}

export function keepTimesFresh() {
  setInterval(refreshTimes, 10_000);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) refreshTimes();
  });
}
