// What tasks run on: which engine is chosen and why, what the others lack, and what hosts have left.

import { badge } from "./badge.js";
import { bar, el, keyed, text } from "./dom.js";
import { share } from "./format.js";
import { longTable, stateCell, twoLines } from "./sharing_parts.js";
import { cores, gpuName, memory, taskPage, thousandths } from "./task_words.js";

const WHOLE = 1000;
const LEVELS = { ok: "ok", starting: "warning", unavailable: "critical" };

function engineRow() {
  const name = el("span", { class: "strong" });
  const state = badge((engine) => [engine.is_chosen ? "ok" : LEVELS[engine.state] === "ok" ? "" : LEVELS[engine.state] ?? "", engine.is_chosen ? "chosen" : engine.state]);
  const why = el("p", { class: "small" });
  const found = el("p", { class: "small muted" });
  const can = el("p", { class: "small muted" });
  const hint = el("p", { class: "small" });
  const how = el("code");
  hint.append("To get it: ", how);
  return {
    root: el("li", {}, el("div", { class: "hostline" }, name, state.root), why, found, hint, can),
    update(engine) {
      text(name, engine.name);
      state.update(engine);
      text(why, engine.why);
      text(found, engine.message);
      hint.hidden = !engine.hint;
      text(how, engine.hint);
      const features = engine.features.map((feature) => feature.replace("_", " ")).join(", ");
      text(can, [features && `can also do: ${features}`, engine.unsafe && `cannot keep apart: ${engine.unsafe}`].filter(Boolean).join(". "));
      can.hidden = !can.textContent;
    },
  };
}

function meter(label, words) {
  const said = el("span", { class: "num" });
  const line = bar(label, "c1");
  return {
    root: el("li", {}, el("div", { class: "row" }, el("span", {}, label), said), line.root),
    update([held, all]) {
      const both = `${words(held)} of ${words(all)}`;
      text(said, both);
      line.update(share(held, all), both);
    },
  };
}

function holders() {
  const list = el("span");
  return {
    root: list,
    update: (gpu) => keyed(list, gpu.task_ids, (id) => id, (id) => ({ root: el("a", { class: "in-list", href: taskPage(id) }, id) })),
  };
}

/** How much of a GPU a task could have, as [level, words, why]. */
export function gpuState(gpu) {
  if (gpu.blocked) return ["warning", "blocked", gpu.blocked];
  if (gpu.isDivided) return ["", "divided", "into the instances below"];
  const free = gpu.free_milli_gpu;
  return [free ? "ok" : "", free >= WHOLE ? "free" : free ? `${thousandths(free)} free` : "in use", `${memory(gpu.free_vram_mib)} of ${memory(gpu.vram_mib)} left`];
}

function hostRow() {
  const name = el("h3");
  const blocked = el("p", { class: "small" });
  const meters = [meter("Cores given", cores), meter("Memory given", memory), meter("Storage given", memory)];
  const gpus = longTable("GPUs for tasks", [
    ["GPU", twoLines((gpu) => [gpuName(gpu, gpu.gpu_id), gpu.gpu_id])],
    ["Free", stateCell(gpuState)],
    ["Held by", { part: holders }],
  ], (gpu) => gpu.gpu_id);
  return {
    root: el("div", { class: "section" }, name, blocked, el("ul", { class: "fs" }, meters.map((one) => one.root)), gpus.root),
    update(host) {
      text(name, host.hostname || host.host_id);
      blocked.hidden = !host.blocked;
      text(blocked, host.blocked ? `It takes no new task: ${host.blocked}` : "");
      meters[0].update([host.cpu_allocated_millicores, host.cpu_millicores]);
      meters[1].update([host.memory_allocated_mib, host.memory_mib]);
      meters[2].update([host.storage_allocated_mib, host.storage_mib]);
      const parents = new Set(host.gpus.map((gpu) => gpu.parent_gpu_id));
      gpus.show(host.gpus.map((gpu) => ({ ...gpu, isDivided: parents.has(gpu.gpu_id) })), "No GPUs.");
    },
  };
}

/** The card of engines and hosts, kept by `show(overview)`. */
export function enginesCard() {
  const engines = el("ul", { class: "engines" });
  const none = el("p", { class: "empty" }, "No plugin offers an engine, so nothing can run.");
  const hosts = el("div");
  return {
    root: el("section", { class: "card wide", "aria-label": "Engines and hosts" }, el("header", {}, el("h2", {}, "Engines and hosts")), none, engines, hosts),
    show(overview) {
      none.hidden = overview.engines.length > 0;
      keyed(engines, overview.engines, (engine) => engine.name, engineRow);
      keyed(hosts, overview.hosts, (host) => host.host_id, hostRow);
    },
  };
}
