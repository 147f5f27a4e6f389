// Everything that has happened in the last days, and what happens now.

import { ask } from "./api.js";
import { choice, el } from "./dom.js";
import { Feed } from "./feed.js";
import { failure, frame } from "./shell.js";
import { follow } from "./stream.js";

const PAGE = 200;
const MOST_SHOWN = 1000;

const { main, setLive } = await frame("events");
const feed = new Feed(MOST_SHOWN);
const all = new Map();
let level = "all";
let last = 0;

function show() {
  const wanted = [...all.values()].filter((event) => level === "all" || event.level === level || (level === "warning" && event.level === "critical"));
  feed.events.clear();
  feed.add(wanted);
}

function add(events) {
  for (const event of events) {
    all.set(event.event_id, event);
    last = Math.max(last, event.event_id);
  }
  show();
}

const levels = choice("Which events", "level", [["all", "All"], ["warning", "Warnings"], ["critical", "Critical"]], level, (value) => {
  level = value;
  show();
});
main.append(
  el("div", { class: "page-head" }, el("div", {}, el("h1", {}, "Events"), el("p", { class: "muted" }, "Kept for 7 days, newest first.")), el("div", { class: "end" }, levels)),
  el("section", { class: "card", "aria-label": "Events" }, feed.root));

async function catchUp() {
  for (let more = true; more && all.size < MOST_SHOWN; ) {
    const answer = await ask(`/api/appliance/events/history?after=${last}&limit=${PAGE}`);
    add(answer.items);
    more = answer.next !== null;
  }
}

try {
  add((await ask(`/api/appliance/events/history?newest=true&limit=${PAGE}`)).items);
} catch (error) {
  main.append(failure(error));
}
setLive("", "connecting");
follow("/api/appliance/events", {
  events: { ready: () => {}, event: (event) => add([event]) },
  opened() {
    setLive("ok", "live");
    catchUp().catch(() => {}); // the next reconnect tries again
  },
  lost: () => setLive("critical", "not connected"),
  check: () => ask("/api/auth/me"),
});
