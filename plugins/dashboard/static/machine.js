// One registered machine: what it is, how it does, how it went, and what has happened to it.

import { answers } from "./answers.js";
import { applianceNow, ask } from "./api.js";
import { attribute, choice, el, facts, notice, text } from "./dom.js";
import { Feed } from "./feed.js";
import { clock, known } from "./format.js";
import { fetchHistory, fill, RANGES, windowOf } from "./history.js";
import { machineButtons } from "./machine_actions.js";
import { cpuCard, freeDiskCard, freeGpusCard, LifeCard, memoryCard, WorkCard } from "./machine_cards.js";
import { isLive, machineKey, machinePage, markWords, mayManage, stateBadge } from "./machine_words.js";
import { poll } from "./poll.js";
import { stepOf } from "./server_history.js";
import { failure, frame, pluginNames } from "./shell.js";

const EVERY_MS = 5000;
const BEAT_SECONDS = 60; // agents beat so often: a chart's points are no closer
const LIST = "/ui/machines";
const EVENTS = 1000;
const EVENTS_SHOWN = 50;

function rangeOf(hash) {
  return RANGES.some(([seconds]) => `#${seconds}` === hash) ? hash.slice(1) : "3600";
}

class MachinePage {
  constructor({ main, person, setLive }, wanted) {
    Object.assign(this, { main, person, setLive, wanted });
    this.range = rangeOf(location.hash);
    this.build();
  }

  build() {
    this.heading = el("h1", {}, this.wanted.id);
    this.badge = stateBadge();
    this.facts = el("p", { class: "facts" });
    this.ranges = choice("Time range of all charts", "range", RANGES, this.range, (seconds) => this.setRange(seconds));
    this.actions = el("div", { class: "actions" });
    this.said = answers();
    this.trouble = el("div");
    this.pastTrouble = el("div");
    this.marked = notice("warning");
    this.old = notice("warning");
    this.waiting = el("section", { class: "card wide", "aria-label": "No machine" });
    this.life = new LifeCard();
    this.work = new WorkCard();
    this.shares = [cpuCard(), memoryCard()];
    this.values = [freeGpusCard(), freeDiskCard()];
    this.feed = new Feed(EVENTS_SHOWN);
    this.events = el("section", { class: "card", "aria-label": "Events" }, el("header", {}, el("h2", {}, "Events")), this.feed.root);
    this.content = el("div", { class: "columns facts-first" },
      el("div", { class: "rows" }, this.work.root, this.life.root),
      el("div", { class: "rows" }, el("div", { class: "grid" }, [...this.shares, ...this.values].map((each) => each.root)), this.events));
    for (const part of [this.marked, this.old, this.waiting, this.content, this.ranges, this.badge.root]) part.hidden = true;
    this.main.append(
      el("nav", { class: "small", "aria-label": "Where this is" }, el("a", { href: LIST }, "Machines")),
      el("div", { class: "page-head" }, el("div", {}, el("div", { class: "hostline" }, this.heading, this.badge.root), this.facts), el("div", { class: "end" }, this.ranges)),
      this.said.root, this.trouble, this.marked, this.old, this.pastTrouble, this.waiting, this.content, this.actions);
  }

  start() {
    this.setLive("", "connecting");
    this.reading = poll(() => this.read(), (error) => this.failed(error), EVERY_MS);
    setInterval(() => this.tick(), 1000);
    document.addEventListener("visibilitychange", () => document.hidden || [...this.shares, ...this.values].forEach(({ chart }) => chart.draw()));
    window.addEventListener("hashchange", () => this.setRange(rangeOf(location.hash)));
  }

  // --- the machine ---

  async read() {
    const query = new URLSearchParams(Object.entries(this.wanted.place).filter(([, value]) => value));
    try {
      this.show(await ask(`/api/appliance/machines/${encodeURIComponent(this.wanted.id)}?${query}`));
    } catch (error) {
      if (error.status === 404) await this.showNone();
      else if (error.status === 409) await this.showSeveral();
      else throw error;
    }
    this.trouble.replaceChildren();
    this.setLive("ok", "live");
    if (this.machine) await this.readEvents();
  }

  failed(error) {
    this.setLive("critical", "not connected");
    this.trouble.replaceChildren(failure(error));
  }

  async showNone() {
    const runs = (await pluginNames()).includes("machine_registry");
    this.tell("No such machine", runs ? "There is no machine of this id here." : "The plugin machine_registry, which machines register with, is not running.",
      runs ? "It may have been deleted or forgotten, or the address is mistyped." : "Without it nothing is known of machines.");
  }

  /** The address names no pool, and the id is in several. */
  async showSeveral() {
    const { items } = await ask("/api/appliance/machines");
    const links = items.filter((one) => one.id === this.wanted.id).map((one) => el("li", {}, el("a", { href: machinePage(one) }, `${one.id} in pool ${one.pool} of provider ${one.provider}`)));
    this.tell("Several machines", "Several machines have this id.", "Which one is meant?", el("ul", { class: "section" }, links));
  }

  /** Say why there is nothing to be seen. */
  tell(title, first, then, ...rest) {
    this.machine = undefined;
    this.asking?.abort();
    for (const part of [this.badge.root, this.content, this.ranges, this.marked, this.old]) part.hidden = true;
    facts(this.facts, []);
    this.actions.replaceChildren();
    document.title = `${title}: appliance`;
    this.waiting.hidden = false;
    if (this.waiting.dataset.said === first) return;
    this.waiting.dataset.said = first;
    this.waiting.replaceChildren(el("p", {}, el("strong", {}, first)), el("p", {}, then), ...rest, el("p", { class: "section" }, el("a", { href: LIST }, "All machines")));
  }

  show(machine) {
    const another = !this.machine || machineKey(this.machine) !== machineKey(machine) || this.machine.host_id !== machine.host_id;
    this.machine = machine;
    this.shownAt = performance.now();
    this.waiting.hidden = true;
    this.waiting.dataset.said = "";
    for (const part of [this.content, this.ranges, this.badge.root]) part.hidden = false;
    text(this.heading, machine.id);
    document.title = `${machine.id}: machine`;
    this.badge.update(machine);
    facts(this.facts, [machine.hostname, machine.is_local && "this host", `pool ${machine.pool}`, machine.provider !== "generic" && `provider ${machine.provider}`]);
    this.marked.hidden = !markWords(machine);
    if (!this.marked.hidden) text(this.marked, `This machine is ${markWords(machine)}: it gets no new work.${machine.mark_reason ? ` ${machine.mark_reason}` : ""}`);
    this.old.hidden = isLive(machine);
    if (!this.old.hidden) text(this.old, this.whyOld(machine));
    for (const card of [...this.shares, this.work]) card.show(machine);
    if (another) this.makeButtons();
    this.buttons?.update(machine);
    this.tick();
    if (another || performance.now() > this.refreshAt) this.reload();
    else this.push();
  }

  whyOld({ state, last_keepalive_unix_s: at }) {
    if (state === "pending") return "This machine has not registered yet: start its agent with the command line that was shown with its token.";
    if (state === "registered") return "This machine has registered, and is ready with its first keepalive.";
    return known(at) ? `This machine has sent no keepalive since ${clock(at)}, and is no longer listed. It comes back when its agent registers again.` : "This machine never sent a keepalive, and is not listed.";
  }

  makeButtons() {
    this.actions.replaceChildren();
    this.buttons = null;
    if (!mayManage(this.person)) return;
    this.buttons = machineButtons(this.machine, { said: this.said, changed: () => this.reading.now(), deleted: () => location.assign(LIST) });
    this.actions.append(...this.buttons.nodes);
  }

  tick() {
    if (!this.machine) return;
    this.life.show(this.machine, (performance.now() - this.shownAt) / 1000);
    if (!isLive(this.machine)) for (const { chart } of this.shares) chart.setWindow(this.window());
  }

  // --- events ---

  async readEvents() {
    const { machine } = this;
    const query = new URLSearchParams({ kinds: machine.is_local ? "" : "machine.", limit: String(EVENTS), newest: "true" });
    if (this.after !== undefined) {
      query.delete("newest");
      query.set("after", String(this.after));
    }
    const { items } = await ask(`/api/appliance/events/history?${query}`);
    this.after = items.reduce((last, event) => Math.max(last, event.event_id), this.after ?? 0);
    const name = [machine.provider, machine.pool, machine.id].join("/");
    // Where many machines come to the same at once, one event names the first of them.
    this.feed.add(items.filter((event) => event.subject === machine.host_id || event.data.machines?.includes?.(name)));
    this.events.hidden = machine.is_local && this.feed.events.size === 0; // this host's own are those of its GPUs
  }

  // --- charts ---

  window() {
    return windowOf(applianceNow(), Number(this.range), this.first);
  }

  push() {
    const at = this.machine.last_keepalive_unix_s;
    if (!known(at) || !isLive(this.machine)) return;
    const window = this.window();
    for (const share of this.shares) share.chart.push(at, [share.now(this.machine)], window);
  }

  /** The figures of keepalives that no host has. */
  async readValues(seconds, signal, window) {
    const { id, pool, provider } = this.machine;
    const metrics = this.values.map((value) => value.metric).join(",");
    const query = new URLSearchParams({ pool, provider, metrics, from_unix_s: String(applianceNow() - seconds) });
    const { series } = await ask(`/api/appliance/machines/${encodeURIComponent(id)}/series?${query}`, { signal });
    for (const value of this.values) value.fill(series, BEAT_SECONDS, window);
  }

  setRange(seconds) {
    if (seconds === this.range) return;
    this.range = seconds;
    history.replaceState(null, "", `#${seconds}`);
    this.ranges.querySelector(`input[value="${seconds}"]`).checked = true;
    this.reload();
  }

  async reload() {
    if (!this.machine) return;
    const { host_id: host, is_local: isLocal } = this.machine;
    const seconds = Number(this.range);
    this.refreshAt = performance.now() + Math.max(60, seconds / 60) * 1000;
    this.asking?.abort();
    const mine = (this.asking = new AbortController());
    attribute(this.content, "aria-busy", "true");
    try {
      const parts = await fetchHistory(this.shares.map((share) => share.metric), applianceNow(), seconds, mine.signal, host);
      if (mine.signal.aborted) return;
      const [part] = parts;
      this.first = part.x[0] ?? applianceNow();
      const step = part.x.length > 1 ? stepOf(part.x) : 0;
      part.stepSeconds = Math.max(part.stepSeconds, step, isLocal ? 0 : BEAT_SECONDS);
      const window = this.window();
      for (const share of this.shares) fill(share.chart, [share.metric], parts, window);
      if (!isLocal) await this.readValues(seconds, mine.signal, window);
      this.push();
      this.pastTrouble.replaceChildren();
    } catch (error) {
      if (error.name !== "AbortError") this.pastTrouble.replaceChildren(failure(error));
    } finally {
      if (!mine.signal.aborted) attribute(this.content, "aria-busy", null);
    }
  }
}

const id = decodeURIComponent(location.pathname.split("/")[3] ?? "");
const query = new URLSearchParams(location.search);
new MachinePage(await frame("machines"), { id, place: { pool: query.get("pool"), provider: query.get("provider") } }).start();
