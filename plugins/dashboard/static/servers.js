// Every monitored server at a glance; registering one, and what can be done with them.

import { answers } from "./answers.js";
import { ask } from "./api.js";
import { attribute, el, notice, text } from "./dom.js";
import { NONE, percent, plural } from "./format.js";
import { poll } from "./poll.js";
import { registerDialog, serverButtons } from "./server_actions.js";
import { isLive, lastSeen, mayChange, mayRegister, stateBadge, verdictWords } from "./server_words.js";
import { failure, frame } from "./shell.js";
import { table } from "./table.js";

const { main, person, setLive } = await frame("servers");
const said = answers();

function nameCell() {
  const link = el("a", { class: "strong" });
  const slug = el("span", { class: "muted small" });
  return {
    root: el("div", {}, link, el("div", {}, slug)),
    update(server) {
      text(link, server.name);
      attribute(link, "href", `/ui/servers/${encodeURIComponent(server.slug)}`);
      text(slug, server.is_local ? `${server.slug}, this host` : server.slug);
    },
  };
}

function gpuWords(server) {
  if (!server.gpu_count) return "none";
  return `${server.gpu_count}, top ${percent(server.gpu_top_utilization_percent)}`;
}

/** Figures of a server that does not report are not those of now: the past is on its own page. */
function whileLive(words) {
  return (server) => (isLive(server) ? words(server) : NONE);
}

const shared = { said, changed: () => reading.now() };
const list = table("Servers", [
  ["Server", { part: nameCell }],
  ["State", { part: stateBadge }],
  ["CPU", whileLive((server) => percent(server.cpu_percent))],
  ["Memory", whileLive((server) => percent(server.memory_percent))],
  ["GPUs", whileLive(gpuWords)],
  ["Verdict", whileLive((server) => (server.bottleneck ? verdictWords(server.bottleneck) : NONE))],
  ["Last seen", lastSeen],
  ["Agent", (server) => server.agent_version || (server.is_local ? "built in" : NONE)],
], (server) => `${server.id} ${server.slug}`, (server) => (mayChange(person, server) ? serverButtons(server, shared) : []));

/** Where there is nobody but this host: how another one comes to be here. */
function howToConnect() {
  const steps = mayRegister(person)
    ? ["Register it here: you get a token and the command for its agent, ready to be copied.", "Run that command on the server. The agent needs to reach this appliance's address, and nothing needs to reach the agent.", "It is shown as live here with its first sample, within seconds."]
    : ["Ask somebody with the role user or more to register it: your role, viewer, only reads.", "They get the command that starts its agent."];
  return el("section", { class: "card wide", "aria-label": "Connect another server" },
    el("header", {}, el("h2", {}, "Connect another server")),
    el("p", {}, "Only this host is monitored so far. To see others here:"),
    el("ol", { class: "numbered" }, steps.map((step) => el("li", {}, step))),
    mayRegister(person) ? el("p", { class: "small muted section" }, "The same on the command line: ", el("code", {}, "appliance server register SLUG"), ".") : null);
}

const count = el("p", { class: "muted" });
const register = el("button", { type: "button", class: "primary", on: { click: () => registerDialog(said, shared.changed) } }, "Register a server");
const trouble = el("div");
const lonely = howToConnect();
const card = el("section", { class: "card wide", "aria-label": "Servers" }, list.root);
lonely.hidden = true;
card.hidden = true;
main.append(
  el("div", { class: "page-head" }, el("div", {}, el("h1", {}, "Servers"), count), el("div", { class: "end" }, mayRegister(person) ? register : null)),
  said.root, trouble, card, lonely);
setLive("", "connecting");

async function read() {
  const { items } = await ask("/api/appliance/servers");
  const live = items.filter(isLive).length;
  text(count, `${plural(items.length, "server")}, ${live} live`);
  list.show(items, "No servers.");
  card.hidden = false;
  lonely.hidden = items.some((server) => !server.is_local);
  trouble.replaceChildren();
  setLive("ok", "live");
}

function failed(error) {
  setLive("critical", "not connected");
  const missing = error.status === 404;
  trouble.replaceChildren(missing ? notice("warning", "The plugin metrics_ingest, which monitors servers, is not running: see the ", el("a", { href: "/ui/plugins" }, "plugins page"), ".") : failure(error));
}

const reading = poll(read, failed);
