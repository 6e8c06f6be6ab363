// Live pages. The socket carries hints, never data: a hint makes the regions of its topic fetch themselves again
// through a normal view, which checks permissions like any page.
//
// REGION CONTRACT (also in templates/parts/README.md)
//   <section id="run-progress" data-live-topic="run:42"
//            hx-get="/runs/42/progress/" hx-trigger="live:refresh" hx-swap="morph:outerHTML">
//   1. The fragment view answers the same element: same tag, same id, same attributes. An element that comes back
//      without data-live-topic is no longer live (a run that has ended).
//   2. A region needs an id; a topic may have many regions; a region may name several topics, separated by spaces.
//   3. No form inside a region: a swap may come while somebody types. Buttons with their own POST form stand outside.
//   4. An answer 204 or 304 changes nothing. A redirect to the sign-in page is recognised and never swapped in.
//   5. <details> keeps its state over a swap; a field that has the focus keeps its text.
//   6. data-live-title="63 % · db-01" on a region sets the tab's title.
//
// SOCKET CONTRACT (backupsite/runs/consumers.py)
//   connect:    <body data-socket="/ws/live/">  ->  GET /ws/live/?topic=run:42&topic=fleet  (authorised once, at
//               connect; the client never sends anything; other topics mean a new connection)
//   messages:   {"t":"beat"} at once and every 5 s; {"t":"hint","topic":"run:42","id":…,"seq":17}; others are ignored
//   close code: 4401 signed out, 4403 not allowed, 4404 unknown topic: never retried. 4429 too many sockets: the page
//               only polls. All others are retried, ever more slowly.
//   The server accepts before it decides, so a socket counts as live at its first message, not when it opens.
import { Backoff, every, LiveView } from "./live_view.js";

const BEAT_MISSED_MS = 11_000;
const STALE_MS = 15_000;
const POLL_MS = 30_000;
const MERGE_MS = 150;

class Live {
  /** @param {string} path of the socket */
  constructor(path) {
    this.path = path;
    this.view = new LiveView(() => this.retryNow());
    this.backoff = new Backoff();
    /** @type {WebSocket | null} */
    this.socket = null;
    this.topics = "";
    this.lastSeen = Date.now();
    this.isOver = false;
    this.isAdmitted = false;
    this.isPolling = false;
    /** @type {number | undefined} */
    this.retryTimer = undefined;
    /** @type {Set<string>} topics that wait for one merged refresh */
    this.rung = new Set();
  }

  start() {
    this.connect();
    every(1000, () => this.tick());
    every(POLL_MS, () => this.refreshAll(), POLL_MS / 3);
    document.addEventListener("visibilitychange", () => {
      if (document.hidden || this.isOver) return;
      this.refreshAll();
      if (!this.isOpen()) this.retryNow();
    });
    document.addEventListener("htmx:afterSettle", () => this.followTopics());
    document.addEventListener("htmx:beforeSwap", (event) => this.guardSwap(/** @type {CustomEvent} */ (event)));
    document.addEventListener("htmx:responseError", (event) => this.explainRefusal(/** @type {CustomEvent} */ (event)));
    window.addEventListener("online", () => this.retryNow());
    window.addEventListener("pagehide", () => this.drop());
    window.addEventListener("pageshow", (event) => {
      if (event.persisted) this.retryNow();
    });
  }

  isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  /** Leave the socket without taking its end for a lost connection. */
  drop() {
    clearTimeout(this.retryTimer);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }

  connect() {
    this.drop();
    if (!this.topics) this.lastSeen = Date.now();
    this.isAdmitted = this.isPolling = false;
    this.topics = readTopics();
    if (!this.topics || this.isOver) {
      this.view.showState("off");
      return;
    }
    const query = this.topics.split(" ").map((topic) => `topic=${encodeURIComponent(topic)}`).join("&");
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}${this.path}?${query}`);
    this.socket = socket;
    this.startedAt = Date.now();
    socket.addEventListener("message", (event) => socket === this.socket && this.heard(String(event.data)));
    socket.addEventListener("close", (event) => socket === this.socket && this.closed(event.code));
  }

  /** @param {string} data */
  heard(data) {
    this.lastSeen = Date.now();
    this.view.showLive();
    if (!this.isAdmitted) {
      this.isAdmitted = true;
      this.backoff.reset();
      this.view.hideRefused();
      // Hints may have been missed while there was no socket.
      this.refreshAll();
    }
    const message = parseMessage(data);
    if (typeof message?.topic !== "string") return;
    this.rung.add(message.topic);
    if (this.rung.size === 1) {
      setTimeout(() => {
        const topics = this.rung;
        this.rung = new Set();
        refresh((topic) => topics.has(topic));
      }, MERGE_MS);
    }
  }

  /** @param {number} code */
  closed(code) {
    this.socket = null;
    if (code === 4401) return this.end(() => this.view.showSignedOut());
    if (code === 4403) return this.end(() => this.view.showRefused("Your role does not allow to watch this."));
    if (code === 4404) return this.end(() => this.view.showRefused("What it shows is no longer there."));
    if (code === 4429) {
      this.isPolling = true;
      return this.view.showRefused("Too many pages of yours are open. This one looks every half minute.");
    }
    this.retryIn(this.backoff.next());
  }

  /** @param {() => void} show */
  end(show) {
    this.isOver = true;
    clearTimeout(this.retryTimer);
    this.view.hideStale();
    show();
  }

  /** @param {number} delay_ms */
  retryIn(delay_ms) {
    this.nextTry = Date.now() + delay_ms;
    clearTimeout(this.retryTimer);
    this.retryTimer = setTimeout(() => this.connect(), delay_ms);
    this.view.showState("connecting");
  }

  retryNow() {
    if (this.isOver) return;
    this.backoff.reset();
    this.connect();
  }

  /** Once a second: has the server gone quiet? */
  tick() {
    if (this.isOver || this.isPolling || !this.topics) return;
    const silence = Date.now() - this.lastSeen;
    if (silence > STALE_MS) this.view.showStale(this.lastSeen, this.isOpen() ? undefined : this.nextTry);
    else if (silence > BEAT_MISSED_MS) this.view.showState("connecting");
    const connecting = this.socket?.readyState === WebSocket.CONNECTING;
    const tooLong = connecting && Date.now() - (this.startedAt ?? 0) > STALE_MS;
    if ((this.isOpen() && silence > STALE_MS) || tooLong) {
      this.drop();
      this.retryIn(this.backoff.next());
    }
  }

  refreshAll() {
    if (!document.hidden && !this.isOver) refresh(() => true);
  }

  /** After a swap: connect again when the page now shows other topics. */
  followTopics() {
    if (!this.isOver && readTopics() !== this.topics) this.connect();
  }

  /**
   * A fragment whose request ended at another address was redirected: the session is over.
   * @param {CustomEvent} event
   */
  guardSwap(event) {
    const { xhr, elt, pathInfo } = event.detail;
    if (!(elt instanceof Element) || !elt.closest("[data-live-topic]")) return;
    const isRedirected = xhr.responseURL && new URL(xhr.responseURL).pathname !== new URL(pathInfo.finalRequestPath, location.href).pathname;
    if (!isRedirected && xhr.status !== 401) return;
    event.detail.shouldSwap = false;
    this.drop();
    this.end(() => this.view.showSignedOut());
  }

  /**
   * A region that may not be fetched any more stays as it was: say that it is old.
   * @param {CustomEvent} event
   */
  explainRefusal(event) {
    const { xhr, elt } = event.detail;
    if (!(elt instanceof Element) || !elt.closest("[data-live-topic]")) return;
    if (xhr.status === 403) this.view.showRefused("You may no longer see this.");
    if (xhr.status === 404) this.view.showRefused("What it shows is no longer there.");
  }
}

/** @returns {string} the topics of the page's regions, sorted, separated by spaces */
function readTopics() {
  const topics = new Set();
  for (const region of document.querySelectorAll("[data-live-topic]")) {
    for (const topic of topicsOf(region)) topics.add(topic);
  }
  return [...topics].sort().join(" ");
}

/** @param {Element} region */
function topicsOf(region) {
  return (region.getAttribute("data-live-topic") ?? "").split(/\s+/).filter(Boolean);
}

/** @param {(topic: string) => boolean} wants */
function refresh(wants) {
  for (const region of document.querySelectorAll("[data-live-topic]")) {
    if (topicsOf(region).some(wants)) region.dispatchEvent(new CustomEvent("live:refresh"));
  }
}

/**
 * @param {string} data
 * @returns {{t?: unknown, topic?: unknown} | null}
 */
function parseMessage(data) {
  try {
    const message = JSON.parse(data);
    return typeof message === "object" ? message : null;
  } catch {
    return null;
  }
}

/** Keep what the reader opened or types when a region is morphed. */
function keepReadersState() {
  const { Idiomorph } = window;
  if (!Idiomorph) return;
  Idiomorph.defaults.ignoreActiveValue = true;
  Idiomorph.defaults.callbacks.beforeAttributeUpdated = (name, node) =>
    !(name === "open" && (node instanceof HTMLDetailsElement || node instanceof HTMLDialogElement));
}

export function startLive() {
  const path = document.body.dataset.socket;
  keepReadersState();
  if (path) new Live(path).start();
}
