// Reading the same thing again and again while somebody looks.

const EVERY_MS = 2000;
const LONGEST_MS = 15000;
const SHARE = 10; // an answer that took a second is asked for again after ten

/** Run `read` now and from then on while the page is visible; `failed(error)` is told, and the waits grow. */
export function poll(read, failed, everyMs = EVERY_MS) {
  let timer = 0;
  let running = false;
  let again = false;
  let wait = everyMs;

  async function run() {
    clearTimeout(timer);
    if (running) {
      again = true;
      return;
    }
    running = true;
    const begun = performance.now();
    try {
      await read();
      wait = Math.max(everyMs, SHARE * (performance.now() - begun));
    } catch (error) {
      wait = Math.min(LONGEST_MS, wait * 1.7);
      failed(error);
    }
    running = false;
    if (again) {
      again = false;
      run();
    } else if (!document.hidden) {
      timer = setTimeout(run, wait);
    }
  }

  document.addEventListener("visibilitychange", () => document.hidden || run());
  window.addEventListener("online", run);
  window.addEventListener("pagehide", () => clearTimeout(timer));
  window.addEventListener("pageshow", (event) => event.persisted && run());
  run();
  return { now: run };
}
