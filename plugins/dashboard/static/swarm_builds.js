// Builds that were reported, and events, as the pages of history, of events and of one drone show them.

import { attribute, el, keyed, text } from "./dom.js";
import { clock, dateTime } from "./format.js";
import { rowButton, stateCell, twoLines } from "./sharing_parts.js";
import { table } from "./table.js";
import { droneCell } from "./swarm_parts.js";
import { ago, outcomeOf, took } from "./swarm_words.js";

const LEVELS = { fail: "warning", blocked: "warning", grounded: "critical", offline: "warning", stale: "warning", escalate: "critical", escalation: "critical", reboot: "critical", alert: "critical", warn: "warning" };

/** A table of builds; `openLog(build)`, where given, is offered for those whose log is kept. */
export function buildTable({ withDrone = true, openLog = null } = {}) {
  return table("Builds", [
    ["Package", (one) => one.atom],
    ["Result", stateCell(outcomeOf)],
    ...(withDrone ? [["Drone", droneCell((one) => one.drone)]] : []),
    ["Took", (one) => took(one.duration_s)],
    ["When", twoLines((one) => [ago(one.built_unix_s), one.session_id ?? ""])],
  ], (one) => one.build_id, openLog ? (first) => {
    const button = rowButton("Log", `Log of ${first.atom}`, () => openLog(first));
    return { nodes: [button], update: (one) => (button.hidden = !one.log_id) };
  } : null);
}

/** Events of the swarm as a list, newest first, kept by `show(items)`. */
export function eventList() {
  const list = el("ol", { class: "events" });
  const empty = el("p", { class: "empty" });
  function row() {
    const dot = el("span", { class: "dot", "aria-hidden": "true" });
    const time = el("time");
    const kind = el("span", { class: "badge" });
    const said = el("span");
    return {
      root: el("li", {}, dot, time, el("span", { class: "text" }, kind, " ", said)),
      update(event) {
        const level = LEVELS[event.type] ?? "";
        attribute(dot, "class", `dot ${level}`);
        text(time, clock(event.at_unix_s));
        attribute(time, "datetime", new Date(event.at_unix_s * 1000).toISOString());
        attribute(time, "title", dateTime(event.at_unix_s));
        attribute(kind, "class", `badge ${level}`);
        text(kind, event.type);
        text(said, event.message);
      },
    };
  }
  return {
    root: el("div", {}, list, empty),
    show(items, whenEmpty) {
      keyed(list, items, (event) => event.event_id, row);
      empty.hidden = items.length > 0;
      text(empty, whenEmpty);
    },
  };
}

/**
 * Something long, newest first, of which more can be asked for. `fetch(query)` gives {items, next}; `read()` reads
 * anew what is shown, `more` is the button that adds older ones.
 */
export function older(rows, most, fetch, key, changed) {
  let limit = rows;
  let items = [];
  let next = null;
  const more = el("div", { class: "more-rows" }, el("button", { type: "button", on: { click: () => { limit = Math.min(most, limit + rows); changed(); } } }, `Show ${rows} more`));
  more.hidden = true;
  return {
    more,
    reset: () => (limit = rows),
    async read() {
      const found = new Map();
      let before = null;
      do {
        const page = await fetch({ limit: Math.min(200, limit - found.size), before });
        for (const item of page.items) found.set(key(item), item);
        next = page.next;
        before = next;
      } while (next !== null && found.size < limit);
      items = [...found.values()];
      more.hidden = next === null || limit >= most;
      return items;
    },
    get items() {
      return items;
    },
  };
}
