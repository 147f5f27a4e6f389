// One card per GPU: what it does, who uses it, how it is; MIG instances under their parent.

import { Chart } from "./chart.js";
import { attribute, bar, el, keyed, text } from "./dom.js";
import { bytes, bytesOf, celsius, known, megahertz, NONE, number, percent, plural, share, watts } from "./format.js";

/** What the charts of all GPUs can show: [key, label, series metric, kind, colour, least top of the y axis]. */
export const GPU_CHARTS = [
  ["utilization", "Utilisation", "utilization_percent", "percent", "c1", () => null],
  ["memory", "Memory", "vram_used_bytes", "bytes", "c2", (gpu) => gpu.vram_total_bytes],
  ["power", "Power", "power_watts", "watts", "c3", (gpu) => gpu.latest?.power_limit_watts],
  ["temperature", "Temperature", "temperature_celsius", "celsius", "c4", () => 100],
];

/** Names of values as people say them, for "not reported" lines. */
const WORDS = {
  utilization_percent: "utilisation", vram_used_bytes: "memory used", vram_total_bytes: "memory total", power_watts: "power",
  power_limit_watts: "power limit", temperature_celsius: "temperature", clock_sm_mhz: "SM clock", clock_memory_mhz: "memory clock",
  fan_percent: "fan", sm_percent: "SM share", processes: "processes", throttle_reasons: "throttle reasons",
};

const SAID_IN_PLACE = new Set(["utilization_percent", "vram_used_bytes", "power_watts", "temperature_celsius", "fan_percent", "processes"]);

function words(field) {
  return WORDS[field] ?? field.replace(/_(percent|bytes|watts|celsius|mhz|total)\b/g, "").replaceAll("_", " ");
}

export function healthBadge() {
  const dot = el("span", { class: "dot", "aria-hidden": "true" });
  const label = el("span", { class: "clip" });
  const root = el("span", { class: "badge end" }, dot, label);
  return {
    root,
    update(gpu) {
      const [level, said] =
        gpu.state === "lost" ? ["critical", gpu.health_text && gpu.health_text !== "ok" ? gpu.health_text : "gone: the driver no longer lists it"]
        : gpu.state === "asleep" && gpu.health === "ok" ? ["", "asleep"]
        : gpu.health === "ok" ? ["ok", "healthy"]
        : [gpu.health, gpu.health_text || gpu.health];
      attribute(root, "class", `badge end ${level}`);
      attribute(dot, "class", `dot ${level}`);
      attribute(root, "title", said);
      text(label, said);
    },
  };
}

/** One figure with what it is measured against and a bar; where it is not reported, the reason stands instead. */
function stat(label, colour) {
  const value = el("div", { class: "value" });
  const of = el("div", { class: "of" });
  const meter = bar(label, colour);
  const root = el("div", {}, el("dt", {}, label), el("dd", {}, value, meter.root, of));
  return {
    root,
    update(shown, beside, percentage, reason, level = "") {
      const none = shown === NONE;
      attribute(value, "class", none ? "value none" : "value");
      text(value, none ? "not reported" : shown);
      text(of, none ? reason ?? "" : beside);
      of.style.whiteSpace = none ? "normal" : "";
      meter.update(percentage, none ? "not reported" : `${shown} ${beside}`, level);
    },
  };
}

function line(label) {
  const value = el("dd");
  const root = el("div", {}, el("dt", {}, label), value);
  return { root, value };
}

function processRow() {
  const who = el("span", { class: "who clip" });
  const what = el("span", { class: "clip mono" });
  const uses = el("span", { class: "num muted" });
  const root = el("li", { class: "process" }, who, what, uses);
  return {
    root,
    update(process) {
      const place = process.task || process.container;
      text(who, process.user ?? "unknown user");
      attribute(who, "title", process.user ? null : process.missing?.user ?? "the owner is not reported");
      const command = process.command ?? process.missing?.command ?? "command not reported";
      text(what, command + (place ? ` [${place}]` : ""));
      attribute(what, "title", `pid ${process.pid}: ${command}`);
      const sm = known(process.sm_percent) ? `${process.sm_percent.toFixed(0)} % SM` : "";
      const memory = known(process.vram_used_bytes) ? bytes(process.vram_used_bytes) : "memory n/a";
      text(uses, [memory, sm].filter(Boolean).join(" · "));
      const reasons = ["vram_used_bytes", "sm_percent"].filter((field) => process.missing?.[field]);
      attribute(uses, "title", reasons.length ? reasons.map((field) => `${words(field)}: ${process.missing[field]}`).join("; ") : null);
    },
  };
}

function migRow() {
  const profile = el("span", { class: "mono clip" });
  const memory = bar("memory used", "c2");
  const used = el("span", { class: "num" });
  const under = el("div", { class: "under clip" });
  const root = el("li", { class: "mig" }, profile, memory.root, used, under);
  return {
    root,
    update(gpu) {
      const now = gpu.latest ?? {};
      const total = now.vram_total_bytes ?? gpu.vram_total_bytes;
      const of = bytesOf(now.vram_used_bytes, total);
      text(profile, gpu.mig_profile ?? "MIG");
      attribute(profile, "title", gpu.gpu_id);
      memory.update(share(now.vram_used_bytes, total), of.both);
      text(used, known(now.vram_used_bytes) ? of.both : `not reported${now.missing?.vram_used_bytes ? `: ${now.missing.vram_used_bytes}` : ""}`);
      const top = gpu.top_process;
      const busy = known(now.utilization_percent) ? `${percent(now.utilization_percent)} busy` : now.missing?.utilization_percent ?? "utilisation not reported";
      text(under, top ? `${top.user ?? "unknown user"}: ${top.command ?? "command not reported"} · ${busy}` : busy);
    },
  };
}

export class GpuCard {
  constructor(gpu) {
    this.id = gpu.gpu_id;
    this.title = el("h3");
    this.model = el("span", { class: "sub clip" });
    this.health = healthBadge();
    this.stats = { utilization: stat("Utilisation", "c1"), memory: stat("Memory", "c2"), power: stat("Power", "c3"), temperature: stat("Temperature", "c4") };
    this.statList = el("dl", { class: "stats" }, Object.values(this.stats).map((one) => one.root));
    this.absent = el("p", { class: "absent muted" });
    this.chartPlace = el("div");
    this.clocks = line("Clocks");
    this.fan = line("Fan, link");
    this.throttle = line("Slowed by");
    this.marks = line("Marked");
    this.lines = el("dl", { class: "lines" }, this.clocks.root, this.fan.root, this.throttle.root, this.marks.root);
    this.processTitle = el("h3");
    this.processes = el("ul");
    this.moreProcesses = el("p", { class: "small muted" });
    this.processSection = el("div", { class: "section" }, this.processTitle, this.processes, this.moreProcesses);
    this.mig = el("ul");
    this.migSection = el("div", { class: "section" }, el("h3", {}, "MIG instances"), this.mig);
    this.whyTitle = el("summary");
    this.whyList = el("ul", { class: "why" });
    this.why = el("details", { class: "more section" }, this.whyTitle, this.whyList);
    this.root = el("article", { class: "card" },
      el("header", {}, this.title, this.model, this.health.root),
      this.statList, this.absent,
      this.chartPlace, this.lines, this.migSection,
      this.processSection, this.why);
  }

  close() {
    this.chart?.close();
  }

  /** Show another metric in the chart; its data comes with the next history. */
  chartFor([, label, metric, kind, colour, ceiling]) {
    this.chart?.close();
    this.metric = metric;
    this.chart = new Chart(`${label} of GPU ${this.index}`, kind, [{ label, colour }], () => ceiling(this.gpu));
    this.chartPlace.replaceChildren(this.chart.root);
  }

  showAbsence(missing) {
    text(this.chart.none, missing[this.metric] ? `not reported: ${missing[this.metric]}` : "no values yet");
  }

  update({ gpu, processes, instances }) {
    this.gpu = gpu;
    this.index = gpu.index;
    const now = gpu.latest ?? {};
    const missing = { ...now.missing };
    const asleep = gpu.state === "asleep" || now.asleep === true;
    text(this.title, `GPU ${gpu.index}`);
    text(this.model, gpu.model);
    attribute(this.model, "title", `${gpu.model}, ${gpu.gpu_id}`);
    attribute(this.root, "aria-label", `GPU ${gpu.index}, ${gpu.model}`);
    this.health.update(gpu);
    this.showStats(now, gpu, asleep ? {} : missing);
    this.showAbsence(missing);
    this.showLines(now, gpu);
    this.statList.hidden = asleep || gpu.state === "lost";
    this.absent.hidden = !asleep && gpu.state !== "lost";
    text(this.absent, asleep ? "Asleep, and not woken to be measured. Its figures come back with its first use." : "This GPU was here and is gone: the driver no longer lists it. Below is its past.");
    this.processSection.hidden = gpu.state !== "present";
    this.showProcesses(now, processes, missing);
    this.migSection.hidden = instances.length === 0;
    keyed(this.mig, instances, (instance) => instance.gpu_id, migRow);
    this.showWhy(now, asleep ? {} : missing);
  }

  showStats(now, gpu, missing) {
    const total = now.vram_total_bytes ?? gpu.vram_total_bytes;
    const memory = bytesOf(now.vram_used_bytes, total);
    this.stats.utilization.update(percent(now.utilization_percent), "", now.utilization_percent, missing.utilization_percent);
    this.stats.memory.update(memory.used, memory.of, share(now.vram_used_bytes, total), missing.vram_used_bytes);
    const limit = known(now.power_limit_watts) ? `of ${watts(now.power_limit_watts)}` : "limit not reported";
    this.stats.power.update(watts(now.power_watts), limit, share(now.power_watts, now.power_limit_watts), missing.power_watts);
    const hot = now.temperature_celsius >= 90 ? "critical" : now.temperature_celsius >= 84 ? "warning" : "";
    const memoryHeat = known(now.memory_temperature_celsius) ? `memory ${celsius(now.memory_temperature_celsius)}` : "";
    this.stats.temperature.update(celsius(now.temperature_celsius), memoryHeat, now.temperature_celsius, missing.temperature_celsius, hot);
  }

  showLines(now, gpu) {
    const clock = (name, value, most) => `${name} ${megahertz(value)}${known(value) && known(most) ? ` of ${number(most)}` : ""}`;
    text(this.clocks.value, `${clock("SM", now.clock_sm_mhz, gpu.clock_sm_max_mhz)}, ${clock("memory", now.clock_memory_mhz, gpu.clock_memory_max_mhz)}`);
    const fan = known(now.fan_percent) ? percent(now.fan_percent) : now.missing?.fan_percent ?? "fan not reported";
    const link = known(now.pcie_link_generation) && known(now.pcie_link_width) ? `PCIe ${now.pcie_link_generation} x${now.pcie_link_width}` : "";
    text(this.fan.value, [fan, link, now.performance_state].filter(Boolean).join(" · "));
    const reasons = now.throttle_reasons ?? [];
    this.throttle.root.hidden = reasons.length === 0;
    text(this.throttle.value, reasons.join(", "));
    const marks = gpu.marks ?? [];
    this.marks.root.hidden = marks.length === 0;
    text(this.marks.value, marks.map((mark) => mark.mark + (mark.reason ? `: ${mark.reason}` : "")).join("; "));
    this.lines.hidden = !gpu.latest || gpu.state !== "present";
  }

  showProcesses(now, processes, missing) {
    const count = Math.max(now.process_count ?? 0, processes.length);
    const unknown = missing.processes && count === 0;
    text(this.processTitle, count === 0 ? "Processes" : count === 1 ? "1 process" : `${count} processes, most memory first`);
    const shown = processes.slice(0, 4);
    keyed(this.processes, shown, (process) => `${process.gpu_id} ${process.pid} ${process.kind}`, processRow);
    const more = count - shown.length;
    this.moreProcesses.hidden = more <= 0 && count > 0;
    text(this.moreProcesses, more > 0 ? `and ${more} more (appliance ps lists all)` : unknown ? missing.processes : this.gpu.latest ? "none: nobody uses this GPU" : "no reading yet");
  }

  showWhy(now, missing) {
    const entries = Object.entries(missing).filter(([field]) => !known(now[field]) && !SAID_IN_PLACE.has(field));
    this.why.hidden = entries.length === 0;
    text(this.whyTitle, `${plural(entries.length, "value is", "values are")} not reported`);
    keyed(this.whyList, entries, ([field]) => field, () => {
      const root = el("li");
      return { root, update: ([field, reason]) => text(root, `${words(field)}: ${reason}`) };
    });
  }
}
