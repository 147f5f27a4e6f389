// The cards of one machine.

import { Chart } from "./chart.js";
import { bar, el, keyed, text } from "./dom.js";
import { bytes, bytesOf, dateTime, known, NONE, percent, share, span } from "./format.js";
import { card } from "./host.js";
import { ago, cores, deadlineOf, isLive } from "./machine_words.js";

/** A share of the machine that has its past: its figure, and its chart. */
export class ShareCard {
  constructor(title, metric, colour, under) {
    this.metric = metric;
    this.under = under;
    this.value = el("div", { class: "big" });
    this.chart = new Chart(title, "percent", [{ label: title === "CPU" ? "busy" : "memory used", colour }]);
    Object.assign(this, card(title, el("div", { class: "hostline" }, this.value), this.chart.root));
  }

  now(machine) {
    return isLive(machine) ? machine[this.metric] : null;
  }

  show(machine) {
    text(this.value, percent(this.now(machine)));
    text(this.sub, this.under(machine));
  }
}

export function cpuCard() {
  return new ShareCard("CPU", "cpu_percent", "c1", cores);
}

export function memoryCard() {
  return new ShareCard("Memory", "memory_percent", "c2", (machine) => (machine.memory_bytes ? bytes(machine.memory_bytes) : ""));
}

/** A figure that keepalives tell and no host has, with its past; hidden while it has none. */
export class ValueCard {
  constructor(title, metric, kind, label, colour) {
    this.metric = metric;
    this.chart = new Chart(title, kind, [{ label, colour }]);
    Object.assign(this, card(title, this.chart.root));
    this.root.hidden = true;
  }

  fill(series, leastStepSeconds, window) {
    const found = series.find((one) => one.metric === this.metric);
    this.root.hidden = !found?.at_unix_s.length;
    if (!this.root.hidden) this.chart.setData(found.at_unix_s, [found], Math.max(found.step_seconds, leastStepSeconds), window);
  }
}

export function freeGpusCard() {
  return new ValueCard("Free GPUs", "free_gpu_count", "count", "free", "c1");
}

export function freeDiskCard() {
  return new ValueCard("Free disk", "total_disk_free_bytes", "bytes", "free", "c3");
}

/** GPUs, and what else a keepalive tells. */
export class WorkCard {
  constructor() {
    this.free = el("div", { class: "big" });
    this.rest = el("div", { class: "small muted" });
    this.gpuBar = bar("GPUs in use", "c1");
    this.diskWords = el("span", { class: "num" });
    this.diskBar = bar("Disk used", "c3");
    this.rows = el("dl", { class: "lines section" });
    Object.assign(this, card("GPUs and work", el("div", { class: "hostline" }, this.free, this.rest), this.gpuBar.root,
      el("div", { class: "fs section" }, el("div", {}, el("div", { class: "row" }, el("span", {}, "Disk"), this.diskWords), this.diskBar.root)), this.rows));
  }

  show(machine) {
    const { gpu_count: all, free_gpu_count: reported, disk_total_bytes: total, disk_free_bytes: free } = machine;
    const live = isLive(machine);
    const isTold = live && known(reported);
    text(this.sub, machine.gpu);
    text(this.free, all ? (isTold ? `${reported} of ${all}` : all) : "none");
    text(this.rest, all ? (isTold ? "GPUs free" : `${all === 1 ? "GPU" : "GPUs"}, how many are free is not told`) : "no GPUs");
    this.gpuBar.update(isTold ? share(all - reported, all) : null, `${all - reported} of ${all} GPUs in use`);
    const isDisk = live && total > 0 && known(free);
    text(this.diskWords, isDisk ? `${bytesOf(total - free, total).both} used` : NONE);
    this.diskBar.update(isDisk ? share(total - free, total) : null, isDisk ? bytesOf(total - free, total).both : "");
    const figure = (value, words = String) => (live && known(value) ? words(value) : NONE);
    lines(this.rows, [
      ["Workers", figure(machine.worker_count)], ["Containers", figure(machine.container_count)],
      ["Cache used", figure(machine.cache_usage_percent, percent)],
    ]);
  }
}

/** Where the machine is in its life. */
export class LifeCard {
  constructor() {
    this.rows = el("dl", { class: "lines" });
    Object.assign(this, card("Life", this.rows));
  }

  /** `secondsAgo`: how old the answer is from which `machine` comes. */
  show(machine, secondsAgo = 0) {
    const deadline = deadlineOf(machine);
    lines(this.rows, [
      ["State", machine.state],
      deadline && ["Time left", `${span(deadline[1] - secondsAgo)} ${deadline[0]}`],
      ["Last beat", ago(machine.last_keepalive_unix_s)],
      ["Registered", dateTime(machine.registered_unix_s)],
      ["Added", dateTime(machine.created_unix_s)],
      ["Address", machine.private_ip || NONE],
      ["Agent", machine.agent_version || NONE],
    ].filter(Boolean));
  }
}

function lines(place, rows) {
  keyed(place, rows, ([name]) => name, ([name]) => {
    const value = el("dd");
    return { root: el("div", {}, el("dt", {}, name), value), update: ([, words]) => text(value, words) };
  });
}
