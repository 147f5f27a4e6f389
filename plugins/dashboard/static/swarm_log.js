// The log of one build as its drone sends it: followed while it is written, gone on with where a connection broke.

import { ask } from "./api.js";
import { el, text } from "./dom.js";
import { bytes, known } from "./format.js";
import { follow } from "./stream.js";
import { LogLines } from "./task_log.js";
import { swarmPath } from "./swarm_words.js";

const TAIL_BYTES = 524288; // of a long log, what is read at first
const NEAR_END_PIXELS = 30;

/** A view of one log, as {root, open(log), close()}. */
export function buildLogView() {
  const state = el("p", { class: "small muted", role: "status" });
  const download = el("a", { class: "button", href: "#" }, "Download");
  const place = el("div");
  const root = el("div", { class: "build-log" }, el("div", { class: "log-head" }, state, download), place);
  root.hidden = true;
  let lines = null;
  let stream = null;
  let shown = null;
  let offset = 0;
  let isPartial = false;
  let follows = true;
  let isOver = false;

  function toEnd() {
    if (follows) lines.root.scrollTop = lines.root.scrollHeight;
  }

  function add({ text: words, next_offset: next }) {
    const from = isPartial ? words.indexOf("\n") + 1 : 0; // the rest of a line whose start was not asked for
    if (!isPartial || from) {
      isPartial = false;
      lines.add("stdout", words.slice(from));
      lines.trim();
    }
    offset = next;
    text(state, `live: ${shown.atom}`);
    toEnd();
  }

  function connect() {
    stream = follow(() => swarmPath(`/logs/${encodeURIComponent(shown.log_id)}/stream`, { offset: String(offset) }), {
      events: {
        log: add,
        gap: ({ missing_bytes: missing }) => lines.say(`[${bytes(missing)} are not kept]`),
        end({ status }) {
          stream.close();
          isOver = true;
          text(state, `complete: ${shown.atom}${status ? `, ${status}` : ""}`);
          toEnd();
        },
      },
      opened: () => text(state, lines.isEmpty ? `nothing was written yet: ${shown.atom}` : `live: ${shown.atom}`),
      lost: () => text(state, "the connection is lost; it goes on where it broke"),
      check: () => ask("/api/auth/me"),
    });
  }

  // A browser has six connections to one host, for all its tabs: those that nobody looks at leave theirs.
  document.addEventListener("visibilitychange", () => {
    if (!shown || isOver) return;
    stream?.close();
    if (!document.hidden) connect();
  });

  function close() {
    stream?.close();
    shown = null;
    root.hidden = true;
  }

  return {
    root, close,
    get logId() {
      return shown?.log_id ?? null;
    },
    /** Open a log; of one whose length is not known, that is asked for first. */
    async open(wanted) {
      close();
      shown = wanted;
      root.hidden = false;
      text(state, "connecting");
      const log = known(wanted.size_bytes) ? wanted : { atom: "this build", ...wanted, ...(await ask(swarmPath(`/logs/${encodeURIComponent(wanted.log_id)}/about`)).catch(() => ({}))) };
      if (shown !== wanted) return; // another one was opened meanwhile
      shown = log;
      isOver = false;
      follows = true;
      lines = new LogLines();
      lines.root.setAttribute("aria-label", `Log of ${log.atom}`);
      lines.root.addEventListener("scroll", () => (follows = lines.root.scrollHeight - lines.root.scrollTop - lines.root.clientHeight < NEAR_END_PIXELS));
      place.replaceChildren(lines.root);
      offset = Math.max(0, (known(log.size_bytes) ? log.size_bytes : 0) - TAIL_BYTES);
      isPartial = offset > 0;
      download.href = swarmPath(`/logs/${encodeURIComponent(log.log_id)}`);
      download.download = `${log.atom.replace(/[^A-Za-z0-9._+-]+/g, "_")}.log`;
      connect();
    },
  };
}
