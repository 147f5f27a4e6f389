// GPU sharing at a glance: shares, workers, agents and what was used; sharing, and ending it.

import { answers } from "./answers.js";
import { ask } from "./api.js";
import { el, notice, text } from "./dom.js";
import { plural } from "./format.js";
import { tickField } from "./forms.js";
import { poll } from "./poll.js";
import { failure, frame } from "./shell.js";
import { addAgent, agentsCard, howToJoin } from "./sharing_agents.js";
import { shareDialog, sharesCard } from "./sharing_shares.js";
import { usageCard } from "./sharing_usage.js";
import { mayChange, mayShowAll, sharingPath } from "./sharing_words.js";
import { workersCard } from "./sharing_workers.js";

const EVERY_MS = 5000;

const { main, person, setLive } = await frame("sharing");
const said = answers();
const mayWrite = mayChange(person);
const isOverseer = mayShowAll(person);
const shared = { said, changed: () => reading.now() };
let all = isOverseer && new URLSearchParams(location.search).get("all") === "true";
let found = null;

const openShare = (worker) => shareDialog(found.workers, worker?.worker_id ?? "", shared);
const shares = sharesCard(mayWrite, shared);
const workers = workersCard(mayWrite, shared, openShare);
const agents = agentsCard(mayWrite, shared);
const usage = usageCard(() => ({
  share: new Map(found.shares.map((share) => [share.share_id, `${share.short_code}, ${share.worker_name}`])),
  worker: new Map(found.workers.map((worker) => [worker.worker_id, `${worker.name} on ${worker.hostname}`])),
}), () => all, () => reading.now());

const count = el("p", { class: "muted" });
const everybody = tickField("Everybody's");
everybody.input.checked = all;
everybody.input.addEventListener("change", () => {
  all = everybody.input.checked;
  history.replaceState(null, "", all ? "?all=true" : location.pathname);
  reading.now();
});
const add = el("button", { type: "button", on: { click: install } }, "Add an agent");
const open = el("button", { type: "button", class: "primary", set: { disabled: true }, on: { click: () => openShare(null) } }, "Share a worker");
const trouble = el("div");
const lonely = howToJoin(mayWrite);
const cards = [shares.root, workers.root, agents.root, lonely, usage.root];
for (const card of cards) card.hidden = true;
main.append(
  el("div", { class: "page-head" }, el("div", {}, el("h1", {}, "Sharing"), count),
    el("div", { class: "end" }, isOverseer ? everybody.root : null, mayWrite ? [add, open] : null)),
  said.root, trouble, ...cards);
setLive("", "connecting");

/** One token at a time, whoever presses twice. */
async function install() {
  add.disabled = true;
  try {
    await addAgent(shared);
  } finally {
    add.disabled = false;
  }
}

function show() {
  shares.show(found.shares, found.workers);
  workers.show(found.workers, found.agents);
  agents.show(found.agents);
  lonely.hidden = found.agents.some((agent) => !agent.is_local);
  const live = found.shares.filter((share) => share.state === "live").length;
  const running = found.workers.filter((worker) => worker.status === "running").length;
  const online = found.agents.filter((agent) => agent.status === "online").length;
  text(count, [`${plural(found.shares.length, "share")}, ${live} live`, `${plural(found.workers.length, "worker")}, ${running} running`, `${plural(found.agents.length, "agent")}, ${online} online`].join(" · "));
}

async function read() {
  const asked = all;
  const query = asked ? { all: "true" } : {};
  const [a, w, s] = await Promise.all(["agents", "workers", "shares"].map((each) => ask(sharingPath(each, query))));
  if (asked !== all) return; // switched meanwhile, and asked for next
  found = { agents: a.items, workers: w.items, shares: s.items };
  show();
  for (const card of cards) if (card !== lonely) card.hidden = false;
  open.disabled = found.workers.length === 0;
  await usage.read();
  trouble.replaceChildren();
  setLive("ok", "live");
}

function failed(error) {
  setLive("critical", "not connected");
  const missing = error.status === 404;
  trouble.replaceChildren(missing ? notice("warning", "The plugin gpu_sharing, which shares GPUs, is not running: see the ", el("a", { href: "/ui/plugins" }, "plugins page"), ".") : failure(error));
}

setInterval(() => document.hidden || found === null || show(), 1000); // how long ago and how long still
const reading = poll(read, failed, EVERY_MS);
