// What is said of a monitored server, the same on every page.

import { applianceNow } from "./api.js";
import { badge } from "./badge.js";
import { clock, known, roughly } from "./format.js";

const JUST_NOW_SECONDS = 10;
const DAY_SECONDS = 86400;
const NAMES = { cpu: "CPU", gpu: "GPU", io: "I/O" };

/** The path of a server's own endpoints. */
export function serverPath(slug) {
  return `/api/appliance/servers/${encodeURIComponent(slug)}`;
}

/** Whether this person may change that server: its owner, and operators. */
export function mayChange(person, server) {
  if (person.role === "admin" || person.role === "operator") return true;
  return person.role === "user" && server.owner !== "" && server.owner === person.name;
}

/** Whether this person may register servers. */
export function mayRegister(person) {
  return person.role !== "viewer";
}

/** Its state as [level, words]. */
export function stateOf(server) {
  if (!server.is_active) return ["", "disabled"];
  if (!known(server.last_seen_unix_s)) return ["", "never reported"];
  if (server.is_silent) return ["critical", `silent for ${roughly(applianceNow() - server.last_seen_unix_s)}`];
  return ["ok", "live"];
}

/** Whether its newest figures are those of now. */
export function isLive(server) {
  return stateOf(server)[0] === "ok";
}

/** When it was heard of last. */
export function lastSeen(server) {
  const at = server.last_seen_unix_s;
  if (!known(at)) return "never";
  const ago = applianceNow() - at;
  if (ago < JUST_NOW_SECONDS) return "just now";
  return ago < DAY_SECONDS ? `${roughly(ago)} ago` : clock(at);
}

/** The state as a badge, kept by `update(server)`. */
export function stateBadge() {
  return badge(stateOf);
}

/** A verdict's label as people read it: "gpu-bound" is "GPU bound". */
export function verdictWords(label) {
  const words = label.split(/[-_]/).map((word) => NAMES[word] ?? word).join(" ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
