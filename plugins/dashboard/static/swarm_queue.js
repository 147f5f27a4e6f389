// The queue in pages of so many packages, and the blocked ones with what they failed of.

import { ask } from "./api.js";
import { attribute, bar, el, text } from "./dom.js";
import { known, plural } from "./format.js";
import { longTable, rowButton, stateCell, twoLines } from "./sharing_parts.js";
import { table } from "./table.js";
import { card, droneCell, filters, pager, send } from "./swarm_parts.js";
import { packageState, packageTimes, sessionName, STATES, swarmPath } from "./swarm_words.js";

const ROWS = 50;
const EVERY_SESSION = "*";
const BLOCKED_ROWS = 50;

/** What can be done with one package, by what it is. */
function packageButtons(first, { page, changed }) {
  let one = first;
  const does = [
    ["unblock", "Unblock", "is needed again.", ["blocked", "failed"]],
    ["reclaim", "Take back", "is taken back; whoever asks next builds it.", ["delegated"]],
    ["block", "Block", "is blocked: nobody builds it.", ["needed"]],
  ];
  const buttons = does.map(([action, label, done]) => rowButton(label, "", async () => {
    await page.act(() => send(swarmPath("/control"), { action, package: one.atom }), ({ affected, message }) => (affected ? `${one.atom} ${done}` : message || `${one.atom} is not what it was any more.`));
    await changed();
  }));
  return {
    nodes: buttons,
    update(item) {
      one = item;
      does.forEach(([, label, , states], i) => {
        buttons[i].hidden = !states.includes(one.state);
        attribute(buttons[i], "aria-label", `${label}: ${one.atom}`);
      });
    },
  };
}

/** Who builds a package, and how far it is. */
function workCell() {
  const drone = droneCell((one) => one.drone).part();
  const share = el("span", { class: "small muted" });
  const meter = bar("", "c1");
  return {
    root: el("div", { class: "grow" }, drone.root, " ", share, meter.root),
    update(one) {
      drone.update(one);
      const isBuilt = known(one.progress_percent);
      text(share, isBuilt ? `${one.progress_percent} %` : "");
      attribute(meter.root, "aria-label", `Progress of ${one.atom}`);
      meter.root.hidden = !isBuilt;
      meter.update(isBuilt ? one.progress_percent : null, share.textContent);
    },
  };
}

function needsWords({ needs, waits_for: after }) {
  const words = [needs?.cores && plural(needs.cores, "core"), needs?.memory_mib && `${needs.memory_mib} MiB`, ...(needs?.capabilities ?? [])];
  return [...words.filter(Boolean), after?.length ? `after ${plural(after.length, "package")}` : ""].filter(Boolean).join(", ");
}

/** The card of the queue: `read()` asks for the page that is looked at, `show(overview, sessions)` shows it. */
export function queueCard(shared) {
  const { page, changed } = shared;
  let found = { items: [], total: 0 };
  const pages = pager(ROWS, changed);
  const chosen = filters({ state: { label: "State" }, session: { label: "Session" }, search: { label: "Search packages", search: true, hint: "part of a name" } }, () => {
    pages.reset();
    changed();
  });
  const list = table("Packages", [
    ["Package", twoLines((one) => [one.atom, [one.priority ? `priority ${one.priority}` : "", needsWords(one)].filter(Boolean).join(", ")], { strong: true })],
    ["State", stateCell(packageState)],
    ["Drone", { part: workCell }],
    ["Failures", (one) => (one.failures ? String(one.failures) : "none")],
    ["Time", twoLines(packageTimes)],
  ], (one) => one.package_id, page.mayAct ? (one) => packageButtons(one, shared) : null);
  list.root.classList.add("queue");
  const root = card("Queue", {}, chosen.root, list.root, pages.root);
  return {
    root,
    async read() {
      found = await ask(swarmPath("/packages", { ...chosen.chosen, limit: ROWS, offset: pages.offset }));
    },
    show({ counts, session }, sessions) {
      const total = Object.values(counts).reduce((sum, one) => sum + one, 0);
      chosen.offer("state", [["", `all states (${total})`], ...STATES.map(([state]) => [state, `${state} (${counts[state]})`])]);
      chosen.offer("session", [...(session ? [["", "the open one"]] : []), [session ? EVERY_SESSION : chosen.chosen.session && EVERY_SESSION, "all sessions"], ...sessions.map((one) => [one.session_id, sessionName(one)])]);
      list.show(found.items, chosen.isSet ? "No such package is here." : page.mayAct ? "The queue is empty. Press “Add packages” to have something built." : "The queue is empty.");
      pages.show(found.items.length, found.total);
    },
  };
}

/** The card of blocked packages; hidden while there are none. */
export function blockedCard(shared) {
  const { page } = shared;
  let found = { items: [], total: 0 };
  const list = longTable("Blocked packages", [
    ["Package", (one) => one.atom],
    ["Why", (one) => one.error || "nobody said why"],
    ["Failed on", (one) => one.failed_drones.join(", ") || "no drone"],
    ["Failures", (one) => String(one.failures)],
  ], (one) => one.package_id, page.mayAct ? (one) => packageButtons(one, shared) : null);
  const sub = el("span", { class: "sub" });
  const root = card("Blocked", { sub }, list.root);
  root.hidden = true;
  return {
    root,
    async read() {
      found = await ask(swarmPath("/packages", { state: "blocked", session: EVERY_SESSION, limit: BLOCKED_ROWS }));
    },
    show() {
      root.hidden = found.total === 0;
      text(sub, found.total > found.items.length ? `the first ${found.items.length} of ${found.total}` : plural(found.total, "package"));
      list.show(found.items, "");
    },
  };
}
