// What is said of a registered machine, the same on every page.

import { applianceNow } from "./api.js";
import { badge } from "./badge.js";
import { attribute, el, text } from "./dom.js";
import { clock, known, NONE, roughly } from "./format.js";

/** Every state of a machine's life, in its order, with the colour of its badge. */
export const STATES = [["pending", ""], ["registered", ""], ["ready", "ok"], ["late", "warning"], ["expired", "critical"]];
const LEVELS = new Map(STATES);
const DAY_SECONDS = 86400;

function placed(machine, more = {}) {
  return new URLSearchParams({ pool: machine.pool, provider: machine.provider, ...more });
}

/** The path of a machine's own endpoints; its pool and provider go along, since ids are unique only within these. */
export function machinePath(machine, rest = "", more = {}) {
  return `/api/appliance/machines/${encodeURIComponent(machine.id)}${rest}?${placed(machine, more)}`;
}

/** The address of a machine's page. */
export function machinePage(machine) {
  return `/ui/machines/${encodeURIComponent(machine.id)}?${placed(machine)}`;
}

/** What tells one machine from all others. */
export function machineKey(machine) {
  return JSON.stringify([machine.provider, machine.pool, machine.id]);
}

/** Whether this person may make, mark and delete machines and pools. */
export function mayManage(person) {
  return person.role === "operator" || person.role === "admin";
}

/** Its state as [level, words]. */
export function stateOf(machine) {
  return [LEVELS.get(machine.state) ?? "", machine.state];
}

/** The state as a badge, kept by `update(machine)`. */
export function stateBadge() {
  return badge(stateOf);
}

/** Whether its newest figures are those of now: a machine that is late still counts as ready. */
export function isLive(machine) {
  return machine.state === "ready" || machine.state === "late";
}

/** What keeps new work away from it, or nothing. */
export function markWords(machine) {
  const marks = [machine.is_cordoned && "cordoned", machine.is_draining && "draining"].filter(Boolean);
  return marks.join(" and ");
}

/** The marks as a badge with their reason under it, kept by `update(machine)`. */
export function markBadge() {
  const mark = el("span", { class: "badge warning" });
  const reason = el("div", { class: "muted small" });
  const root = el("div", { class: "mark" }, mark, reason);
  return {
    root,
    update(machine) {
      const words = markWords(machine);
      root.hidden = !words;
      text(mark, words);
      text(reason, machine.mark_reason);
      attribute(reason, "title", machine.mark_reason || null);
    },
  };
}

/** Its GPUs: how many are free, where that was told, and what they are called. */
export function gpuWords(machine) {
  if (!machine.gpu_count) return "none";
  const { free_gpu_count: free, gpu_count: all } = machine;
  const count = isLive(machine) && known(free) ? `${free} of ${all} free` : String(all);
  return machine.gpu ? `${count}, ${machine.gpu}` : count;
}

/** When a moment was, from now: "12 s ago". */
export function ago(unixSeconds) {
  if (!known(unixSeconds)) return "never";
  const seconds = Math.max(0, applianceNow() - unixSeconds);
  return seconds < DAY_SECONDS ? `${roughly(seconds)} ago` : clock(unixSeconds);
}

/** What happens at the end of the time that a machine has left, as [what, seconds]; null where none runs. */
export function deadlineOf(machine) {
  const left = machine.deadline_in_seconds;
  if (!known(left)) return null;
  return [machine.state === "pending" ? "to register" : machine.state === "registered" ? "to send its first keepalive" : "until it is unlisted", left];
}

/** Its processors, as it registered them. */
export function cores(machine) {
  const { cpu_millicores: milli } = machine;
  if (!milli) return NONE;
  const count = milli / 1000;
  return `${Number.isInteger(count) ? count : count.toFixed(1)} ${count === 1 ? "core" : "cores"}`;
}
