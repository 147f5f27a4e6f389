// Sessions, and every build that was reported, by what somebody looks for.

import { ask } from "./api.js";
import { attribute, bar, el, text } from "./dom.js";
import { dateTime, known, span } from "./format.js";
import { poll } from "./poll.js";
import { longTable, rowButton, stateCell } from "./sharing_parts.js";
import { buildTable, older } from "./swarm_builds.js";
import { buildLogView } from "./swarm_log.js";
import { card, filters, swarmFrame } from "./swarm_parts.js";
import { sessionName, sessionProgress, soon, swarmPath } from "./swarm_words.js";

const EVERY_MS = 5000;
const ROWS = 100;
const MOST = 2000;
const SESSIONS = 200;
const RESULTS = [["", "all results"], ["success", "success"], ["failed", "failed"], ["returned", "returned"], ["masked", "masked"], ["missing_binary", "missing binary"], ["upload_failed", "upload failed"]];
const STATES = [["", "all sessions"], ["active", "active"], ["completed", "completed"]];

const page = await swarmFrame("history", "History");
const changed = () => reading.now();
let sessions = [];

function nameCell() {
  const name = el("div", { class: "strong" });
  const id = el("div", { class: "muted small" });
  return {
    root: el("div", {}, name, id),
    update(session) {
      text(name, sessionName(session));
      text(id, session.name ? session.session_id : "");
    },
  };
}

function progressCell() {
  const words = el("div");
  const meter = bar("", "c1");
  return {
    root: el("div", { class: "grow" }, words, meter.root),
    update(session) {
      const [percent, said] = sessionProgress(session);
      text(words, said);
      attribute(meter.root, "aria-label", `Progress of ${sessionName(session)}`);
      meter.update(percent, said, session.failed ? "warning" : "");
    },
  };
}

function when(session) {
  if (known(session.completed_unix_s)) return `took ${span(session.completed_unix_s - session.started_unix_s)}`;
  return known(session.eta_unix_s) ? `likely to end ${soon(session.eta_unix_s)}` : "";
}

const ofSessions = filters({ sessions: { label: "Sessions", choices: STATES } }, show);
const ofBuilds = filters({ status: { label: "Result", choices: RESULTS }, drone: { label: "Drone" }, session: { label: "Session" }, package: { label: "Package", search: true, hint: "such as =dev-libs/openssl-3.2.0" } }, () => {
  more.reset();
  changed();
});
const more = older(ROWS, MOST, (query) => ask(swarmPath("/builds", { ...ofBuilds.chosen, ...query })), (one) => one.build_id, changed);
const sessionList = longTable("Sessions", [
  ["Session", { part: nameCell }],
  ["State", stateCell((one) => [one.status === "active" ? "ok" : "", one.status, when(one)])],
  ["Progress", { part: progressCell }],
  ["Began", (one) => dateTime(one.started_unix_s)],
], (one) => one.session_id, (first) => [rowButton("Builds", `Builds of ${sessionName(first)}`, () => {
  ofBuilds.set("session", first.session_id);
  builds.root.scrollIntoView({ block: "nearest" });
})]);
const log = buildLogView();
const builds = buildTable({ openLog: (build) => {
  log.open({ log_id: build.log_id, atom: build.atom });
  log.root.scrollIntoView({ block: "nearest" });
} });
page.content.append(
  card("Sessions", {}, ofSessions.root, sessionList.root),
  card("Builds", {}, ofBuilds.root, log.root, builds.root, more.more));

function show() {
  const wanted = ofSessions.chosen.sessions;
  sessionList.show(sessions.filter((one) => !wanted || one.status === wanted), wanted ? "No such session is here." : "Nothing was ever queued.");
  ofBuilds.offer("session", [["", "all sessions"], ...sessions.map((one) => [one.session_id, sessionName(one)])]);
  builds.show(more.items, ofBuilds.isSet ? "No such build is here." : "Nothing was built yet.");
}

async function read() {
  const [found, { items: drones }] = await Promise.all([ask(swarmPath("/sessions", { limit: SESSIONS })), ask(swarmPath("/drones", { offline: "true" })), more.read()]);
  sessions = found.items;
  ofBuilds.offer("drone", [["", "all drones"], ...drones.map((one) => [one.name, one.name])]);
  show();
  page.live();
}

const reading = poll(read, page.failed, EVERY_MS);
