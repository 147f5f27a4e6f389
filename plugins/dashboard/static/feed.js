// Events as a list, newest first.

import { attribute, el, keyed, text } from "./dom.js";
import { clock, dateTime } from "./format.js";

function row() {
  const dot = el("span", { class: "dot", role: "img" });
  const time = el("time");
  const said = el("span", { class: "text" });
  return {
    root: el("li", {}, dot, time, said),
    update(event) {
      const level = event.level === "warning" || event.level === "critical" ? event.level : "";
      attribute(dot, "class", `dot ${level}`);
      attribute(dot, "aria-label", event.level);
      text(time, clock(event.at_unix_s));
      attribute(time, "datetime", new Date(event.at_unix_s * 1000).toISOString());
      attribute(time, "title", `${dateTime(event.at_unix_s)}, ${event.kind}`);
      text(said, event.message || event.kind);
    },
  };
}

export class Feed {
  constructor(most) {
    this.most = most;
    this.events = new Map();
    this.list = el("ol", { class: "events" });
    this.empty = el("p", { class: "empty" }, "Nothing has happened yet.");
    this.root = el("div", {}, this.list, this.empty);
  }

  /** Add events in any order; each is shown once. */
  add(events) {
    for (const event of events) if (event.event_id !== null) this.events.set(event.event_id, event);
    const newest = [...this.events.values()].sort((a, b) => b.event_id - a.event_id).slice(0, this.most);
    this.events = new Map(newest.map((event) => [event.event_id, event]));
    keyed(this.list, newest, (event) => event.event_id, row);
    this.empty.hidden = newest.length > 0;
  }
}
