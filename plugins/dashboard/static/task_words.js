// What is said of tasks, the same in every list and card, and how what people enter becomes amounts.

import { applianceNow } from "./api.js";
import { bytes, clock, dateTime, known, plural, roughly, span } from "./format.js";

const MIB = 2 ** 20;
const MILLI = 1000;
const DAY_SECONDS = 86400;

/** Every state of a task's life, in its order, with the colour of its badge. */
export const STATES = [["pending", ""], ["starting", "warning"], ["running", "ok"], ["stopping", "warning"], ["completed", "ok"], ["failed", "critical"], ["cancelled", ""]];
const LEVELS = new Map(STATES);
const FINAL = new Set(["completed", "failed", "cancelled"]);

const REASONS = {
  exit: "", cancelled: "", oom: "it ran out of memory", image: "its image could not be had", refused: "the engine refused it",
  disk_full: "the disk was full", engine_lost: "its engine went away", host_lost: "its host went away", timeout: "it took too long",
  idle_gpu: "its GPUs were idle", queue_timeout: "it waited too long", dependency: "another task did not end as it had to", preempted: "it made way for another",
};

/** The path of our own endpoints about one task, or with an empty id about all. */
export function taskPath(id = "", rest = "", query = null) {
  const asked = query ? `?${new URLSearchParams(query)}` : "";
  return `/api/appliance/tasks${id ? `/${encodeURIComponent(id)}` : ""}${rest}${asked}`;
}

/** The address of a task's page. */
export function taskPage(id) {
  return `/ui/tasks/${encodeURIComponent(id)}`;
}

/** The path of one of a task's files; the parts of its name may hold anything but slashes. */
export function filePath(id, name) {
  return taskPath(id, `/files/${name.split("/").map(encodeURIComponent).join("/")}`);
}

/** Whether this person may submit tasks, and change their own. */
export function maySubmit(person) {
  return person.role !== "viewer";
}

/** Whether this person sees everybody's tasks. */
export function maySeeAll(person) {
  return person.role === "operator" || person.role === "admin";
}

export function isFinal(task) {
  return FINAL.has(task.state);
}

/** What a task is called: the name somebody gave it, or its id. */
export function taskName(task) {
  return task.name || task.id;
}

/** A task's state as [level, words]. */
export function stateOf(task) {
  return [LEVELS.get(task.state) ?? "", task.is_held && task.state === "pending" ? "held" : task.state];
}

/** How an ended task or attempt ended, in words; empty while it has not. */
export function endWords({ reason, exit_code: code, message }) {
  if (!reason) return "";
  const said = [REASONS[reason] ?? reason, code ? `exit code ${code}` : "", message];
  return [...new Set(said.filter(Boolean))].join("; ");
}

/** What has become of an ended task: "has failed". */
export function outcome(state) {
  return state === "cancelled" ? "was cancelled" : `has ${state}`;
}

/** Thousandths as people write them: 2, 0.5, 1.25. */
export function thousandths(amount) {
  return String(amount / MILLI);
}

export function cores(millicores) {
  return `${thousandths(millicores)} ${millicores === MILLI ? "core" : "cores"}`;
}

export function memory(mebibytes) {
  return bytes(mebibytes * MIB);
}

/** What a task needs beside GPUs. */
export function needsWords(task) {
  return `${cores(task.cpu_millicores)}, ${memory(task.memory_mib)}`;
}

/** How many GPUs a task asked for, and which would do; empty for none. */
export function gpuWish(task) {
  if (!task.milli_gpu) return "";
  const what = task.mig_profile ? `instance of ${task.mig_profile}` : "GPU";
  const count = `${thousandths(task.milli_gpu)} ${what}${task.milli_gpu > MILLI ? "s" : ""}`;
  const models = task.gpu_models.length ? ` ${task.gpu_models.join(" or ")}` : "";
  return `${count}${models}${task.gpu_vram_mib ? ` with ${memory(task.gpu_vram_mib)}` : ""}`;
}

/** A GPU by its place and model, or by its id where nothing else is known of it. */
export function gpuName(gpu, id) {
  if (!gpu) return id;
  return gpu.parent_gpu_id || !known(gpu.index) ? gpu.model : `GPU ${gpu.index} ${gpu.model}`;
}

/** Which GPUs a task is bound to, or what it asked for while it waits; `gpus` is a Map by id. */
export function gpuWords(task, gpus) {
  if (!task.milli_gpu) return ["none", ""];
  if (!task.attempt_count) return [gpuWish(task), ""];
  const part = task.milli_gpu % MILLI;
  const names = task.gpu_ids.map((id) => gpuName(gpus.get(id), id)).join(", ");
  return [names || gpuWish(task), part ? `${thousandths(part)} of ${task.milli_gpu < MILLI ? "it" : "one of them"}` : ""];
}

/** When a moment was, from now: "12 s ago". */
export function ago(unixSeconds) {
  const seconds = Math.max(0, applianceNow() - unixSeconds);
  return seconds < DAY_SECONDS ? `${roughly(seconds)} ago` : clock(unixSeconds);
}

/** A length of time of which the shortest still say something. */
export function took(seconds) {
  return seconds < 1 ? "less than 1 s" : span(seconds);
}

/** How long a task waits, runs or ran, as two lines. */
export function timeWords(task) {
  const now = applianceNow();
  const { submitted_unix_s: submitted, started_unix_s: started, ended_unix_s: ended } = task;
  if (known(ended)) return [known(started) ? `took ${took(ended - started)}` : "never ran", ago(ended)];
  if (known(started) && task.state !== "pending") return [`runs ${span(now - started)}`, `submitted ${ago(submitted)}`];
  return [`waits ${span(now - submitted)}`, task.attempt_count ? `${plural(task.attempt_count, "attempt")} so far` : ""];
}

/** When something will be, from now and by the clock. */
export function soon(unixSeconds) {
  const left = unixSeconds - applianceNow();
  return `${left > 0 ? `in ${roughly(left)}` : "any moment"}, ${left > DAY_SECONDS ? dateTime(unixSeconds) : clock(unixSeconds)}`;
}

// --- what people enter ---

/** A decimal number times `scale` as a whole number; null for nothing, NaN for no number or one out of its range. */
export function amount(words, scale, least, most) {
  const entered = words.trim().replace(",", ".");
  if (!entered) return null;
  const value = /^\d{1,12}(\.\d{0,12})?$/.test(entered) ? Math.round(Number(entered) * scale) : NaN;
  return value >= least && value <= most ? value : NaN;
}

/** Lines of NAME=value as an object; raises an Error that names the line which is none. */
export function environment(words) {
  const found = {};
  words.split(/\r?\n/).forEach((line, i) => {
    if (!line.trim()) return;
    const [, name, value] = line.match(/^\s*([A-Za-z_][A-Za-z0-9_.-]*)=(.*)$/) ?? [];
    if (!name) throw new Error(`Line ${i + 1} is not NAME=value.`);
    found[name] = value;
  });
  return found;
}

/** Words that are parted by commas or blanks. */
export function listed(words) {
  return words.split(/[\s,]+/).filter(Boolean);
}
