// The build swarm at a glance: its session, what is built, what is blocked and why, and the whole queue.

import { ask } from "./api.js";
import { bar, el, facts, keyed, notice, text } from "./dom.js";
import { known, number, plural } from "./format.js";
import { poll } from "./poll.js";
import { badge } from "./badge.js";
import { addDialog } from "./swarm_add.js";
import { controlsCard } from "./swarm_control.js";
import { swarmFrame, card, progressRow, send } from "./swarm_parts.js";
import { blockedCard, queueCard } from "./swarm_queue.js";
import { building, dronePage, sessionName, sessionProgress, soon, STATES, swarmPage, swarmPath, took } from "./swarm_words.js";

const EVERY_MS = 2000;

const page = await swarmFrame("queue", "Build swarm");
const { mayAct, said } = page;
const shared = { page, changed: () => reading.now() };
let overview = null;
let sessions = [];

// --- parts ---

/** What is built for: the session that is open, and when it is likely to end. */
function sessionCard() {
  const name = el("a", { class: "strong" });
  const words = el("p", { class: "facts" });
  const meter = bar("Progress of the session", "c1");
  const none = el("p", { class: "empty" }, "No session is open: whatever is queued next begins one.");
  const some = el("div", {}, el("p", {}, name), meter.root, words);
  const root = card("Session", {}, some, none);
  return {
    root,
    show({ session }) {
      some.hidden = !session;
      none.hidden = Boolean(session);
      if (!session) return;
      const [percent, done] = sessionProgress(session);
      text(name, sessionName(session));
      name.href = swarmPage("/history", { session: session.session_id });
      meter.update(percent, done, session.failed ? "warning" : "");
      facts(words, [done, known(session.eta_unix_s) ? `likely to end ${soon(session.eta_unix_s)}` : session.status === "active" && "nobody knows yet when it ends", session.name && session.session_id]);
    },
  };
}

/** How much of everything there is. */
function figuresCard() {
  const tiles = el("dl", { class: "stats" });
  const past = el("p", { class: "facts muted" });
  const root = card("Packages", {}, tiles, past);
  function tile([label]) {
    const value = el("dd", { class: "value" });
    return { root: el("div", {}, el("dt", {}, label), value), update: ([, figure]) => text(value, figure) };
  }
  return {
    root,
    show({ counts, builds }) {
      keyed(tiles, STATES.filter(([state]) => state !== "failed" || counts.failed).map(([state]) => [state, String(counts[state])]), ([state]) => state, tile);
      facts(past, builds.total ? [
        plural(builds.total, "build"), known(builds.success_rate) && `${number(builds.success_rate, 1)} % of them good`,
        builds.failed && `${builds.failed} failed`, known(builds.avg_duration_s) && `${took(builds.avg_duration_s)} each`,
      ] : ["nothing was built yet"]);
    },
  };
}

/** Which drone builds what just now. */
function buildingCard() {
  const list = el("ul", { class: "fs" });
  const empty = el("p", { class: "empty" });
  const root = card("Building now", {}, list, empty);
  function row() {
    const link = el("a");
    const one = progressRow();
    const root = el("li", { class: "built" }, link, el("ul", {}, one.root));
    return {
      root,
      update({ drone, progress }) {
        text(link, drone);
        link.href = dronePage(drone);
        one.update(progress);
      },
    };
  }
  return {
    root,
    show(drones) {
      const items = drones.flatMap((drone) => building(drone).map((progress) => ({ drone: drone.name, progress })));
      keyed(list, items, (one) => `${one.drone} ${one.progress.package}`, row);
      list.hidden = !items.length;
      empty.hidden = Boolean(items.length);
      text(empty, drones.length ? "No drone builds anything." : "No drone has registered yet.");
    },
  };
}

// --- the page ---

const state = badge(({ is_paused: isPaused }) => (isPaused ? ["warning", "paused"] : ["ok", "open"]));
const pause = el("button", { type: "button", on: { click: togglePause } }, "Pause");
const add = el("button", { type: "button", class: "primary", on: { click: () => addDialog({ sessions: sessions.filter((one) => one.status === "active"), hasTree: overview.has_tree }, shared) } }, "Add packages");
const session = sessionCard();
const figures = figuresCard();
const now = buildingCard();
const blocked = blockedCard(shared);
const queue = queueCard(shared);
const controls = mayAct ? controlsCard(shared) : null;
const drones = notice("info");
page.beside.append(state.root);
if (mayAct) page.actions.append(pause, add);
page.content.append(drones, el("div", { class: "grid" }, session.root, figures.root, now.root), blocked.root, ...(controls ? [controls.root] : []), queue.root);
drones.hidden = true;

async function togglePause() {
  const action = overview.is_paused ? "resume" : "pause";
  await page.act(() => send(swarmPath("/control"), { action }), () => (action === "pause" ? "Nothing is given out until you resume; what is being built is built on." : "Packages are given out again."));
  reading.now();
}

function show(found) {
  state.update(overview);
  text(pause, overview.is_paused ? "Resume" : "Pause");
  const { total, online, paused, grounded, cores_online: cores } = overview.drones;
  facts(page.facts, [
    `${online} of ${plural(total, "drone")} online`, cores && plural(cores, "core"), paused && `${paused} paused`, grounded && `${grounded} grounded`,
    overview.require_binary && "a build counts only with its binary package",
  ]);
  drones.hidden = total > 0;
  drones.replaceChildren("No drone has registered yet. On a Gentoo host: ", el("code", {}, `appliance drone --server ${location.origin}`), ", or point the drones that you have at this address.");
  session.show(overview);
  figures.show(overview);
  now.show(found.filter((drone) => drone.status === "online"));
}

async function read() {
  const [whole, found, known] = await Promise.all([ask(swarmPath("/overview")), ask(swarmPath("/drones")), ask(swarmPath("/sessions", { limit: 50 })), queue.read(), blocked.read()]);
  overview = whole;
  sessions = known.items;
  show(found.items);
  queue.show(overview, sessions);
  blocked.show(overview);
  page.live();
}

const reading = poll(read, page.failed, EVERY_MS);
