// Every registered machine and its pool at a glance; adding some, and what can be done with them.

import { answers } from "./answers.js";
import { ask } from "./api.js";
import { attribute, el, notice, text } from "./dom.js";
import { NONE, percent, plural } from "./format.js";
import { selectField } from "./forms.js";
import { machineButtons } from "./machine_actions.js";
import { addMachineDialog } from "./machine_add.js";
import { poolsCard } from "./machine_pools.js";
import { ago, gpuWords, isLive, machineKey, machinePage, markBadge, mayManage, stateBadge, STATES } from "./machine_words.js";
import { poll } from "./poll.js";
import { failure, frame } from "./shell.js";
import { table } from "./table.js";

const EVERY_MS = 5000;
const ROWS = 200; // so many at once; a browser takes long for thousands of rows

const { main, person, setLive } = await frame("machines");
const said = answers();
const isManager = mayManage(person);
let pools = [];
let machines = [];
let rows = ROWS;

// --- what is shown of them ---

function nameCell() {
  const link = el("a", { class: "strong" });
  const under = el("div", { class: "muted small" });
  return {
    root: el("div", {}, link, under),
    update(machine) {
      text(link, machine.id);
      attribute(link, "href", machinePage(machine));
      text(under, [machine.hostname, machine.is_local && "this host"].filter(Boolean).join(", "));
    },
  };
}

function stateCell() {
  const state = stateBadge();
  const marks = markBadge();
  return {
    root: el("div", { class: "states" }, state.root, marks.root),
    update(machine) {
      state.update(machine);
      marks.update(machine);
    },
  };
}

/** Figures of a machine that sends none are not those of now. */
function whileLive(words) {
  return (machine) => (isLive(machine) ? words(machine) : NONE);
}

const shared = { said, changed: () => reading.now() };
const list = table("Machines", [
  ["Machine", { part: nameCell }],
  ["Pool", (machine) => (machine.provider === "generic" ? machine.pool : `${machine.pool}, ${machine.provider}`)],
  ["State", { part: stateCell }],
  ["GPUs", gpuWords],
  ["CPU", whileLive((machine) => percent(machine.cpu_percent))],
  ["Memory", whileLive((machine) => percent(machine.memory_percent))],
  ["Last beat", (machine) => ago(machine.last_keepalive_unix_s)],
], machineKey, isManager ? (machine) => machineButtons(machine, shared) : null);
const poolList = poolsCard(isManager, shared);

// --- which of them ---

const asked = new URLSearchParams(location.search);
const chosen = { pool: asked.get("pool") ?? "", state: STATES.some(([name]) => name === asked.get("state")) ? asked.get("state") : "" };
const poolChoice = selectField("Pool", []);
const stateChoice = selectField("State", []);

/** Offer `pairs`, with what is chosen among them whatever the appliance says of it. */
function offer(select, all, pairs, value) {
  const offered = [["", all], ...pairs];
  if (value && !pairs.some(([name]) => name === value)) offered.push([value, value]);
  const wanted = JSON.stringify(offered);
  if (select.dataset.offered !== wanted) {
    select.dataset.offered = wanted;
    select.replaceChildren(...offered.map(([name, words]) => el("option", { value: name }, words)));
  }
  select.value = value;
}

function choose(name, value) {
  chosen[name] = value;
  rows = ROWS;
  const query = new URLSearchParams(Object.entries(chosen).filter(([, one]) => one)).toString();
  history.replaceState(null, "", query ? `?${query}` : location.pathname);
  show();
  if (name === "pool") reading.now();
}

poolChoice.select.addEventListener("change", () => choose("pool", poolChoice.select.value));
stateChoice.select.addEventListener("change", () => choose("state", stateChoice.select.value));

function show() {
  const counted = new Map(STATES.map(([name]) => [name, 0]));
  for (const machine of machines) counted.set(machine.state, counted.get(machine.state) + 1);
  offer(poolChoice.select, "all pools", pools.map((pool) => [pool.name, pool.name]), chosen.pool);
  offer(stateChoice.select, `all states (${machines.length})`, STATES.map(([name]) => [name, `${name} (${counted.get(name)})`]), chosen.state);
  const wanted = chosen.state ? machines.filter((machine) => machine.state === chosen.state) : machines;
  const isFiltered = Boolean(chosen.pool || chosen.state);
  list.show(wanted.slice(0, rows), isFiltered ? "No such machine here." : "No machines.");
  more.hidden = wanted.length <= rows;
  text(moreWords, `The first ${rows} of ${wanted.length} are shown.`);
  lonely.hidden = isFiltered || machines.some((machine) => !machine.is_local);
  const states = STATES.filter(([name]) => counted.get(name)).map(([name]) => `${counted.get(name)} ${name}`);
  const gpus = pools.reduce((sum, pool) => (chosen.pool && pool.name !== chosen.pool ? sum : [sum[0] + pool.free_gpu_count, sum[1] + pool.gpu_count]), [0, 0]);
  text(count, [[plural(machines.length, "machine"), ...states].join(", "), gpus[1] ? `${gpus[0]} of ${plural(gpus[1], "GPU")} free` : ""].filter(Boolean).join(" · "));
}

// --- the page ---

/** Where there is nobody but this host: how another one comes to be here. */
function howToJoin() {
  const steps = isManager
    ? ["Add it here: you get its token and the command lines of both agents, ready to be copied.", "Run one of the lines on the machine. Its agent needs to reach this appliance over plain HTTP.", "It is ready with its agent's first keepalive, and stays so with one a minute."]
    : ["Ask somebody with the role operator to add it: your role only reads.", "They get the command line that starts its agent."];
  return el("section", { class: "card wide", "aria-label": "Add another machine" },
    el("header", {}, el("h2", {}, "Add another machine")),
    el("p", {}, "Only this host is registered so far. To have others here:"),
    el("ol", { class: "numbered" }, steps.map((step) => el("li", {}, step))),
    isManager ? el("p", { class: "small muted section" }, "The same on the command line: ", el("code", {}, "appliance machine create --pool default"), ".") : null);
}

const count = el("p", { class: "muted" });
const add = el("button", { type: "button", class: "primary", set: { disabled: true }, on: { click: () => addMachineDialog(pools, chosen.pool, said, shared.changed) } }, "Add machine");
const trouble = el("div");
const lonely = howToJoin();
const moreWords = el("span", { class: "muted small" });
const more = el("div", { class: "more-rows" }, moreWords, el("button", { type: "button", on: { click: () => { rows += ROWS; show(); } } }, `Show ${ROWS} more`));
list.root.classList.add("machines");
const filters = el("div", { class: "filters" }, poolChoice.root, stateChoice.root);
const card = el("section", { class: "card wide", "aria-label": "Machines" }, filters, list.root, more);
for (const part of [lonely, card, poolList.root]) part.hidden = true;
main.append(
  el("div", { class: "page-head" }, el("div", {}, el("h1", {}, "Machines"), count), el("div", { class: "end" }, isManager ? add : null)),
  said.root, trouble, card, lonely, poolList.root);
setLive("", "connecting");

async function read() {
  const { pool } = chosen;
  const query = pool ? `?${new URLSearchParams({ pool })}` : "";
  const [found, known] = await Promise.all([ask(`/api/appliance/machines${query}`), ask("/api/appliance/pools")]);
  if (pool !== chosen.pool) return; // another one was chosen meanwhile, and is asked for next
  machines = found.items;
  pools = known.items;
  show();
  poolList.show(pools);
  card.hidden = false;
  poolList.root.hidden = false;
  add.disabled = false;
  trouble.replaceChildren();
  setLive("ok", "live");
}

function failed(error) {
  setLive("critical", "not connected");
  const missing = error.status === 404;
  trouble.replaceChildren(missing ? notice("warning", "The plugin machine_registry, which machines register with, is not running: see the ", el("a", { href: "/ui/plugins" }, "plugins page"), ".") : failure(error));
}

setInterval(() => document.hidden || card.hidden || show(), 1000); // how long ago the last beats were
const reading = poll(read, failed, EVERY_MS);
