// What is said of the build swarm, the same on each of its pages, and where things of it are found.

import { applianceNow } from "./api.js";
import { clock, dateTime, known, NONE, plural, roughly, span } from "./format.js";

const API = "/api/appliance/swarm";
const PAGES = "/ui/swarm";
const DAY_SECONDS = 86400;

/** Every state of a package in the order of its life, with the colour of its badge. */
export const STATES = [["needed", ""], ["delegated", "ok"], ["received", "ok"], ["blocked", "critical"], ["failed", "critical"]];
const LEVELS = new Map(STATES);
const OUTCOMES = { success: "ok", returned: "" };

/** What a drone may be, as words; only the first two are ever restarted as a whole. */
export const TYPES = [["lxc", "LXC container"], ["qemu", "virtual machine"], ["bare-metal", "bare metal"], ["unknown", "not known"]];

/** What self-healing does at each level. */
export const LEVEL_WORDS = ["nothing is wrong", "its service was restarted", "its service was killed and started", "it was restarted", "somebody has to look"];

/** The path of one of our own endpoints; `query` may hold lists, and what is empty in it is left out. */
export function swarmPath(rest, query = {}) {
  const asked = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) if (one !== "" && one !== null && one !== undefined) asked.append(name, one);
  }
  return `${API}${rest}${asked.size ? `?${asked}` : ""}`;
}

/** The path of our own endpoints about one drone. */
export function dronePath(name, rest = "", query = {}) {
  return swarmPath(`/drones/${encodeURIComponent(name)}${rest}`, query);
}

/** The address of a page of the swarm: "" is the queue. */
export function swarmPage(rest = "", query = {}) {
  const asked = new URLSearchParams(Object.entries(query).filter(([, value]) => value));
  return `${PAGES}${rest}${asked.size ? `?${asked}` : ""}`;
}

/** The address of a drone's page. */
export function dronePage(name, rest = "") {
  return swarmPage(`/drones/${encodeURIComponent(name)}${rest}`);
}

/** Whether this person may do anything here but look. */
export function mayOperate(person) {
  return person.role === "operator" || person.role === "admin";
}

/** A package's state as [level, words, why]. */
export function packageState(one) {
  const words = one.state === "delegated" ? (known(one.building_since_unix_s) ? "building" : "given out") : one.state;
  const level = one.state === "delegated" && !known(one.building_since_unix_s) ? "warning" : LEVELS.get(one.state) ?? "";
  return [level, words, one.error || one.why || ""];
}

/** What a drone is doing, as [level, words]. */
export function droneState(drone) {
  if (drone.status !== "online") return ["critical", "offline"];
  if (known(drone.grounded_until_unix_s) && drone.grounded_until_unix_s > applianceNow()) return ["critical", "grounded"];
  if (drone.is_paused) return ["warning", "paused"];
  return ["ok", building(drone).length ? "building" : "ready"];
}

/** What a drone builds just now. */
export function building(drone) {
  return drone.progress.filter((one) => known(one.elapsed_seconds));
}

/** How a build ended, as [level, words, why]. */
export function outcomeOf(build) {
  return [OUTCOMES[build.status] ?? "critical", build.status.replaceAll("_", " "), build.error ?? ""];
}

/** When a moment was, from now: "12 s ago". */
export function ago(unixSeconds) {
  if (!known(unixSeconds)) return "never";
  const seconds = Math.max(0, applianceNow() - unixSeconds);
  return seconds < DAY_SECONDS ? `${roughly(seconds)} ago` : dateTime(unixSeconds);
}

/** When something will be, from now and by the clock. */
export function soon(unixSeconds) {
  const left = unixSeconds - applianceNow();
  return `${left > 0 ? `in ${roughly(left)}` : "any moment"}, ${left > DAY_SECONDS ? dateTime(unixSeconds) : clock(unixSeconds)}`;
}

/** A length of time of which the shortest still say something. */
export function took(seconds) {
  if (!known(seconds)) return NONE;
  return seconds < 1 ? "less than 1 s" : span(seconds);
}

/** How far a build is: "4 min 10 s of about 5 min 0 s". */
export function progressWords(one) {
  const done = took(one.elapsed_seconds);
  return known(one.estimated_seconds) ? `${done} of about ${took(one.estimated_seconds)}` : `${done}, nobody knows yet how long`;
}

/** How long a package waits, is built or was built, as two lines. */
export function packageTimes(one) {
  if (known(one.completed_unix_s)) return [ago(one.completed_unix_s), ""];
  if (known(one.elapsed_seconds)) return [`builds ${took(one.elapsed_seconds)}`, known(one.estimated_seconds) ? `of about ${took(one.estimated_seconds)}` : ""];
  if (one.state !== "needed" && one.state !== "delegated") return [`queued ${ago(one.queued_unix_s)}`, ""];
  return [`waits ${took(Math.max(0, applianceNow() - one.queued_unix_s))}`, known(one.estimated_seconds) ? `takes about ${took(one.estimated_seconds)}` : ""];
}

/** How far a session is, as [percent of all that has ended, words]. */
export function sessionProgress(session) {
  const ended = session.completed + session.failed;
  const words = [`${session.completed} of ${plural(session.total, "package")} built`, session.failed ? `${session.failed} failed` : ""].filter(Boolean).join(", ");
  return [session.total ? (ended / session.total) * 100 : null, words];
}

/** What a session is called: the name that somebody gave it, or its id. */
export function sessionName(session) {
  return session.name || session.session_id;
}

/** Lines or words of atoms as a list, each once. */
export function atoms(words) {
  return [...new Set(words.split(/[\s,]+/).filter(Boolean))];
}
