// What has happened in the swarm, newest first, and what happens now.

import { ask } from "./api.js";
import { facts } from "./dom.js";
import { poll } from "./poll.js";
import { eventList, older } from "./swarm_builds.js";
import { card, filters, swarmFrame } from "./swarm_parts.js";
import { swarmPath } from "./swarm_words.js";

const EVERY_MS = 2000;
const ROWS = 100;
const MOST = 2000;
const TYPES = ["register", "assign", "complete", "fail", "return", "blocked", "unblock", "grounded", "offline", "stale", "reclaim", "rebalance", "queue", "session", "control", "escalation", "heal", "reboot", "alert", "warn", "release", "clean"];

const page = await swarmFrame("events", "Events of the swarm");
const changed = () => reading.now();
const seen = new Set(TYPES);
const chosen = filters({ type: { label: "What" }, drone: { label: "Drone" } }, () => {
  more.reset();
  changed();
});
const more = older(ROWS, MOST, (query) => ask(swarmPath("/events", { ...chosen.chosen, ...query })), (one) => one.event_id, changed);
const events = eventList();
facts(page.facts, ["kept for 7 days, newest first"]);
page.content.append(card("Events", {}, chosen.root, events.root, more.more));

async function read() {
  const [{ items: drones }] = await Promise.all([ask(swarmPath("/drones", { offline: "true" })), more.read()]);
  for (const event of more.items) seen.add(event.type);
  chosen.offer("type", [["", "everything"], ...[...seen].sort().map((type) => [type, type])]);
  chosen.offer("drone", [["", "all drones"], ...drones.map((one) => [one.name, one.name])]);
  events.show(more.items, chosen.isSet ? "No such event is here." : "Nothing has happened yet.");
  page.live();
}

const reading = poll(read, page.failed, EVERY_MS);
