// Every task at a glance: which wait and why, which run and on what; submitting some; what they run on.

import { answers } from "./answers.js";
import { ask } from "./api.js";
import { attribute, el, notice, text } from "./dom.js";
import { plural } from "./format.js";
import { selectField } from "./forms.js";
import { poll } from "./poll.js";
import { failure, frame } from "./shell.js";
import { rowButton, stateCell, twoLines } from "./sharing_parts.js";
import { table } from "./table.js";
import { taskButtons } from "./task_actions.js";
import { enginesCard } from "./task_engines.js";
import { taskDialog } from "./task_form.js";
import { runtimesCard, schedulesCard } from "./task_schedules.js";
import { endWords, gpuWords, maySeeAll, maySubmit, needsWords, STATES, stateOf, taskName, taskPage, taskPath, timeWords } from "./task_words.js";

const EVERY_MS = 2000;
const ROWS = 100; // asked for at once
const ROWS_MAX = 1000; // as many as the appliance gives at once
const WHY_ROWS = 8; // of so many that wait the reason is asked for without being asked to
const OPEN_OWNER = "/open"; // how the API knows the owner "(open)"

const { main, person, setLive } = await frame("tasks");
const said = answers();
const mayWrite = maySubmit(person);
const isOverseer = maySeeAll(person);
const shared = { said, changed: () => reading.now() };
const whys = new Map(); // task id -> sentence
let gpus = new Map();
let tasks = [];
let overview = null;
let rows = ROWS;
let isOpening = false;

// --- what is shown of them ---

function nameCell() {
  const link = el("a", { class: "strong" });
  const under = el("div", { class: "muted small" });
  return {
    root: el("div", {}, link, under),
    update(task) {
      text(link, taskName(task));
      attribute(link, "href", taskPage(task.id));
      text(under, task.name ? `${task.image}, ${task.id}` : task.image);
    },
  };
}

/** Why a task waits: asked for by itself of the first few, of others when somebody wants to know. */
function whyCell() {
  let task = null;
  const words = el("div", { class: "small" });
  const button = rowButton("Why?", "", () => tell());
  const root = el("div", { class: "why-cell" }, words, button);
  async function tell() {
    const { id } = task;
    try {
      whys.set(id, (await ask(taskPath(id, "/why"))).sentence);
    } catch (error) {
      whys.set(id, error.message);
    }
    show();
  }
  for (const event of ["mouseenter", "focus"]) button.addEventListener(event, tell);
  return {
    root,
    update(one) {
      task = one;
      const waits = one.state === "pending" || one.state === "starting";
      const sentence = waits ? whys.get(one.id) ?? "" : endWords(one);
      text(words, sentence);
      button.hidden = !waits || Boolean(sentence);
      root.hidden = !waits && !sentence;
      attribute(button, "aria-label", `Why does task ${taskName(one)} wait?`);
    },
  };
}

const list = table("Tasks", [
  ["Task", { part: nameCell }],
  ["State", stateCell((task) => stateOf(task))],
  ["Why", { part: whyCell }],
  ["GPUs", twoLines((task) => gpuWords(task, gpus))],
  ["Needs", needsWords],
  ["Owner, tag", twoLines((task) => [task.owner || "the appliance", task.tag])],
  ["Time", twoLines(timeWords)],
], (task) => task.id, mayWrite ? (task) => taskButtons(task, shared) : null);
list.root.classList.add("tasks");
const engines = enginesCard();
const schedules = schedulesCard(mayWrite, shared);
const runtimes = runtimesCard();

// --- which of them ---

const asked = new URLSearchParams(location.search);
const chosen = { state: STATES.some(([name]) => name === asked.get("state")) ? asked.get("state") : "", owner: asked.get("owner") ?? "", tag: asked.get("tag") ?? "" };
const filters = { state: selectField("State", []), owner: selectField("Owner", []), tag: selectField("Tag", []) };
const seen = { owner: new Set(), tag: new Set() };
for (const [name, { select }] of Object.entries(filters)) select.addEventListener("change", () => choose(name, select.value));

function choose(name, value) {
  chosen[name] = value;
  rows = ROWS;
  const query = new URLSearchParams(Object.entries(chosen).filter(([, one]) => one)).toString();
  history.replaceState(null, "", query ? `?${query}` : location.pathname);
  reading.now();
}

/** Offer `pairs`, with what is chosen among them whatever the appliance says of it. */
function offer(name, all, pairs) {
  const { select } = filters[name];
  const value = chosen[name];
  const offered = [["", all], ...pairs];
  if (value && !pairs.some(([one]) => one === value)) offered.push([value, value]);
  const wanted = JSON.stringify(offered);
  if (select.dataset.offered !== wanted) {
    select.dataset.offered = wanted;
    select.replaceChildren(...offered.map(([one, words]) => el("option", { value: one }, words)));
  }
  select.value = value;
}

function offerAll() {
  const total = Object.values(overview.states).reduce((sum, one) => sum + one, 0);
  offer("state", `all states (${total})`, STATES.map(([name]) => [name, `${name} (${overview.states[name] ?? 0})`]));
  offer("owner", "everybody", [...seen.owner].sort().map((name) => [name === "(open)" ? OPEN_OWNER : name, name]));
  offer("tag", "all tags", [...seen.tag].sort().map((name) => [name, name]));
  filters.tag.root.hidden = seen.tag.size === 0 && !chosen.tag;
}

// --- the page ---

const count = el("p", { class: "muted" });
const submit = el("button", { type: "button", class: "primary", set: { disabled: true }, on: { click: openForm } }, "Submit a task");
const trouble = el("div");
const problem = notice("warning");
const more = el("div", { class: "more-rows" }, el("button", { type: "button", on: { click: () => { rows = Math.min(ROWS_MAX, rows + ROWS); reading.now(); } } }, `Show ${ROWS} more`));
filters.owner.root.hidden = !isOverseer;
const card = el("section", { class: "card wide", "aria-label": "Tasks" }, el("div", { class: "filters" }, Object.values(filters).map((one) => one.root)), list.root, more);
const cards = [card, engines.root, schedules.root, runtimes.root];
for (const part of [problem, ...cards]) part.hidden = true;
main.append(
  el("div", { class: "page-head" }, el("div", {}, el("h1", {}, "Tasks"), count), el("div", { class: "end" }, mayWrite ? submit : null)),
  said.root, trouble, problem, ...cards);
setLive("", "connecting");

/** The images that tasks used, and those that the sandbox has, where there is one. */
async function openForm() {
  if (isOpening) return;
  isOpening = true; // and not disabled: it would lose the focus, which comes back to it when the form closes
  try {
    const [{ items: learned }, stored] = await Promise.all([ask(taskPath("", "/runtimes")), ask("/api/appliance/sandbox/images").catch(() => ({ items: [] }))]);
    const images = [...stored.items.map((image) => image.name), ...learned.map((one) => one.image), ...tasks.map((task) => task.image)];
    taskDialog({ images, tags: [...seen.tag], engines: overview.engines, isOverseer }, shared);
  } catch (error) {
    said.say(failure(error));
  } finally {
    isOpening = false;
  }
}

function show() {
  const isFiltered = Object.values(chosen).some(Boolean);
  list.show(tasks, isFiltered ? "No such task here." : mayWrite ? "No tasks. Press “Submit a task” to run something." : "No tasks of yours. Your role, viewer, only reads.");
  more.hidden = tasks.length < rows || rows === ROWS_MAX;
  const states = STATES.filter(([name]) => overview.states[name]).map(([name]) => `${overview.states[name]} ${name}`);
  const whole = overview.hosts.flatMap((host) => host.gpus).filter((gpu) => !gpu.parent_gpu_id);
  const busy = whole.filter((gpu) => gpu.free_milli_gpu < 1000).length;
  text(count, [states.join(", ") || "no tasks", whole.length ? `${busy} of ${plural(whole.length, "GPU")} in use` : ""].filter(Boolean).join(" · "));
  problem.hidden = !overview.problem;
  text(problem, overview.problem ?? "");
  offerAll();
}

async function readWhys() {
  const waiting = tasks.filter((task) => task.state === "pending" || task.state === "starting");
  const ids = new Set(waiting.map((task) => task.id));
  for (const id of whys.keys()) if (!ids.has(id)) whys.delete(id);
  // Those told before stay told; of one that has gone on meanwhile the next look tells.
  const wanted = [...waiting.slice(-WHY_ROWS), ...waiting.filter((task) => whys.has(task.id))].slice(0, 2 * WHY_ROWS);
  await Promise.all([...new Set(wanted)].map(async ({ id }) => {
    const why = await ask(taskPath(id, "/why")).catch((error) => ({ sentence: error.message }));
    whys.set(id, why.sentence);
  }));
}

async function read() {
  const query = new URLSearchParams(Object.entries(chosen).filter(([, value]) => value));
  query.set("limit", String(rows));
  const wanted = query.toString();
  const [page, whole, planned, learned] = await Promise.all([ask(taskPath("", "", query)), ask(taskPath("", "/overview")), ask(taskPath("", "/schedules")), ask(taskPath("", "/runtimes"))]);
  tasks = page.items;
  overview = whole;
  gpus = new Map(whole.hosts.flatMap((host) => host.gpus).map((gpu) => [gpu.gpu_id, gpu]));
  for (const task of tasks) {
    if (task.owner) seen.owner.add(task.owner);
    if (task.tag) seen.tag.add(task.tag);
  }
  await readWhys();
  show();
  engines.show(whole);
  schedules.show(planned.items);
  runtimes.show(learned.items);
  for (const part of cards) part.hidden = false;
  attribute(list.root, "data-asked", wanted);
  submit.disabled = false;
  trouble.replaceChildren();
  setLive("ok", "live");
}

function failed(error) {
  setLive("critical", "not connected");
  const missing = error.status === 404;
  trouble.replaceChildren(missing ? notice("warning", "The plugin task_scheduler, which takes tasks, is not running: see the ", el("a", { href: "/ui/plugins" }, "plugins page"), ".") : failure(error));
}

setInterval(() => document.hidden || card.hidden || show(), 1000); // how long each has waited or run
const reading = poll(read, failed, EVERY_MS);
