// The cards of one monitored server, from snapshots as the metrics API has them.
// Each card's `charts` are [{chart, of(point), now(snapshot)}]: its lines' values in the past and at present.

import { Chart } from "./chart.js";
import { el, keyed, text } from "./dom.js";
import { bytes, dateTime, known, NONE, number, percent, rate } from "./format.js";
import { card, CpuCard, DeviceCard, MemoryCard, WHOLE_HOST } from "./host.js";

/** A rate of a snapshot: the API writes 0 where there was no sample before it to measure from. */
function rateOf(snapshot, value) {
  return known(snapshot.interval_seconds) ? value : null;
}

export class ServerCpuCard extends CpuCard {
  constructor() {
    super();
    this.charts = [{
      chart: this.chart,
      of: (point) => [point.cpu_usage_percent, point.cpu_iowait_percent],
      now: (snapshot) => [snapshot.cpu.usage_percent, snapshot.cpu.iowait_percent],
    }];
  }

  show(snapshot, system) {
    const { cpu } = snapshot;
    this.cpu = cpu;
    this.processes = snapshot.process_count;
    this.update({
      cpu_percent: cpu.usage_percent, cpu_user_percent: cpu.user_percent, cpu_system_percent: cpu.system_percent, cpu_iowait_percent: cpu.iowait_percent,
      cpu_frequency_mhz: cpu.frequency_mhz, cpu_temperature_celsius: cpu.temperature_c,
    }, { cpu_model: typeof system.cpu_model === "string" ? system.cpu_model : "" });
  }

  /** Agents tell of no single cores: their number and the load stand here instead. */
  showCores() {
    const { count_logical: logical, count_physical: physical, load_1, load_5, load_15 } = this.cpu;
    const cores = logical ? `${logical} logical cores${physical ? `, ${physical} physical` : ""}` : "";
    const load = known(load_1) ? `load ${number(load_1, 2)} ${number(load_5, 2)} ${number(load_15, 2)}` : "load not reported";
    text(this.coreWords, [cores, load, this.processes ? `${this.processes} processes` : ""].filter(Boolean).join(" · "));
  }
}

export class ServerMemoryCard extends MemoryCard {
  constructor() {
    super(new Chart("Memory", "percent", [{ label: "memory used", colour: "c2" }, { label: "swap used", colour: "c3" }]));
    this.charts = [{
      chart: this.chart,
      of: (point) => [point.memory_percent, point.swap_percent],
      now: (snapshot) => [snapshot.memory.percent, snapshot.memory.swap_percent],
    }];
  }

  show({ memory }) {
    const reported = memory.total_bytes > 0;
    this.update({
      memory_percent: memory.percent, memory_total_bytes: reported ? memory.total_bytes : null,
      memory_used_bytes: reported ? memory.used_bytes : null, memory_available_bytes: reported ? memory.available_bytes : null,
      swap_total_bytes: memory.swap_total_bytes, swap_used_bytes: memory.swap_used_bytes,
    });
  }
}

export class ServerDisksCard extends DeviceCard {
  /** `changed()` is told when another disk is to be shown. */
  constructor(changed) {
    super({
      title: "Disks", heads: ["Device", "Read", "Write", "Busy"], kind: "rate", changed,
      lines: [{ label: "read", colour: "c1" }, { label: "write", colour: "c3" }],
      list: (snapshot) => snapshot.disk.devices, name: (disk) => disk.device,
      cells: (disk) => [disk.device, ...["read_bps", "write_bps"].map((name) => rate(rateOf(this.snapshot, disk[name]))), percent(rateOf(this.snapshot, disk.util_percent))],
    });
    this.charts = [{
      chart: this.chart,
      of: (point) => this.lines(this.chosen === WHOLE_HOST ? { read_bps: point.disk_read_bps, write_bps: point.disk_write_bps } : this.find(point.disks)),
      now: (snapshot) => this.lines(this.chosen === WHOLE_HOST ? snapshot.disk : this.find(snapshot.disk.devices)).map((value) => rateOf(snapshot, value)),
    }];
  }

  find(disks) {
    return disks.find((disk) => disk.device === this.chosen);
  }

  lines(one) {
    return [one?.read_bps, one?.write_bps];
  }

  show(snapshot) {
    this.snapshot = snapshot;
    const disks = this.list(snapshot);
    this.choose([[WHOLE_HOST, "all together"], ...disks.map((disk) => [disk.device, disk.device])], WHOLE_HOST);
    super.show(disks);
  }
}

function figure(label) {
  const value = el("dd", { class: "big" });
  const under = el("dd", { class: "small muted" });
  return { root: el("div", {}, el("dt", { class: "small muted" }, label), value, under), value, under };
}

export class ServerNetworkCard {
  constructor() {
    const chart = new Chart("Network", "rate", [{ label: "received", colour: "c1" }, { label: "sent", colour: "c2" }]);
    this.received = figure("Received");
    this.sent = figure("Sent");
    Object.assign(this, card("Network", el("dl", { class: "figures" }, this.received.root, this.sent.root), chart.root));
    text(this.sub, "all interfaces together");
    this.charts = [{
      chart,
      of: (point) => [point.network_rx_bps, point.network_tx_bps],
      now: (snapshot) => [snapshot.network.rx_bps, snapshot.network.tx_bps].map((value) => rateOf(snapshot, value)),
    }];
  }

  show(snapshot) {
    const { network } = snapshot;
    for (const [shown, bps, total] of [[this.received, network.rx_bps, network.rx_bytes_total], [this.sent, network.tx_bps, network.tx_bytes_total]]) {
      text(shown.value, rate(rateOf(snapshot, bps)));
      text(shown.under, total ? `${bytes(total)} since the start` : "");
    }
  }
}

export class ServerFansCard {
  constructor() {
    this.rows = el("dl", { class: "lines" });
    Object.assign(this, card("Fans", this.rows));
    this.charts = [];
  }

  show({ fans }) {
    this.root.hidden = fans.devices.length === 0;
    keyed(this.rows, fans.devices, (fan) => fan.label, (fan) => {
      const value = el("dd");
      return { root: el("div", {}, el("dt", { class: "clip", title: fan.label }, fan.label), value), update: (one) => text(value, known(one.speed_rpm) ? `${number(one.speed_rpm)} rpm` : NONE) };
    });
  }
}

export class ServerSystemCard {
  constructor() {
    this.rows = el("dl", { class: "lines" });
    this.none = el("p", { class: "muted" });
    this.note = el("p", { class: "small muted section" }, "As the agent told when it started.");
    this.local = el("p", { class: "small muted section" }, "This is the host that the appliance runs on: the ", el("a", { href: "/" }, "overview"), " has its processes, file systems and interfaces.");
    Object.assign(this, card("System", this.none, this.rows, this.note, this.local));
    this.charts = [];
  }

  show(snapshot, system, server) {
    const info = snapshot.server.agent_info ?? {};
    const words = (...values) => values.filter((value) => typeof value === "string" && value).join(" ");
    const labels = Object.entries(info.labels ?? {}).map(([key, value]) => `${key}=${value}`).join(", ");
    const lines = [
      ["Host name", server.hostname], ["System", words(system.platform_full) || words(system.os_name, system.os_release) || words(info.platform)],
      ["Processor", words(system.cpu_model) || words(system.processor)], ["Architecture", words(system.machine)],
      ["Memory", system.memory_total_bytes > 0 ? bytes(system.memory_total_bytes) : ""],
      ["Started", known(system.boot_time) ? dateTime(system.boot_time) : words(system.boot_time)],
      ["Agent", [server.agent_version, server.agent_user && `run by ${server.agent_user}`, known(info.pid) && `pid ${info.pid}`].filter(Boolean).join(", ")],
      ["Python", words(system.python_version) || words(info.python)], ["Labels", labels],
      ...each(system.interfaces).map((one) => [words(one.name), words(one.ipv4, one.ipv6)]),
      ...each(system.partitions).map((one) => [words(one.mountpoint), known(one.free_bytes) ? `${bytes(one.free_bytes)} free of ${bytes(one.total_bytes)}, ${words(one.fstype)}` : words(one.fstype)]),
    ].filter(([label, value]) => label && value);
    const told = Object.keys(info).length > 0;
    text(this.none, "The agent has told nothing of its host.");
    this.none.hidden = told || server.is_local;
    this.note.hidden = !told || server.is_local;
    this.local.hidden = !server.is_local;
    keyed(this.rows, lines.map(([label, value], i) => ({ key: `${i} ${label}`, label, value })), (line) => line.key, ({ label }) => {
      const value = el("dd");
      return { root: el("div", {}, el("dt", { class: "clip", title: label }, label), value), update: (line) => text(value, line.value) };
    });
  }
}

/** The objects of a list that an agent sent; whatever else it sent is none. */
function each(list) {
  return Array.isArray(list) ? list.filter((one) => one !== null && typeof one === "object") : [];
}

/** What an agent told of its host, or nothing. */
export function systemOf(snapshot) {
  const info = snapshot.server.agent_info?.system_info;
  return info !== null && typeof info === "object" ? info : {};
}

