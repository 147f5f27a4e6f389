// The cards of the host itself: CPU, memory, disks, network, file systems.

import { Chart } from "./chart.js";
import { attribute, bar, el, facts, keyed, text } from "./dom.js";
import { bytes, bytesOf, celsius, known, megahertz, NONE, number, percent, rate, share } from "./format.js";

/** A card with a title and, beside it, `sub`. */
export function card(title, ...children) {
  const sub = el("span", { class: "sub clip" });
  const root = el("article", { class: "card", "aria-label": title }, el("header", {}, el("h3", {}, title), sub), ...children);
  return { root, sub };
}

/** "fans 900 to 1200 rpm", or nothing where none is reported. */
function fanWords(fans) {
  const speeds = fans.map((fan) => fan.speed_rpm).filter(known);
  if (speeds.length === 0) return "";
  const [slowest, fastest] = [Math.min(...speeds), Math.max(...speeds)];
  return `${speeds.length === 1 ? "fan" : "fans"} ${number(slowest)}${fastest > slowest ? ` to ${number(fastest)}` : ""} rpm`;
}

export class CpuCard {
  constructor() {
    this.busy = el("div", { class: "big" });
    this.split = el("p", { class: "facts small" });
    this.cores = el("div", { class: "cores", "aria-hidden": "true" });
    this.coreWords = el("p", { class: "small muted" });
    this.chart = new Chart("CPU", "percent", [{ label: "busy", colour: "c1" }, { label: "waiting for disk", colour: "c3" }]);
    this.metrics = ["cpu_percent", "cpu_iowait_percent"];
    Object.assign(this, card("CPU", el("div", { class: "hostline" }, this.busy, this.split), this.chart.root, this.cores, this.coreWords));
  }

  values(now) {
    return [now.cpu_percent, now.cpu_iowait_percent];
  }

  update(now, host) {
    text(this.sub, host.cpu_model ?? "");
    attribute(this.sub, "title", host.cpu_model ?? null);
    text(this.busy, percent(now.cpu_percent));
    facts(this.split, [
      `user ${percent(now.cpu_user_percent)}`, `system ${percent(now.cpu_system_percent)}`, `iowait ${percent(now.cpu_iowait_percent)}`,
      known(now.cpu_frequency_mhz) && megahertz(now.cpu_frequency_mhz), known(now.cpu_temperature_celsius) && celsius(now.cpu_temperature_celsius),
      fanWords(now.fans ?? []),
    ]);
    this.showCores(now.cpu_core_percents ?? []);
  }

  showCores(cores) {
    while (this.cores.childElementCount > cores.length) this.cores.lastChild.remove();
    while (this.cores.childElementCount < cores.length) this.cores.append(el("i"));
    cores.forEach((busy, core) => {
      const shown = this.cores.children[core];
      shown.style.setProperty("--busy", `${Math.min(100, Math.max(0, busy))}%`);
      attribute(shown, "class", busy >= 90 ? "hot" : null);
      attribute(shown, "title", `core ${core}: ${percent(busy)}`);
    });
    const hot = cores.filter((busy) => busy >= 90).length;
    const busiest = cores.length ? Math.max(...cores) : null;
    text(this.coreWords, cores.length ? `${cores.length} logical cores, busiest ${percent(busiest)}${hot ? `, ${hot} at 90 % or more` : ""}` : "per-core load is not reported yet");
  }
}

const MEMORY_LINES = [{ label: "memory used", colour: "c2" }, { label: "swap used", colour: "c3" }];

export class MemoryCard {
  constructor(chart = new Chart("Memory", "bytes", MEMORY_LINES, () => this.total)) {
    this.used = el("div", { class: "big" });
    this.rest = el("div", { class: "small muted" });
    this.swapWords = el("span");
    this.swapBar = bar("Swap used", "c3");
    this.chart = chart;
    this.metrics = ["memory_used_bytes", "swap_used_bytes"];
    Object.assign(this, card("Memory", el("div", { class: "hostline" }, this.used, this.rest), this.chart.root,
      el("div", { class: "fs" }, el("div", {}, el("div", { class: "row" }, el("span", {}, "Swap"), this.swapWords), this.swapBar.root))));
  }

  values(now) {
    return [now.memory_used_bytes, now.swap_used_bytes];
  }

  update(now) {
    this.total = now.memory_total_bytes;
    const of = bytesOf(now.memory_used_bytes, now.memory_total_bytes);
    this.used.replaceChildren(of.used === NONE ? "not reported" : of.used, " ", el("small", {}, of.of));
    text(this.rest, `${percent(now.memory_percent)} used · ${bytes(now.memory_available_bytes)} available`);
    const none = now.swap_total_bytes === 0;
    const swap = bytesOf(now.swap_used_bytes, now.swap_total_bytes);
    text(this.swapWords, none ? "no swap here" : swap.both);
    this.swapBar.update(none ? null : share(now.swap_used_bytes, now.swap_total_bytes), swap.both);
  }
}

/** A table of devices, one of which the chart above it shows. */
export class DeviceCard {
  constructor({ title, heads, kind, lines, list, name, metrics, values, cells, changed }) {
    Object.assign(this, { list, name, metricsOf: metrics, valuesOf: values });
    this.chart = new Chart(title, kind, lines);
    this.select = el("select", { "aria-label": `${title}: what the chart shows`, on: { change: () => { this.picked = this.select.value; this.chosen = this.picked; changed(); } } });
    this.picker = el("div", { class: "with-button" }, this.select);
    this.rows = el("tbody");
    this.empty = el("p", { class: "empty" }, "none reported");
    const table = el("table", {}, el("thead", {}, el("tr", {}, heads.map((head, i) => el("th", { scope: "col", class: i ? "num" : null }, head)))), this.rows);
    this.table = el("div", { class: "scroll" }, table);
    this.makeRow = () => {
      const parts = heads.map((_, i) => el("td", { class: i ? "num" : null }));
      return { root: el("tr", {}, parts), update: (device) => cells(device).forEach((cell, i) => text(parts[i], cell)) };
    };
    Object.assign(this, card(title, this.chart.root, this.empty, this.table));
    this.select.classList.add("end", "inline");
    this.root.firstChild.append(this.select);
  }

  get metrics() {
    return this.chosen === undefined ? [] : this.metricsOf(this.chosen);
  }

  values(now) {
    return this.valuesOf(now, this.list(now).find((device) => this.name(device) === this.chosen));
  }

  /** The devices that a chart can be of; all of them, and what the card adds. */
  choose(names, preferred) {
    if (this.select.dataset.names !== JSON.stringify(names)) {
      this.select.replaceChildren(...names.map(([value, label]) => el("option", { value }, label)));
      this.select.dataset.names = JSON.stringify(names);
    }
    const values = names.map(([value]) => value);
    this.chosen = values.includes(this.picked) ? this.picked : values.includes(this.chosen) ? this.chosen : preferred;
    if (this.chosen !== undefined && this.select.value !== this.chosen) this.select.value = this.chosen;
    this.select.hidden = names.length < 2;
  }

  show(devices) {
    this.empty.hidden = devices.length > 0;
    this.table.hidden = devices.length === 0;
    keyed(this.rows, devices, this.name, this.makeRow);
  }
}

function total(device, ...fields) {
  return fields.reduce((sum, field) => sum + (device[field] ?? 0), 0);
}

export class DisksCard extends DeviceCard {
  constructor(changed) {
    super({
      title: "Disks", heads: ["Device", "Read", "Write", "Busy"], kind: "rate", changed,
      lines: [{ label: "read", colour: "c1" }, { label: "write", colour: "c3" }],
      list: (now) => now.disks ?? [], name: (disk) => disk.device,
      metrics: (device) => [`disks.${device}.read_bytes_per_s`, `disks.${device}.write_bytes_per_s`],
      values: (_, disk) => [disk?.read_bytes_per_s, disk?.write_bytes_per_s],
      cells: (disk) => [disk.device, rate(disk.read_bytes_per_s), rate(disk.write_bytes_per_s), percent(disk.busy_percent)],
    });
  }

  update(now) {
    const disks = this.list(now);
    const busiest = [...disks].sort((a, b) => total(b, "read_bytes_total", "write_bytes_total") - total(a, "read_bytes_total", "write_bytes_total"))[0];
    this.choose(disks.map((disk) => [disk.device, disk.device]), busiest?.device);
    this.show(disks);
  }
}

/** The choice of all devices in one. */
export const WHOLE_HOST = "*";

export class NetworkCard extends DeviceCard {
  constructor(changed) {
    super({
      title: "Network", heads: ["Interface", "Received", "Sent", "Errors"], kind: "rate", changed,
      lines: [{ label: "received", colour: "c1" }, { label: "sent", colour: "c2" }],
      list: (now) => now.networks ?? [], name: (network) => network.interface,
      metrics: (name) => name === WHOLE_HOST ? ["network_rx_bytes_per_s", "network_tx_bytes_per_s"] : [`networks.${name}.rx_bytes_per_s`, `networks.${name}.tx_bytes_per_s`],
      values: (now, network) => this.chosen === WHOLE_HOST ? [now.network_rx_bytes_per_s, now.network_tx_bytes_per_s] : [network?.rx_bytes_per_s, network?.tx_bytes_per_s],
      cells: (network) => [network.interface, rate(network.rx_bytes_per_s), rate(network.tx_bytes_per_s), number(total(network, "rx_errors_total", "tx_errors_total"))],
    });
  }

  update(now) {
    const networks = this.list(now);
    this.choose([[WHOLE_HOST, "all together"], ...networks.map((network) => [network.interface, network.interface])], WHOLE_HOST);
    this.show(networks);
  }
}

export class FilesystemsCard {
  constructor() {
    this.list = el("ul", { class: "fs" });
    Object.assign(this, card("File systems", this.list));
  }

  update(now) {
    const systems = now.filesystems ?? [];
    this.root.hidden = systems.length === 0;
    keyed(this.list, systems, (system) => system.mountpoint, (system) => {
      const meter = bar(`${system.mountpoint} used`, "c1");
      const words = el("span", { class: "num" });
      const root = el("li", { title: `${system.device}, ${system.fstype}` }, el("div", { class: "row" }, el("span", { class: "mono clip" }, system.mountpoint), words), meter.root);
      return {
        root,
        update(one) {
          // Used and free leave out what is kept for root, so their sum, not the size, is what people can fill.
          const percentage = known(one.used_bytes) && known(one.free_bytes) ? share(one.used_bytes, one.used_bytes + one.free_bytes) : share(one.used_bytes, one.total_bytes);
          const said = known(one.free_bytes) ? `${bytes(one.free_bytes)} free of ${bytes(one.total_bytes)}` : "not reported";
          text(words, said);
          meter.update(percentage, said, percentage >= 95 ? "critical" : percentage >= 85 ? "warning" : "");
        },
      };
    });
  }
}
