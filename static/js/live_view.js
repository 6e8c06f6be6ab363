// What the reader sees of the live connection: the word in the top bar, the banners, the tab's title.

const WORDS = { off: "Not live", connecting: "Reconnecting", live: "Live", lost: "Reconnecting", "signed-out": "Signed out" };

export class LiveView {
  /** @param {() => void} retry */
  constructor(retry) {
    this.stale = document.getElementById("live-stale");
    this.stale?.querySelector("[data-live-retry]")?.addEventListener("click", retry);
    document.addEventListener("htmx:afterSettle", showTitle);
    showTitle();
  }

  /** @param {keyof typeof WORDS} state */
  showState(state) {
    const place = document.getElementById("live-state");
    if (!place || place.dataset.state === state) return;
    place.dataset.state = state;
    place.textContent = WORDS[state];
  }

  showLive() {
    this.showState("live");
    this.hideStale();
  }

  hideStale() {
    if (this.stale) this.stale.hidden = true;
    document.body.classList.remove("is-stale");
  }

  /**
   * @param {number} since milliseconds
   * @param {number | undefined} nextTry milliseconds
   */
  showStale(since, nextTry) {
    this.showState("lost");
    document.body.classList.add("is-stale");
    if (!this.stale) return;
    setText(this.stale, "[data-live-since]", new Date(since).toLocaleTimeString());
    const left = nextTry === undefined ? 0 : Math.max(0, Math.round((nextTry - Date.now()) / 1000));
    setText(this.stale, "[data-live-next]", left > 0 ? `Next try in ${left} s.` : "Trying now.");
    this.stale.hidden = false;
  }

  showSignedOut() {
    this.showState("signed-out");
    const banner = document.getElementById("live-signed-out");
    if (banner) banner.hidden = false;
  }

  hideRefused() {
    const banner = document.getElementById("live-refused");
    if (banner) banner.hidden = true;
  }

  /** @param {string} reason */
  showRefused(reason) {
    this.showState("off");
    const banner = document.getElementById("live-refused");
    if (!banner) return;
    setText(banner, "[data-live-reason]", reason);
    banner.hidden = false;
  }
}

/**
 * @param {Element} parent
 * @param {string} selector
 * @param {string} text
 */
function setText(parent, selector, text) {
  const place = parent.querySelector(selector);
  if (place && place.textContent !== text) place.textContent = text;
}

function showTitle() {
  const title = document.querySelector("[data-live-title]")?.getAttribute("data-live-title");
  if (title) document.title = title;
}

/** Waits that double from half a second to 20 s, with jitter so that a fleet of tabs does not return as one. */
export class Backoff {
  constructor() {
    this.tries = 0;
  }

  reset() {
    this.tries = 0;
  }

  /** @returns {number} milliseconds */
  next() {
    const wait = Math.min(20_000, 500 * 2 ** this.tries);
    this.tries += 1;
    return wait / 2 + Math.random() * (wait / 2);
  }
}

/**
 * Call again and again, each time after the interval and up to `jitter_ms` more.
 * @param {number} interval_ms
 * @param {() => void} call
 * @param {number} [jitter_ms]
 */
export function every(interval_ms, call, jitter_ms = 0) {
  setTimeout(() => {
    call();
    every(interval_ms, call, jitter_ms);
  }, interval_ms + Math.random() * jitter_ms);
}
