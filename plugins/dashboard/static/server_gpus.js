// The GPUs of one monitored server: what each does now, and how all of them went.

import { Chart } from "./chart.js";
import { attribute, bar, el, keyed, text } from "./dom.js";
import { bytesOf, celsius, known, NONE, percent, plural, watts } from "./format.js";
import { card } from "./host.js";

const COLOURS = ["c1", "c3", "c2", "c4", "c5", "c6", "c8", "c7"];
const HEADS = ["GPU", "Utilisation", "Memory", "Temperature", "Power", "Fan"];

/** What is charted: [title, kind, its name in points and snapshots alike]. */
const CHARTS = [
  ["GPU utilisation", "percent", "utilization_gpu_percent"],
  ["GPU memory", "percent", "memory_percent"],
  ["GPU temperature", "celsius", "temperature_c"],
];

function row() {
  const name = el("strong");
  const model = el("div", { class: "small muted clip" });
  const [load, memory] = [el("span"), el("span")];
  const loadBar = bar("utilisation", "c1");
  const memoryBar = bar("memory used", "c2");
  const rest = HEADS.slice(3).map((head) => el("td", { "data-head": head }));
  const cell = (head, ...nodes) => el("td", { "data-head": head }, el("div", { class: "grow" }, nodes));
  const root = el("tr", {}, cell(HEADS[0], name, model), cell(HEADS[1], load, loadBar.root), cell(HEADS[2], memory, memoryBar.root), rest);
  return {
    root,
    update(gpu) {
      text(name, `GPU ${gpu.gpu_index}`);
      text(model, gpu.name);
      attribute(model, "title", [gpu.name, gpu.uuid].filter(Boolean).join(", "));
      text(load, percent(gpu.utilization_gpu_percent));
      loadBar.update(gpu.utilization_gpu_percent, percent(gpu.utilization_gpu_percent));
      const used = gpu.memory_total_bytes > 0 ? bytesOf(gpu.memory_used_bytes, gpu.memory_total_bytes).both : percent(gpu.memory_percent);
      text(memory, used);
      memoryBar.update(gpu.memory_percent, used);
      const power = known(gpu.power_w) && known(gpu.power_limit_w) ? `${watts(gpu.power_w)} of ${watts(gpu.power_limit_w)}` : watts(gpu.power_w);
      [celsius(gpu.temperature_c), power, known(gpu.fan_speed_percent) ? percent(gpu.fan_speed_percent) : NONE].forEach((words, i) => text(rest[i], words));
    },
  };
}

export class ServerGpusCard {
  constructor() {
    this.rows = el("tbody");
    this.gone = el("p", { class: "muted" }, "The newest sample has no GPU; below is what was.");
    this.table = el("div", { class: "scroll" }, el("table", { class: "stack gpu-table" }, el("caption", { class: "visually-hidden" }, "GPUs"),
      el("thead", {}, el("tr", {}, HEADS.map((head) => el("th", { scope: "col" }, head)))), this.rows));
    this.places = el("div", { class: "grid charts" });
    Object.assign(this, card("GPUs", this.gone, this.table, this.places));
    this.root.classList.add("wide");
    this.indexes = [];
    this.charts = [];
  }

  show({ gpu }) {
    this.devices = gpu.devices;
    text(this.sub, gpu.devices.length ? plural(gpu.devices.length, "GPU") : "");
    keyed(this.rows, gpu.devices, (one) => `${one.gpu_index} ${one.uuid}`, row);
    this.table.hidden = gpu.devices.length === 0;
    this.gone.hidden = gpu.devices.length > 0;
    return this.know(gpu.devices);
  }

  /** Give every GPU that is or was there its line; whether that changed the charts. */
  know(devices) {
    const missing = [...new Set(devices.map((one) => one.gpu_index))].filter((index) => !this.indexes.includes(index));
    this.root.hidden = this.indexes.length + missing.length === 0;
    if (missing.length === 0) return false;
    this.setLines([...this.indexes, ...missing]);
    return true;
  }

  /** Keep the lines of the GPUs in these points and in the newest sample; whether that changed the charts. */
  knowPast(points) {
    const wanted = new Set((this.devices ?? []).map((one) => one.gpu_index));
    for (const point of points) for (const one of point.gpus) wanted.add(one.gpu_index);
    const same = wanted.size === this.indexes.length && this.indexes.every((index) => wanted.has(index));
    if (!same) this.setLines([...wanted]);
    this.root.hidden = this.indexes.length === 0;
    return !same;
  }

  setLines(indexes) {
    this.indexes = indexes.sort((a, b) => a - b);
    for (const { chart } of this.charts) chart.close();
    const lines = this.indexes.map((index, i) => ({ label: `GPU ${index}`, colour: COLOURS[i % COLOURS.length] }));
    this.charts = CHARTS.map(([title, kind, name]) => {
      const values = (devices) => {
        const found = new Map(devices.map((one) => [one.gpu_index, one[name]]));
        return this.indexes.map((index) => found.get(index));
      };
      return { title, chart: new Chart(title, kind, lines), of: (point) => values(point.gpus), now: (snapshot) => values(snapshot.gpu.devices) };
    });
    this.places.replaceChildren(...this.charts.map(({ title, chart }) => el("div", {}, el("h3", { class: "small muted" }, title), chart.root)));
  }
}
