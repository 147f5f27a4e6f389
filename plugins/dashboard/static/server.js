// One monitored server: what it does now, by one event stream, and how it went.

import { answers } from "./answers.js";
import { applianceNow, ask } from "./api.js";
import { attribute, choice, el, facts, notice, text } from "./dom.js";
import { clock, known, plural } from "./format.js";
import { windowOf } from "./history.js";
import { poll } from "./poll.js";
import { serverButtons } from "./server_actions.js";
import { ServerCpuCard, ServerDisksCard, ServerFansCard, ServerMemoryCard, ServerNetworkCard, ServerSystemCard, systemOf } from "./server_cards.js";
import { ServerGpusCard } from "./server_gpus.js";
import { fetchPoints, fillChart, rangeOf, RANGES } from "./server_history.js";
import { isLive, lastSeen, mayChange, stateBadge, verdictWords } from "./server_words.js";
import { failure, frame } from "./shell.js";
import { follow } from "./stream.js";

const STATE_EVERY_MS = 5000;
const LIST = "/ui/servers";

class ServerPage {
  constructor({ main, person, setLive }, slug) {
    Object.assign(this, { main, person, setLive, slug });
    this.range = rangeOf(location.hash);
    this.build();
  }

  build() {
    this.heading = el("h1", {}, this.slug);
    this.badge = stateBadge();
    this.facts = el("p", { class: "facts" });
    this.description = el("p", { class: "muted" });
    this.ranges = choice("Time range of all charts", "range", RANGES.map(([name, label]) => [name, label]), this.range[0], (name) => this.setRange(name));
    this.actions = el("div", { class: "actions" });
    this.said = answers();
    this.lost = notice("warning");
    this.old = notice("warning");
    this.trouble = el("div");
    this.waiting = el("section", { class: "card wide", "aria-label": "No figures" });
    this.verdict = el("strong");
    this.reason = el("span");
    this.sure = el("span", { class: "muted small" });
    this.gpus = new ServerGpusCard();
    this.cards = [new ServerCpuCard(), new ServerMemoryCard(), new ServerDisksCard(() => this.reload()), new ServerNetworkCard(), new ServerFansCard(), new ServerSystemCard()];
    this.stride = el("p", { class: "small muted" });
    this.content = el("div", {},
      el("section", { class: "card wide verdict", "aria-label": "Verdict" }, this.verdict, this.reason, this.sure),
      this.gpus.root, el("div", { class: "grid" }, this.cards.map((card) => card.root)), this.stride);
    for (const part of [this.lost, this.old, this.content, this.waiting, this.ranges, this.gpus.root, this.badge.root]) part.hidden = true;
    this.main.append(
      el("nav", { class: "small", "aria-label": "Where this is" }, el("a", { href: LIST }, "Servers")),
      el("div", { class: "page-head" }, el("div", {}, el("div", { class: "hostline" }, this.heading, this.badge.root), this.facts, this.description), el("div", { class: "end" }, this.ranges)),
      this.said.root, this.lost, this.old, this.trouble, this.waiting, this.content, this.actions);
  }

  start() {
    this.setLive("", "connecting");
    this.state = poll(() => this.readState(), (error) => this.stateFailed(error), STATE_EVERY_MS);
    setInterval(() => this.tick(), 2000);
    document.addEventListener("visibilitychange", () => document.hidden || this.charts().forEach(({ chart }) => chart.draw()));
    window.addEventListener("hashchange", () => this.setRange(rangeOf(location.hash)[0]));
  }

  // --- the server itself ---

  async readState() {
    const { items } = await ask("/api/appliance/servers");
    this.trouble.replaceChildren();
    const server = items.find((one) => one.slug === this.slug);
    if (server) this.showServer(server);
    else this.showNone();
    if (!this.stream || this.connected) this.setLive("ok", "live");
  }

  /** A tunnel that was cut gives the stream no error: this is where it shows. */
  stateFailed(error) {
    if (this.stream && !this.connected) return; // it is told already
    this.setLive("critical", "not connected");
    this.trouble.replaceChildren(failure(error));
  }

  showNone() {
    this.stop();
    this.server = undefined;
    document.title = "No such server: appliance";
    this.badge.root.hidden = true;
    facts(this.facts, []);
    text(this.description, "");
    this.actions.replaceChildren();
    this.tell("There is no server of this name.", "It may have been deleted, or the address is mistyped.");
  }

  showServer(server) {
    const another = this.server?.id !== server.id;
    this.server = server;
    text(this.heading, server.name);
    document.title = `${server.name}: server`;
    this.badge.root.hidden = false;
    this.badge.update(server);
    text(this.description, server.description);
    facts(this.facts, [
      server.slug, server.hostname !== server.name && server.hostname, server.is_local && "this host",
      `last seen ${lastSeen(server)}`, server.agent_version && `agent ${server.agent_version}`, server.owner && `registered by ${server.owner}`, plural(server.snapshot_count, "sample"),
    ]);
    if (another) this.makeButtons();
    this.buttons?.update(server);
    if (!server.is_active) {
      this.stop();
      this.tell("This server is disabled.", `What it reports is refused, and its history is kept.${mayChange(this.person, server) ? " Enable it to see it again." : ""}`);
      return;
    }
    if (!this.stream || another) this.listen();
    if (!this.snapshot) this.tellWhyEmpty(server);
    this.age();
  }

  tellWhyEmpty(server) {
    this.looks += 1;
    if (!known(server.latest_snapshot_unix_s)) this.tell("No sample yet.", "Start the agent on the server with the command that was shown with its token; its figures appear here with the first sample. A lost token is replaced by a new one below.");
    else if (this.looks > 1) this.tell("No figures.", "Its last sample is older than what is kept. The next one is shown here as soon as it reports.");
  }

  makeButtons() {
    this.actions.replaceChildren();
    this.buttons = null;
    if (!mayChange(this.person, this.server)) return;
    this.buttons = serverButtons(this.server, { said: this.said, changed: () => this.state.now(), deleted: () => location.assign(LIST) });
    this.actions.append(...this.buttons.nodes);
  }

  /** Say why there is nothing to be seen. */
  tell(title, words) {
    this.waiting.hidden = false;
    this.content.hidden = true;
    this.ranges.hidden = true;
    const said = `${title} ${words}`;
    if (this.waiting.dataset.said === said) return;
    this.waiting.dataset.said = said;
    this.waiting.replaceChildren(el("p", {}, el("strong", {}, title)), el("p", {}, words), el("p", { class: "section" }, el("a", { href: LIST }, "All servers")));
  }

  // --- connection ---

  listen() {
    this.stop();
    this.connected = false;
    this.looks = 0;
    this.stream = follow(`/api/appliance/metrics/stream?${new URLSearchParams({ server: this.slug })}`, {
      events: { snapshot: (snapshot) => this.show(snapshot) },
      opened: () => {
        this.connected = true;
        this.lost.hidden = true;
        this.setLive("ok", "live");
        this.needsHistory = true; // what was sent meanwhile is in the history
      },
      lost: (seconds) => {
        this.connected = false;
        this.setLive("critical", "not connected");
        this.lost.hidden = false;
        text(this.lost, `The connection to the appliance is lost. Trying again ${seconds < 2 ? "now" : `in ${Math.round(seconds)} s`}.`);
        this.state.now(); // it may have been disabled or deleted: then this page says so
      },
      check: () => ask("/api/auth/me"),
    });
  }

  stop() {
    this.stream?.close();
    this.stream = null;
    this.asking?.abort();
    this.snapshot = undefined;
    this.old.hidden = true;
    this.lost.hidden = true;
  }

  tick() {
    if (!this.snapshot) return;
    this.age();
    if (!isLive(this.server)) for (const { chart } of this.charts()) chart.setWindow(this.window());
    if (this.connected && performance.now() > this.refreshAt) this.reload();
  }

  /** Say so when the figures are not those of now. */
  age() {
    this.old.hidden = !this.snapshot || isLive(this.server);
    if (this.old.hidden) return;
    text(this.old, `This server has not reported since ${clock(this.server.last_seen_unix_s)}: the figures are those of its last sample.`);
  }

  // --- figures and charts ---

  charts() {
    return [...this.gpus.charts, ...this.cards.flatMap((card) => card.charts)];
  }

  window() {
    // A server's clock may be ahead of the appliance's.
    return windowOf(Math.max(applianceNow(), this.at), this.range[2] * 60, this.first);
  }

  show(snapshot) {
    const at = Date.parse(snapshot.collected_at) / 1000;
    const isFirst = !this.snapshot;
    this.snapshot = snapshot;
    this.at = at;
    this.waiting.hidden = true;
    this.content.hidden = false;
    this.ranges.hidden = false;
    const { bottleneck } = snapshot;
    text(this.verdict, verdictWords(bottleneck.label));
    text(this.reason, bottleneck.reason);
    text(this.sure, known(bottleneck.confidence) ? `${Math.round(bottleneck.confidence * 100)} % sure` : "");
    const system = systemOf(snapshot);
    if (this.gpus.show(snapshot)) this.needsHistory = true;
    for (const card of this.cards) card.show(snapshot, system, this.server);
    if (isFirst || this.needsHistory) {
      this.reload();
      return;
    }
    const window = this.window();
    for (const { chart, now } of this.charts()) chart.push(at, now(snapshot), window);
  }

  setRange(name) {
    const range = RANGES.find(([one]) => one === name);
    if (range === this.range) return;
    this.range = range;
    history.replaceState(null, "", `#${name}`);
    this.ranges.querySelector(`input[value="${name}"]`).checked = true;
    this.reload();
  }

  async reload() {
    if (!this.snapshot) return;
    this.needsHistory = false;
    const minutes = this.range[2];
    this.refreshAt = performance.now() + Math.max(60, minutes) * 1000;
    this.asking?.abort();
    const mine = (this.asking = new AbortController());
    attribute(this.content, "aria-busy", "true");
    try {
      const past = await fetchPoints(this.server, minutes, mine.signal);
      if (mine.signal.aborted || !this.snapshot) return;
      this.first = past.x[0] ?? this.at;
      this.gpus.knowPast(past.points);
      const window = this.window();
      for (const { chart, of } of this.charts()) fillChart(chart, past, of, window);
      text(this.stride, strideWords(past, minutes));
      this.historyFailed?.remove();
    } catch (error) {
      if (error.name === "AbortError") return;
      this.historyFailed?.remove();
      this.historyFailed = failure(error);
      this.trouble.before(this.historyFailed);
    } finally {
      if (!mine.signal.aborted) attribute(this.content, "aria-busy", null);
    }
  }
}

/** What a point of the charts is. */
function strideWords({ stride, minutes, points }, wanted) {
  const cut = minutes < wanted && points.length ? ` History is answered for ${minutes} minutes at most here.` : "";
  if (stride <= 1) return cut.trim();
  return `A point stands for ${stride} samples: the highest utilisation, memory and temperature among them, and the mean of the rates.${cut}`;
}

const slug = decodeURIComponent(location.pathname.split("/")[3] ?? "");
new ServerPage(await frame("servers"), slug).start();
