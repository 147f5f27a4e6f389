// Every drone on a card: how it is, what it builds, and whether it may be logged in to.

import { ask } from "./api.js";
import { attribute, el, facts, keyed, notice, text } from "./dom.js";
import { plural } from "./format.js";
import { poll } from "./poll.js";
import { badge } from "./badge.js";
import { droneButtons } from "./swarm_drone_actions.js";
import { approvalPart, droneFacts, escalationWords, loadBars, workList } from "./swarm_drone_parts.js";
import { filters, swarmFrame } from "./swarm_parts.js";
import { dronePage, droneState, swarmPath } from "./swarm_words.js";

const EVERY_MS = 2000;
const STATES = [["", "all drones"], ["online", "online"], ["offline", "offline"], ["paused", "paused"], ["grounded", "grounded"], ["unapproved", "not approved"]];

const page = await swarmFrame("drones", "Drones");
const shared = { page, changed: () => reading.now() };
let drones = [];

function droneCard(first) {
  const name = el("a", { class: "clip" });
  const state = badge(droneState);
  const under = el("p", { class: "facts muted small" });
  const load = loadBars();
  const work = workList();
  const approval = approvalPart();
  const healing = notice("warning");
  const buttons = page.mayAct ? droneButtons(first, shared) : null;
  const root = el("article", { class: "card drone" }, el("header", {}, el("h3", { class: "clip" }, name), el("span", { class: "end" }, state.root)), under, healing, load.root,
    el("div", { class: "section" }, work.root), el("div", { class: "section" }, approval.root), buttons && el("div", { class: "row-buttons" }, buttons.nodes));
  return {
    root,
    update(drone) {
      attribute(root, "aria-label", drone.name);
      text(name, drone.name);
      attribute(name, "href", dronePage(drone.name));
      facts(under, droneFacts(drone));
      healing.hidden = !escalationWords(drone);
      text(healing, `Self-healing is at ${escalationWords(drone)}.`);
      for (const part of [state, load, work, approval, buttons]) part?.update(drone);
    },
  };
}

function isWanted(drone) {
  const { state, search } = chosen.chosen;
  const [, words] = droneState(drone);
  if (search && !`${drone.name} ${drone.address} ${drone.version}`.toLowerCase().includes(search.toLowerCase())) return false;
  if (state === "unapproved") return !drone.approval;
  if (state === "paused") return drone.is_paused;
  return !state || drone.status === state || words === state;
}

const chosen = filters({ state: { label: "Show", choices: STATES }, search: { label: "Search drones", search: true, hint: "name, address or version" } }, show);
const grid = el("div", { class: "grid" });
const empty = el("p", { class: "empty" });
page.content.append(chosen.root, grid, empty);

function show() {
  const wanted = drones.filter(isWanted);
  keyed(grid, wanted, (drone) => drone.drone_id, droneCard);
  empty.hidden = wanted.length > 0;
  text(empty, drones.length ? "No such drone is here." : `No drone has registered yet. On a Gentoo host: appliance drone --server ${location.origin}`);
  const online = drones.filter((drone) => drone.status === "online");
  const open = drones.filter((drone) => !drone.approval).length;
  facts(page.facts, [`${online.length} of ${plural(drones.length, "drone")} online`, open && `${open} not approved for ssh`]);
}

async function read() {
  drones = (await ask(swarmPath("/drones", { offline: "true" }))).items;
  show();
  page.live();
}

const reading = poll(read, page.failed, EVERY_MS);
