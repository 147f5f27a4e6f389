// What is said of agents, workers and shares, the same in every card.

import { applianceNow } from "./api.js";
import { bytes, clock, known, plural, roughly } from "./format.js";

const MIB = 2 ** 20;
const DAY_SECONDS = 86400;

/** The path of our own endpoints of GPU sharing. */
export function sharingPath(rest, query = {}) {
  const asked = new URLSearchParams(query).toString();
  return `/api/appliance/sharing/${rest}${asked ? `?${asked}` : ""}`;
}

/** Whether this person may share, and change what they see. */
export function mayChange(person) {
  return person.role !== "viewer";
}

/** Whether this person may see everybody's. */
export function mayShowAll(person) {
  return person.role === "operator" || person.role === "admin";
}

/** When a moment was, from now: "12 s ago". */
export function ago(unixSeconds) {
  if (!known(unixSeconds)) return "never";
  const seconds = Math.max(0, applianceNow() - unixSeconds);
  return seconds < DAY_SECONDS ? `${roughly(seconds)} ago` : clock(unixSeconds);
}

const AGENT_LEVELS = { online: "ok", offline: "critical" };
const WORKER_LEVELS = { running: "ok", pending: "warning", stopping: "warning" };
const SHARE_WORDS = { live: "live", expired: "expired", used_up: "used up" };

/** An agent's state as [level, words]. */
export function agentState(agent) {
  return [AGENT_LEVELS[agent.status] ?? "", agent.status];
}

/** A worker's state as [level, words]; one that does not run though it shall is a problem. */
export function workerState(worker) {
  return [WORKER_LEVELS[worker.status] ?? (worker.enabled ? "critical" : ""), worker.status];
}

/** Why a worker does not run; empty for one that does. `agent` may be missing. */
export function whyNotRunning(worker, agent) {
  if (worker.why) return worker.why;
  if (worker.status === "running") return agent?.status === "offline" ? "as its agent said last, which is offline now" : "";
  if (!worker.enabled) return worker.status === "stopping" ? "disabled, ends now" : "disabled";
  if (agent?.status === "pending") return "its agent has not reported yet";
  if (agent?.status === "offline") return "its agent is offline";
  return worker.status === "pending" ? "its agent has not reported it yet" : "as its agent reports";
}

/** A share's state as [level, words]. */
export function shareState(share) {
  if (share.state === "live" && share.problem) return ["critical", "not reachable"];
  return [share.state === "live" ? "ok" : "", SHARE_WORDS[share.state] ?? share.state];
}

/** How a GPU is called: its place on its host, and what it is. */
export function gpuName(gpu) {
  return `GPU ${gpu.gpu_index} ${gpu.model}`;
}

/** GPU memory as it is told, in MiB. */
export function memory(mebibytes) {
  return known(mebibytes) ? bytes(mebibytes * MIB) : "";
}

/** A worker's limits in words, or none. */
export function limitWords(worker) {
  const parts = [known(worker.vram_mb) && `${memory(worker.vram_mb)} of GPU memory`, known(worker.compute_percent) && `${worker.compute_percent} % of compute`].filter(Boolean);
  return parts.join(", ") || "no limits";
}

/** Whether something holds a worker to its limits, as [level, words, why]; null where it has none. */
export function enforcement(worker) {
  if (worker.limits === "none") return null;
  return [worker.limits === "enforced" ? "ok" : "warning", worker.limits, worker.limits_reason];
}

/** Who may connect to a share. */
export function accessWords(share) {
  if (!share.is_relayed) return "whoever reaches its host";
  if (share.access === "open") return "anyone";
  if (share.access === "cidr") return share.networks.length ? share.networks.join(", ") : "networks as configured";
  return "whoever opened the link";
}

/** How often a share's link was opened, as [count, whether that is all]. */
export function useWords(share) {
  return known(share.max_uses) ? [`${share.used_count} of ${share.max_uses}`, ""] : [String(share.used_count), "no limit"];
}

/** When a share ends, as [from now, by the clock]. */
export function expiryWords(share) {
  const at = share.expires_unix_s;
  if (!known(at)) return ["never", ""];
  const left = at - applianceNow();
  return [left > 0 ? `in ${roughly(left)}` : `${roughly(-left)} ago`, clock(at)];
}

/** What passes through a share, as [connections, bytes]; nothing is known of those that other hosts serve. */
export function trafficWords(share) {
  if (!share.is_relayed) return ["not seen from here", ""];
  const most = known(share.max_connections) ? ` of ${share.max_connections}` : "";
  return [`${share.connections_live}${most} live`, bytes(share.bytes_total)];
}

/** What becomes of whoever uses a share that is revoked. */
export function revocationWords(share) {
  if (!share.is_relayed) return "Its link leads nowhere from then on. It is served by another host: only its code can be withdrawn from here, and who is connected there may stay connected.";
  const cut = share.connections_live ? ` ${plural(share.connections_live, "live connection")} ${share.connections_live === 1 ? "is" : "are"} cut.` : " Whoever is connected is cut off.";
  return `Its link and its port lead nowhere from then on.${cut}`;
}

/** The next listen port that no worker of an agent has. */
export function freePort(workers, first = 9001) {
  const taken = new Set(workers.map((worker) => worker.listen_port));
  let port = first;
  while (taken.has(port)) port += 1;
  return port;
}

/** Networks as people write them, by commas or blanks. */
export function networksOf(words) {
  return words.split(/[\s,;]+/).filter(Boolean);
}
