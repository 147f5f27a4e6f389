// What is shown of a drone, on its card and on its page.

import { attribute, bar, el, keyed, text } from "./dom.js";
import { clock, known, NONE, number, percent, plural } from "./format.js";
import { pingWords } from "./swarm_drone_actions.js";
import { progressRow } from "./swarm_parts.js";
import { ago, LEVEL_WORDS, soon, TYPES } from "./swarm_words.js";

/** Facts as pairs, kept by `show([[name, value], ...])`; those without a value are left out. */
export function factList() {
  const root = el("dl", { class: "lines" });
  function row([name]) {
    const value = el("dd");
    return { root: el("div", {}, el("dt", {}, name), value), update: ([, found]) => text(value, found) };
  }
  return { root, show: (pairs) => keyed(root, pairs.filter(([, value]) => value), ([name]) => name, row) };
}

/** Processor and memory of a drone, as it tells them itself, as {root, update(drone)}. */
export function loadBars() {
  const one = (label, colour) => {
    const value = el("span", { class: "num" });
    const meter = bar(label, colour);
    return {
      root: el("li", {}, el("div", { class: "row" }, el("span", { class: "muted" }, label), value), meter.root),
      update(share, words) {
        text(value, words);
        meter.update(known(share) ? share : null, words);
      },
    };
  };
  const [cpu, ram] = [one("CPU", "c1"), one("Memory", "c2")];
  return {
    root: el("ul", { class: "load" }, cpu.root, ram.root),
    update(drone) {
      const isOnline = drone.status === "online";
      const load = known(drone.load_1m) ? `, load ${number(drone.load_1m, 1)}` : "";
      cpu.update(isOnline ? drone.cpu_percent : null, isOnline ? `${percent(drone.cpu_percent)}${load}` : NONE);
      ram.update(isOnline ? drone.ram_percent : null, isOnline ? percent(drone.ram_percent) : NONE);
    },
  };
}

/** What a drone has been given, with how far it is, as {root, update(drone)}. */
export function workList() {
  const list = el("ul", { class: "fs" });
  const empty = el("p", { class: "empty" });
  return {
    root: el("div", {}, list, empty),
    update(drone) {
      const begun = new Map(drone.progress.map((one) => [one.package, one]));
      const items = drone.assigned.map((atom) => begun.get(atom) ?? { package: atom, elapsed_seconds: null, estimated_seconds: null, progress_percent: null });
      keyed(list, items, (one) => one.package, progressRow);
      list.hidden = items.length === 0;
      empty.hidden = items.length > 0;
      text(empty, drone.current_task ? `It builds ${drone.current_task}, which is not of the queue.` : "It has nothing to build.");
    },
  };
}

/** Whether we may log in, and if not, by which command that is allowed, as {root, update(drone)}. */
export function approvalPart() {
  const words = el("p", { class: "small" });
  const command = el("code", { class: "secret" });
  const root = el("div", { class: "approval" }, words, command);
  return {
    root,
    update({ approval, approve_command: line }) {
      text(words, approval ? `Approved for ssh: ${approval.user}@${approval.address}${approval.port === 22 ? "" : `, port ${approval.port}`}` : "Not approved for ssh: no ping, healing, deployment or terminal. By command:");
      attribute(words, "class", approval ? "small muted" : "small");
      command.hidden = Boolean(approval);
      text(command, line);
    },
  };
}

/** How a drone is in a few short facts. */
export function droneFacts(drone) {
  const isGrounded = known(drone.grounded_until_unix_s) && drone.grounded_until_unix_s * 1000 > Date.now();
  return [
    drone.cores ? plural(drone.cores, "core") : "cores not told", drone.ram_gb ? `${number(drone.ram_gb)} GB` : "", drone.address, drone.version && `version ${drone.version}`,
    drone.status === "online" ? "" : `last seen ${ago(drone.last_seen_unix_s)}`,
    isGrounded && `grounded until ${clock(drone.grounded_until_unix_s)}`,
    drone.failures_in_row ? `${plural(drone.failures_in_row, "failure")} in a row` : "",
  ];
}

/** What self-healing has done, in words; empty while nothing is wrong. */
export function escalationWords({ escalation }) {
  if (!escalation?.level) return "";
  const { level, attempts, last_unix_s: at } = escalation;
  return `level ${level}: ${LEVEL_WORDS[level] ?? escalation.last_action ?? ""}${known(attempts) && attempts > 1 ? `, ${attempts} times` : ""}${known(at) ? `, ${ago(at)}` : ""}`;
}

/** Everything that is known of a drone, as pairs. */
export function dronePairs(drone) {
  const { approval } = drone;
  return [
    ["Id", drone.drone_id],
    ["Address", drone.address],
    ["Says it is", drone.claimed_ip && drone.claimed_ip !== drone.address ? `${drone.claimed_ip} (not used)` : ""],
    ["Tailscale", drone.tailscale_ip],
    ["Kind", drone.kind === "drone" ? "" : drone.kind],
    ["Type", TYPES.find(([type]) => type === drone.drone_type)?.[1] ?? drone.drone_type],
    ["Cores", drone.cores ? String(drone.cores) : ""],
    ["Memory", drone.ram_gb ? `${number(drone.ram_gb, 1)} GB` : ""],
    ["Version", drone.version],
    ["Built", `${drone.builds_completed}, ${drone.builds_failed} failed`],
    ["First seen", ago(drone.created_unix_s)],
    ["Last seen", ago(drone.last_seen_unix_s)],
    ["Grounded", known(drone.grounded_until_unix_s) && drone.grounded_until_unix_s * 1000 > Date.now() ? `ends ${soon(drone.grounded_until_unix_s)}` : ""],
    ["Healing", escalationWords(drone)],
    ["Last ping", approval ? pingWords(drone.last_ping) : ""],
    ["Approved", approval ? `by ${approval.approved_by}, ${ago(approval.approved_unix_s)}` : ""],
    ["Host key", approval?.host_key_fingerprint ?? ""],
  ];
}
