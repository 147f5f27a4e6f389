// One server-sent-events connection that comes back by itself.

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 15000;

/**
 * Follow an event stream; `path` may be a function that says where to go on with each new connection. `events` maps event names to functions of the decoded data; `lost(secondsToNextTry)` is told
 * when it breaks; `check()` runs before each new try and may reject (nothing reachable) or leave the page (401).
 * A half-open connection (a laptop that slept, a cut tunnel) gives no error: after `silenceSeconds()` it counts as lost.
 */
export function follow(path, { events, opened, lost, check, silenceSeconds = () => Infinity }) {
  let source = null;
  let wait = FIRST_WAIT_MS;
  let timer = 0;
  let silence = 0;
  let closed = false;

  function heard() {
    clearTimeout(silence);
    const seconds = silenceSeconds();
    if (Number.isFinite(seconds)) silence = setTimeout(again, seconds * 1000);
  }

  function open() {
    if (closed) return;
    const mine = (source = new EventSource(typeof path === "function" ? path() : path));
    heard();
    mine.onopen = () => {
      wait = FIRST_WAIT_MS;
      heard();
      opened();
    };
    mine.onerror = () => mine === source && again();
    for (const [name, handle] of Object.entries(events)) {
      mine.addEventListener(name, (message) => {
        if (mine !== source) return;
        heard();
        handle(JSON.parse(message.data));
      });
    }
  }

  // EventSource gives up for good on any status but 200 and retries without back-off otherwise: we do both ourselves.
  function again() {
    source?.close();
    source = null;
    clearTimeout(silence);
    clearTimeout(timer);
    if (closed) return;
    lost(wait / 1000);
    timer = setTimeout(attempt, wait);
    wait = Math.min(LONGEST_WAIT_MS, wait * 1.7);
  }

  async function attempt() {
    try {
      await check();
      open();
    } catch {
      again();
    }
  }

  function now() {
    if (source || closed) return;
    wait = FIRST_WAIT_MS;
    clearTimeout(timer);
    attempt();
  }

  window.addEventListener("online", now);
  document.addEventListener("visibilitychange", () => document.hidden || now());
  window.addEventListener("pagehide", () => {
    source?.close();
    source = null;
    clearTimeout(silence);
    clearTimeout(timer);
  });
  window.addEventListener("pageshow", (event) => event.persisted && now());
  open();
  return {
    retryNow: now,
    close() {
      closed = true;
      source?.close();
      clearTimeout(timer);
      clearTimeout(silence);
    },
  };
}
