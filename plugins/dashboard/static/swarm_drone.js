// One drone: what it is and builds, its log as it is written, what it has built, what happened, and its system's log.

import { ask } from "./api.js";
import { el, facts, keyed, notice, text } from "./dom.js";
import { bytes, plural } from "./format.js";
import { selectField } from "./forms.js";
import { poll } from "./poll.js";
import { failure } from "./shell.js";
import { badge } from "./badge.js";
import { buildTable, eventList, older } from "./swarm_builds.js";
import { droneButtons } from "./swarm_drone_actions.js";
import { approvalPart, droneFacts, dronePairs, escalationWords, factList, loadBars, workList } from "./swarm_drone_parts.js";
import { buildLogView } from "./swarm_log.js";
import { card, swarmFrame } from "./swarm_parts.js";
import { ago, dronePath, droneState, swarmPage, swarmPath } from "./swarm_words.js";

const EVERY_MS = 2000;
const ROWS = 20;
const MOST = 1000;
const LOGS = 20;
const SYSLOGS = [["swarm-drone", "the drone's own"], ["emerge", "emerge"], ["portage", "Portage"], ["messages", "the system's"], ["dmesg", "the kernel's"]];
const LINES = [["100", "100 lines"], ["500", "500 lines"], ["2000", "2000 lines"]];

const name = decodeURIComponent(location.pathname.split("/")[4] ?? "");
const page = await swarmFrame("drones", name);
const changed = () => reading.now();
const shared = { page, changed };
document.title = `${name}: drone`;
let drone = null;
let buttons = null;

/** The logs that builds of this drone have sent, one of them open. */
function logsCard() {
  const view = buildLogView();
  const list = el("ul", { class: "logs" });
  const empty = el("p", { class: "empty" }, "It has sent no log of a build.");
  let chosenBySomebody = false;
  function row() {
    const button = el("button", { type: "button", class: "plain" });
    const words = el("span", { class: "muted small" });
    let log = null;
    button.addEventListener("click", () => {
      chosenBySomebody = true;
      view.open(log);
      mark();
    });
    return {
      root: el("li", {}, button, words),
      button,
      update(one) {
        log = one;
        text(button, one.atom);
        text(words, [one.is_live ? "is written now" : ago(one.ended_unix_s ?? one.started_unix_s), bytes(one.size_bytes), one.status].filter(Boolean).join(", "));
      },
    };
  }
  function mark() {
    for (const [id, part] of list.keyedParts ?? []) part.button.setAttribute("aria-pressed", String(id === view.logId));
  }
  return {
    root: card("Build logs", {}, list, empty, view.root),
    open(id, items) {
      const log = items.find((one) => one.log_id === id) ?? { log_id: id };
      chosenBySomebody = true;
      view.open(log);
      mark();
      view.root.scrollIntoView({ block: "nearest" });
    },
    show(items) {
      keyed(list, items, (one) => one.log_id, row);
      empty.hidden = items.length > 0;
      const live = items.find((one) => one.is_live);
      // What is being built is shown by itself, until somebody has chosen what to look at.
      if (!chosenBySomebody && live && view.logId !== live.log_id) view.open(live);
      mark();
    },
  };
}

/** The log of its system, fetched over ssh when asked for. */
function syslogCard() {
  const kind = selectField("Which", SYSLOGS);
  const lines = selectField("How much", LINES);
  const out = el("div", { class: "log mono", tabindex: "0", role: "region", "aria-label": `System log of ${name}` });
  const state = el("p", { class: "small muted", role: "status" });
  const button = el("button", { type: "button", on: { click: fetchIt } }, "Fetch");
  out.hidden = true;
  async function fetchIt() {
    text(state, "asking");
    try {
      const answer = await ask(dronePath(name, "/syslog", { type: kind.select.value, lines: lines.select.value }));
      out.replaceChildren(...answer.lines.map((line) => el("div", {}, line)));
      out.hidden = false;
      out.scrollTop = out.scrollHeight;
      text(state, answer.error || (answer.lines.length ? `${answer.is_cut ? "the last " : ""}${plural(answer.lines.length, "line")}, just now` : "there is nothing in it"));
    } catch (error) {
      text(state, "");
      page.said.say(failure(error));
    }
  }
  return { root: card("System log", {}, el("div", { class: "filters" }, kind.root, lines.root, button), state, out) };
}

const state = badge(droneState);
const missing = notice("warning", "There is no drone of this name. It may have been deleted. ", el("a", { href: swarmPage("/drones") }, "All drones"));
const healing = notice("warning");
const list = factList();
const load = loadBars();
const work = workList();
const approval = approvalPart();
const logs = logsCard();
const syslog = page.mayAct ? syslogCard() : null;
let logItems = [];
const builds = buildTable({ withDrone: false, openLog: (build) => logs.open(build.log_id, logItems) });
const events = eventList();
const moreBuilds = older(ROWS, MOST, (query) => ask(swarmPath("/builds", { drone: name, ...query })), (one) => one.build_id, changed);
const moreEvents = older(ROWS, MOST, (query) => ask(swarmPath("/events", { drone: name, ...query })), (one) => one.event_id, changed);
const about = el("section", { class: "card", "aria-label": "About it" }, el("header", {}, el("h2", {}, "About it")), load.root, el("div", { class: "section" }, list.root), el("div", { class: "section" }, approval.root));
page.beside.append(state.root);
page.content.append(healing, el("div", { class: "columns facts-first" }, about, el("div", {},
  card("Its packages", {}, work.root), logs.root, card("History", {}, builds.root, moreBuilds.more), card("Events", {}, events.root, moreEvents.more), syslog?.root ?? "")));
page.main.append(missing);
missing.hidden = true;
healing.hidden = true;
state.root.hidden = true;

function show() {
  state.root.hidden = false;
  state.update(drone);
  facts(page.facts, droneFacts(drone));
  healing.hidden = !escalationWords(drone);
  text(healing, `Self-healing is at ${escalationWords(drone)}.`);
  list.show(dronePairs(drone));
  for (const part of [load, work, approval]) part.update(drone);
  if (page.mayAct && !buttons) {
    buttons = droneButtons(drone, shared, () => location.assign(swarmPage("/drones")));
    page.actions.append(...buttons.nodes);
  }
  buttons?.update(drone);
  if (syslog) syslog.root.hidden = !drone.approval;
}

async function read() {
  try {
    drone = await ask(dronePath(name));
  } catch (error) {
    if (error.status !== 404) throw error;
    await ask(swarmPath("/overview")); // is it the drone that is not there, or the plugin?
    missing.hidden = false;
    page.live();
    page.content.hidden = true;
    page.actions.replaceChildren();
    buttons = null;
    return;
  }
  missing.hidden = true;
  const [sent] = await Promise.all([ask(swarmPath("/logs", { drone: name, limit: LOGS })), moreBuilds.read(), moreEvents.read()]);
  logItems = sent.items;
  show();
  logs.show(logItems);
  builds.show(moreBuilds.items, "It has built nothing yet.");
  events.show(moreEvents.items, "Nothing has happened with it.");
  page.live();
}

const reading = poll(read, page.failed, EVERY_MS);
