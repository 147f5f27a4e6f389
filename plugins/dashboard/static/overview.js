// The overview: every card of this host, filled at once, moved by one event stream.

import { ask } from "./api.js";
import { choice, el, facts, keyed, notice, text } from "./dom.js";
import { Feed } from "./feed.js";
import { clock, number, plural, span } from "./format.js";
import { GPU_CHARTS, GpuCard } from "./gpu.js";
import { fetchHistory, fill, RANGES, windowOf } from "./history.js";
import { CpuCard, DisksCard, FilesystemsCard, MemoryCard, NetworkCard } from "./host.js";
import { panelCard, panelKey } from "./panels.js";
import { backendSteps, troubles } from "./readiness.js";
import { failure, frame } from "./shell.js";
import { follow } from "./stream.js";

const EVENTS_EVERY_MS = 10_000;
const PLUGINS_EVERY_MS = 60_000;

class Overview {
  constructor({ main, setBrand, setLive }) {
    Object.assign(this, { main, setBrand, setLive });
    this.spanSeconds = Number(RANGES[0][0]);
    this.gpuChart = GPU_CHARTS[0];
    this.cards = new Map(); // gpu_id -> GpuCard
    this.connected = false;
    this.build();
  }

  build() {
    this.heading = el("h1", {}, "This host");
    this.facts = el("p", { class: "facts" });
    const ranges = choice("Time range of all charts", "range", RANGES, RANGES[0][0], (value) => this.setSpan(Number(value)));
    const metrics = choice("What the GPU charts show", "gpu-chart", GPU_CHARTS.map(([key, label]) => [key, label]), this.gpuChart[0], (value) => this.setGpuChart(value));
    this.metricChoice = metrics;
    this.lost = notice("warning");
    this.lost.hidden = true;
    this.stale = notice("warning");
    this.stale.hidden = true;
    this.troubles = el("div");
    this.gpus = el("div", { class: "grid gpus" });
    this.noGpu = el("article", { class: "card wide", "aria-label": "No GPU" });
    this.cpu = new CpuCard();
    this.memory = new MemoryCard();
    this.disks = new DisksCard(() => this.reload());
    this.network = new NetworkCard(() => this.reload());
    this.filesystems = new FilesystemsCard();
    this.panels = el("div", { class: "grid" });
    this.feed = new Feed(8);
    const feed = el("article", { class: "card", "aria-label": "Recent events" }, el("header", {}, el("h3", {}, "Recent events"), el("a", { class: "end small", href: "/ui/events" }, "All events")), this.feed.root);
    this.waiting = el("p", { class: "loading" }, "Waiting for the first reading");
    this.content = el("div", {},
      el("h2", { class: "visually-hidden" }, "GPUs"), this.noGpu, this.gpus,
      el("h2", { class: "visually-hidden" }, "Host"),
      el("div", { class: "grid" }, this.cpu.root, this.memory.root, this.disks.root, this.network.root, this.filesystems.root, feed),
      el("h2", { class: "visually-hidden" }, "From plugins"), this.panels);
    this.content.hidden = true;
    this.main.append(
      el("div", { class: "page-head" }, el("div", {}, this.heading, this.facts), el("div", { class: "end" }, metrics, ranges)),
      this.lost, this.stale, this.troubles, this.waiting, this.content);
  }

  start() {
    this.setLive("", "connecting");
    this.stream = follow("/api/appliance/overview/stream", {
      events: {
        overview: (document_) => this.show(document_),
        sample: (document_) => this.show(document_),
        panels: ({ panels }) => this.showPanels(panels),
      },
      opened: () => this.back(),
      lost: (seconds) => this.away(seconds),
      check: () => ask("/api/auth/me"),
      silenceSeconds: () => Math.max(25, 4 * (this.sampleSeconds ?? 2)),
    });
    this.readEvents();
    this.readPlugins();
    setInterval(() => this.connected && this.readEvents(), EVENTS_EVERY_MS);
    setInterval(() => this.connected && this.readPlugins(), PLUGINS_EVERY_MS);
    setInterval(() => this.tick(), 2000);
    document.addEventListener("visibilitychange", () => document.hidden || this.redraw());
  }

  // --- connection ---

  back() {
    this.connected = true;
    this.lost.hidden = true;
    this.setLive("ok", "live");
    this.needsHistory = true; // what happened meanwhile is in the series, if the appliance was there to see it
    this.readPlugins();
  }

  away(seconds) {
    this.connected = false;
    this.setLive("critical", "not connected");
    this.lost.hidden = false;
    text(this.lost, `The connection to the appliance is lost; what you see is ${this.lastSeen ? `from ${clock(this.lastSeen)}` : "not current"}. Trying again ${seconds < 2 ? "now" : `in ${Math.round(seconds)} s`}.`);
  }

  /** The appliance's time now: that of its newest document, moved on by our own steady clock. */
  now() {
    return this.lastSeen + (performance.now() - this.lastSeenAt) / 1000;
  }

  tick() {
    if (!this.lastSeen) return;
    const late = this.now() - this.lastSample;
    const behind = this.connected && late > Math.max(15, 5 * this.sampleSeconds);
    this.stale.hidden = !behind;
    if (behind) {
      text(this.stale, `No new reading for ${span(late)}, although the appliance answers: sampling may be held up by a driver.`);
      this.setLive("warning", "no new readings");
    } else if (this.connected) {
      this.setLive("ok", "live");
    }
    if (!this.connected || behind) for (const { chart } of this.charts()) chart.setWindow(this.window());
    if (this.connected && performance.now() > this.refreshAt) this.reload();
  }

  window() {
    return windowOf(this.now(), this.spanSeconds, this.first);
  }

  // --- charts ---

  /** Every chart with the series metrics behind its lines and how to read them from a sample. */
  *charts() {
    for (const card of [this.cpu, this.memory, this.disks, this.network]) {
      if (card.metrics.length) yield { chart: card.chart, metrics: card.metrics, values: () => card.values(this.host.latest) };
    }
    for (const card of this.cards.values()) {
      yield { chart: card.chart, metrics: [`gpus.${card.id}.${card.metric}`], values: () => [card.gpu.latest?.[card.metric]], at: () => card.gpu.latest?.taken_at_unix_s };
    }
  }

  setSpan(seconds) {
    this.spanSeconds = seconds;
    this.reload();
  }

  setGpuChart(key) {
    this.gpuChart = GPU_CHARTS.find(([name]) => name === key);
    for (const card of this.cards.values()) card.chartFor(this.gpuChart);
    this.reload();
  }

  async reload() {
    if (!this.host?.latest) return;
    this.needsHistory = false;
    this.refreshAt = performance.now() + Math.max(60, this.spanSeconds / 60) * 1000;
    this.asking?.abort();
    const mine = (this.asking = new AbortController());
    const charts = [...this.charts()];
    try {
      const now = this.now();
      const parts = await fetchHistory(charts.flatMap(({ metrics }) => metrics), now, this.spanSeconds, mine.signal);
      if (mine.signal.aborted) return;
      const starts = parts.map((part) => part.x[0]).filter((at) => at !== undefined);
      this.first = starts.length ? Math.min(...starts) : now;
      const window = this.window();
      for (const { chart, metrics } of charts) fill(chart, metrics, parts, window);
      this.historyFailed?.remove();
    } catch (error) {
      if (error.name === "AbortError") return;
      this.historyFailed?.remove();
      this.historyFailed = failure(error);
      this.troubles.before(this.historyFailed);
    }
  }

  redraw() {
    for (const { chart } of this.charts()) chart.draw();
  }

  // --- cards ---

  show(document_) {
    const { host, gpus, backends } = document_;
    this.host = host;
    this.lastSeen = document_.at_unix_s;
    this.lastSeenAt = performance.now();
    this.sampleSeconds = host.sample_seconds ?? 2;
    this.lastSample = host.latest?.taken_at_unix_s ?? this.lastSeen;
    this.showHost(host, gpus);
    this.showGpus(gpus, document_.processes ?? [], backends ?? []);
    if (document_.panels) this.showPanels(document_.panels);
    this.backends = backends ?? [];
    this.showTroubles();
    if (!host.latest) return;
    this.content.hidden = false;
    this.waiting.hidden = true;
    const now = host.latest;
    for (const card of [this.cpu, this.memory, this.disks, this.network, this.filesystems]) card.update(now, host);
    if (this.first === undefined || this.needsHistory) {
      this.first ??= this.lastSample;
      this.reload();
      return;
    }
    const window = this.window();
    for (const { chart, values, at } of this.charts()) chart.push(at?.() ?? now.taken_at_unix_s, values(), window);
  }

  showHost(host, gpus) {
    const now = host.latest ?? {};
    text(this.heading, host.hostname);
    this.setBrand(host.hostname);
    document.title = `${host.hostname}: overview`;
    const physical = gpus.filter((gpu) => !gpu.parent_gpu_id);
    const busy = physical.filter((gpu) => gpu.latest?.utilization_percent > 5 || gpu.top_process).length;
    facts(this.facts, [
      physical.length ? `${plural(physical.length, "GPU")}, ${busy} in use` : "no GPU",
      host.system, host.kernel ? `kernel ${host.kernel}` : "", `up ${span(now.uptime_seconds)}`,
      `load ${number(now.cpu_load_1, 2)} ${number(now.cpu_load_5, 2)} ${number(now.cpu_load_15, 2)}`, `${number(now.process_count)} processes`,
    ]);
  }

  showGpus(gpus, processes, backends) {
    const physical = gpus.filter((gpu) => !gpu.parent_gpu_id || !gpus.some((other) => other.gpu_id === gpu.parent_gpu_id));
    this.metricChoice.hidden = physical.length === 0;
    this.gpus.hidden = physical.length === 0;
    this.noGpu.hidden = physical.length > 0;
    if (physical.length === 0) backendSteps(this.noGpu, backends);
    const items = physical.map((gpu) => {
      const instances = gpus.filter((other) => other.parent_gpu_id === gpu.gpu_id);
      const ids = new Set([gpu.gpu_id, ...instances.map((instance) => instance.gpu_id)]);
      return { gpu, instances, processes: processes.filter((process) => ids.has(process.gpu_id)) };
    });
    const before = this.cards.size;
    keyed(this.gpus, items, ({ gpu }) => gpu.gpu_id, ({ gpu }) => this.makeCard(gpu));
    if (this.first !== undefined && this.cards.size > before) this.needsHistory = true;
  }

  makeCard(gpu) {
    const card = new GpuCard(gpu);
    card.index = gpu.index;
    card.gpu = gpu;
    card.chartFor(this.gpuChart);
    this.cards.set(gpu.gpu_id, card);
    const close = card.close.bind(card);
    card.close = () => {
      this.cards.delete(gpu.gpu_id);
      close();
    };
    return card;
  }

  showPanels(panels) {
    this.panels.hidden = panels.length === 0;
    keyed(this.panels, panels, panelKey, panelCard);
  }

  // --- events, plugins ---

  async readEvents() {
    try {
      const after = this.lastEvent;
      const answer = await ask(after ? `/api/appliance/events/history?after=${after}&limit=50` : "/api/appliance/events/history?newest=true&limit=8");
      this.feed.add(answer.items);
      for (const event of answer.items) this.lastEvent = Math.max(this.lastEvent ?? 0, event.event_id);
    } catch { /* a lost connection is told by the stream; the next look tries again */ }
  }

  async readPlugins() {
    try {
      this.plugins = (await ask("/api/appliance/plugins")).items;
    } catch {
      return; // as above
    }
    this.showTroubles();
  }

  showTroubles() {
    const hasGpu = this.cards.size > 0;
    keyed(this.troubles, troubles(this.plugins ?? [], hasGpu ? this.backends ?? [] : []), (trouble) => trouble.key, () => {
      const root = notice("warning");
      return { root, update: (trouble) => text(root, trouble.words) };
    });
  }
}

const shell = await frame("overview");
new Overview(shell).start();
