// The log of a task as it is written: lines of two streams, followed live, with no line lost or twice after a break.

import { ask } from "./api.js";
import { attribute, choice, el, text } from "./dom.js";
import { bytes, plural } from "./format.js";
import { follow } from "./stream.js";
import { outcome, taskPath } from "./task_words.js";

const LINES_MAX = 5000; // so many are shown; a browser takes long for more, and the file has them all
const LINE_CHARS = 16384; // longer lines are shown in parts
const TAIL_BYTES = 524288; // of a long log, what is read at first
const NEAR_END_PIXELS = 30;
// Escape sequences of ECMA-48 (colours, titles, cursor moves), and what else has no look of its own.
const CONTROLS = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\|$)|[@-Z\\-_])|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g;
const SHOWN = [["both", "Both"], ["stdout", "stdout"], ["stderr", "stderr"]];

/** A line as a terminal shows it: what stands before a carriage return is written over by what comes after. */
export function shownLine(line) {
  const written = line.replace(/[\r\n]+$/, "");
  return written.slice(written.lastIndexOf("\r") + 1).replace(CONTROLS, "");
}

/** The lines of both streams, in the order in which they began. */
export class LogLines {
  constructor() {
    this.root = el("div", { class: "log mono", tabindex: "0", role: "region", "aria-label": "Log of the task" });
    this.open = {};
    this.dropped = 0;
  }

  /** Add text of a stream: a line that has not ended goes on with the next text of its stream. */
  add(stream, words) {
    const parts = words.match(/[^\n]*\n|[^\n]+$/g) ?? [];
    if (parts.length > LINES_MAX) { // of which only the last would stay
      this.dropped += parts.length - LINES_MAX;
      this.open[stream] = null;
    }
    for (const part of parts.slice(-LINES_MAX)) {
      const line = (this.open[stream] ??= this.begin(stream));
      line.raw = (line.raw + part).replace(/^[^]*\r(?=[^\r\n])/, "");
      text(line.root, shownLine(line.raw));
      if (part.endsWith("\n") || line.raw.length > LINE_CHARS) this.open[stream] = null;
    }
  }

  begin(stream) {
    return { root: this.root.appendChild(el("div", { class: stream })), raw: "" };
  }

  /** Say something in between that the task has not written. */
  say(words) {
    this.open = {};
    this.root.append(el("div", { class: "said" }, words));
  }

  /** Keep to as many lines as a browser can bear. */
  trim() {
    while (this.root.childElementCount > LINES_MAX) {
      this.root.firstElementChild.remove();
      this.dropped += 1;
    }
  }

  get isEmpty() {
    return this.root.childElementCount === 0;
  }
}

export class LogCard {
  constructor(id) {
    this.id = id;
    this.offset = 0;
    this.isPaused = false;
    this.lines = new LogLines();
    this.follows = true;
    this.state = el("span", { class: "sub", role: "status" });
    this.above = el("p", { class: "small muted" });
    this.pause = el("button", { type: "button", on: { click: () => (this.isPaused ? this.resume() : this.stop()) } }, "Pause");
    this.toEnd = el("button", { type: "button", on: { click: () => this.scrollToEnd() } }, "To the end");
    this.download = el("a", { class: "button", href: taskPath(id, "/log"), download: `${id}.log` }, "Download");
    const streams = choice("Which of its two streams", "log-streams", SHOWN, "both", (value) => {
      attribute(this.lines.root, "data-shown", value);
      if (this.follows) this.scrollToEnd();
    });
    this.lines.root.addEventListener("scroll", () => this.noteScroll());
    this.toEnd.hidden = this.above.hidden = true;
    this.root = el("section", { class: "card wide", "aria-label": "Log" },
      el("header", {}, el("h2", {}, "Log"), this.state),
      el("div", { class: "filters" }, streams, this.pause, this.toEnd, this.download),
      this.above, this.lines.root);
  }

  /** Begin to read; of a log that is long already, its end. */
  start(logBytes) {
    this.offset = Math.max(0, logBytes - TAIL_BYTES);
    this.isPartial = this.offset > 0;
    if (this.isPartial) this.tellAbove();
    // A browser has six connections to one host, for all its tabs: those that nobody looks at leave theirs.
    document.addEventListener("visibilitychange", () => (document.hidden ? this.stream?.close() : this.reconnect()));
    this.connect();
  }

  connect() {
    text(this.state, "connecting");
    this.stream = follow(() => taskPath(this.id, "/log/stream", { offset: String(this.offset) }), {
      events: { log: (data) => this.add(data), gap: ({ missing_bytes: missing }) => this.gap(missing), end: (data) => this.end(data) },
      opened: () => text(this.state, this.lines.isEmpty ? "nothing was written yet" : "live"),
      lost: () => text(this.state, "the connection is lost; it goes on where it broke"),
      check: () => ask("/api/auth/me"),
    });
  }

  add({ parts, next_offset: next }) {
    for (const { stream, text: words } of parts) {
      const begun = this.isPartial && words.match(/^[^\r\n]*(?:\r\n?|\n)/); // the rest of a line whose start was not asked for
      if (this.isPartial && !begun) continue;
      this.isPartial = false;
      this.lines.add(stream, begun ? words.slice(begun[0].length) : words);
    }
    this.offset = next;
    this.lines.trim();
    if (this.lines.dropped) this.tellAbove();
    if (this.follows) this.scrollToEnd();
    text(this.state, "live");
  }

  gap(missing) {
    this.lines.say(`[${bytes(missing)} are not kept]`);
  }

  end({ state, exit_code: code }) {
    this.stream.close();
    this.isOver = true;
    this.pause.hidden = true;
    text(this.state, `${this.lines.isEmpty ? "nothing was written" : "complete"}: the task ${outcome(state)}${code === null ? "" : `, exit code ${code}`}`);
    if (this.follows) this.scrollToEnd();
  }

  stop() {
    this.isPaused = true;
    this.stream.close();
    text(this.pause, "Go on");
    text(this.state, "paused");
  }

  resume() {
    this.isPaused = false;
    text(this.pause, "Pause");
    this.follows = true;
    this.connect();
  }

  /** Connect anew: a connection that was cut without a word gives no error. */
  reconnect() {
    if (this.isPaused || this.isOver || !this.stream) return;
    this.stream.close();
    this.connect();
  }

  tellAbove() {
    this.above.hidden = false;
    text(this.above, this.lines.dropped ? `The last ${plural(LINES_MAX, "line")} are shown; the file has all that is kept.` : `The last ${bytes(TAIL_BYTES)} are shown; the file has all that is kept.`);
  }

  noteScroll() {
    const { scrollHeight, scrollTop, clientHeight } = this.lines.root;
    this.follows = scrollHeight - scrollTop - clientHeight < NEAR_END_PIXELS;
    this.toEnd.hidden = this.follows;
  }

  scrollToEnd() {
    this.lines.root.scrollTop = this.lines.root.scrollHeight;
  }
}
