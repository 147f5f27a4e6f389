// The form that submits a task: what to run, what it needs, when, and the files that it is given.

import { ask } from "./api.js";
import { attribute, el, notice, text } from "./dom.js";
import { plural } from "./format.js";
import { field, selectField, tickField } from "./forms.js";
import { formDialog } from "./sharing_parts.js";
import { amount, environment, listed, taskName, taskPage, taskPath } from "./task_words.js";

const MILLI = 1000;
const GIB_MIB = 1024;
const MINUTE = 60;
const GB_MAX = 1_000_000 * GIB_MIB;
const DAYS_MAX_MINUTES = 366 * 1440;
const WHEN = [["now", "as soon as there is room"], ["later", "not before a time"], ["cron", "again and again, by the clock"]];
const NETWORKS = [["", "as configured"], ["none", "none"], ["bridge", "outgoing connections"]];
const TAGS = ["web-server", "data-processing", "ml-training", "batch-job", "api-service", "background-task"];
const PRIORITY_OF_USERS = 50;

let lists = 0;

/** An input that offers words without insisting on one of them. */
function suggesting(label, attributes, words) {
  lists += 1;
  const made = field(label, { ...attributes, list: `offered-${lists}` });
  made.root.append(el("datalist", { id: `offered-${lists}` }, [...new Set(words)].map((value) => el("option", { value }))));
  return made;
}

function number(label, value, placeholder = "") {
  return field(label, { inputmode: "decimal", autocomplete: "off", maxlength: 20, value, placeholder });
}

function hint(made, words) {
  const node = el("p", { class: "small muted", id: `${made.input.id}-hint` }, words);
  made.root.append(node);
  attribute(made.input, "aria-describedby", `${node.id} ${made.input.getAttribute("aria-describedby")}`);
  return made;
}

/** All fields of the form by the name of what they say; `known` has {images, tags, engines, isOverseer}. */
function fields(known) {
  const name = { autocomplete: "off", maxlength: 200, spellcheck: "false" };
  return {
    image: suggesting("Image", { ...name, maxlength: 1000, autocapitalize: "none", required: true, placeholder: "such as python:3.12" }, known.images),
    command: hint(field("Command", { rows: 3, spellcheck: "false", autocapitalize: "none", placeholder: "empty: what the image says" }, "textarea"), "Run by /bin/sh -c. What it writes to /output is kept."),
    name: field("Name", { ...name, placeholder: "may be empty" }),
    tag: suggesting("Tag", { ...name, placeholder: "may be empty" }, [...TAGS, ...known.tags]),
    cpu_millicores: number("CPU cores", "1"),
    memory_mib: number("Memory in GiB", "1"),
    storage_mib: number("Storage in GiB", "1"),
    milli_gpu: number("GPUs", "0"),
    gpu_vram_mib: number("Memory of each GPU in GiB", "", "empty: any"),
    gpu_models: field("GPU models", { ...name, placeholder: "empty: any; such as H200, A100" }),
    mig_profile: field("MIG profile", { ...name, maxlength: 64, placeholder: "empty: whole GPUs" }),
    priority: hint(number("Priority", String(PRIORITY_OF_USERS)), known.isOverseer ? "0 to 100; larger goes first." : "0 to 50; larger goes first."),
    k: hint(number("Factor k", "2"), "It should end within k times its usual runtime: smaller is more urgent."),
    timeout_seconds: number("Time limit in minutes", "", "empty: none"),
    max_queue_seconds: number("Longest wait in minutes", "", "empty: any"),
    idle_gpu_seconds: number("End when GPUs are idle for minutes", "", "empty: never"),
    attempts_max: number("Tries in all", "1"),
    count: number("How many of it", "1"),
    running_max: number("Of these at once", "", "empty: any number"),
    dependencies: hint(field("After these tasks have completed", { ...name, maxlength: 20000, placeholder: "ids; empty: none" }), "It fails with the first of them that does not complete."),
    environment: hint(field("Variables", { rows: 3, spellcheck: "false", autocapitalize: "none", autocomplete: "off", placeholder: "NAME=value, one a line" }, "textarea"), "Values are never shown again."),
    not_before_unix_s: field("Not before", { type: "datetime-local", step: 60 }),
    cron: hint(field("Cron expression", { ...name, placeholder: "such as 30 2 * * 1-5" }), "Minute, hour, day of the month, month, day of the week; or @hourly, @daily."),
    time_zone: field("Time zone", { ...name, maxlength: 64, value: Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC" }),
    inputs: hint(field("Input files", { type: "file", multiple: true }), "Found below /input."),
  };
}

/** Read the form's decimal numbers into `body`; what is wrong is said at its field. Returns whether all are right. */
function readNumbers(all, body, isOverseer) {
  const rules = [
    ["cpu_millicores", MILLI, 1, 1e8, "a number of cores from 0.001 to 100000"], ["memory_mib", GIB_MIB, 1, GB_MAX, "a size from 0.001"],
    ["storage_mib", GIB_MIB, 0, GB_MAX, "a size"], ["milli_gpu", MILLI, 0, 1e7, "a number of GPUs, such as 2 or 0.5"],
    ["gpu_vram_mib", GIB_MIB, 0, GB_MAX, "a size, or nothing"], ["priority", 1, 0, isOverseer ? 100 : PRIORITY_OF_USERS, `a whole number from 0 to ${isOverseer ? 100 : PRIORITY_OF_USERS}`],
    ["k", MILLI, 1, 1e6, "a number from 0.001 to 1000"], ["timeout_seconds", MINUTE, 1, DAYS_MAX_MINUTES * MINUTE, "minutes, at most 366 days"],
    ["max_queue_seconds", MINUTE, 1, DAYS_MAX_MINUTES * MINUTE, "minutes, at most 366 days"], ["idle_gpu_seconds", MINUTE, 1, DAYS_MAX_MINUTES * MINUTE, "minutes, at most 366 days"],
    ["attempts_max", 1, 1, 100, "a whole number from 1 to 100"], ["count", 1, 1, 10000, "a whole number from 1 to 10000"], ["running_max", 1, 1, 10000, "a whole number from 1 to 10000, or nothing"],
  ];
  let isRight = true;
  for (const [name, scale, least, most, words] of rules) {
    const value = amount(all[name].value, scale, least, most);
    const isWell = !Number.isNaN(value);
    all[name].fail(isWell ? "" : `Enter ${words}.`);
    isRight &&= isWell;
    if (isWell && value !== null) body[name] = name === "k" ? value / MILLI : value;
  }
  return isRight;
}

/** Open the form. `known`: {images, tags, engines, isOverseer}; `shared`: {said, changed}. */
export function taskDialog(known, { said, changed }) {
  const all = fields(known);
  const when = selectField("When", WHEN);
  const network = selectField("Network", NETWORKS);
  const engine = selectField("Engine", [["", "the first that can"], ...known.engines.map((one) => [one.name, one.state === "ok" ? one.name : `${one.name} (${one.state})`])]);
  const preemptible = tickField("May be stopped and queued again for one of higher priority");
  const progress = el("p", { class: "small", role: "status" });
  const pair = (...names) => el("div", { class: "pair" }, names.map((name) => all[name].root));
  const more = (title, ...parts) => el("details", { class: "more" }, el("summary", {}, title), ...parts);

  function shown() {
    const isCron = when.select.value === "cron";
    all.not_before_unix_s.root.hidden = when.select.value !== "later";
    for (const name of ["cron", "time_zone"]) all[name].root.hidden = !isCron;
    for (const name of ["count", "running_max", "inputs"]) all[name].root.hidden = isCron;
  }
  when.select.addEventListener("change", shown);
  shown();

  /** What the fields say as the API takes it; null when something is wrong, which is said where it is. */
  function check() {
    const body = {};
    let isRight = readNumbers(all, body, known.isOverseer);
    const need = (name, isWell, words) => {
      all[name].fail(isWell ? "" : words);
      isRight &&= isWell;
    };
    for (const name of ["image", "name", "tag", "mig_profile"]) if (all[name].value.trim()) body[name] = all[name].value.trim();
    need("image", Boolean(body.image), "Enter an image.");
    if (all.command.value.trim()) body.command = all.command.value;
    if (all.gpu_models.value.trim()) body.gpu_models = all.gpu_models.value.split(",").map((one) => one.trim()).filter(Boolean);
    try {
      body.environment = environment(all.environment.value);
    } catch (error) {
      need("environment", false, error.message);
    }
    body.dependencies = listed(all.dependencies.value).map((task_id) => ({ task_id }));
    if (preemptible.input.checked) body.preemptible = true;
    for (const [name, { select }] of [["network", network], ["engine", engine]]) if (select.value) body[name] = select.value;
    if (when.select.value === "later") {
      body.not_before_unix_s = new Date(all.not_before_unix_s.value).getTime() / 1000;
      need("not_before_unix_s", Number.isFinite(body.not_before_unix_s), "Enter a time.");
    }
    if (!isRight) {
      for (const wrong of form.querySelectorAll('details:not([open]) [aria-invalid="true"]')) wrong.closest("details").open = true;
      return null;
    }
    return when.select.value === "cron" ? scheduled(body) : counted(body);
  }

  function counted({ count = 1, running_max: most, ...task }) {
    return count > 1 ? { ...task, array: { count, running_max: most ?? 0 } } : task;
  }

  function scheduled({ count, running_max, ...task }) {
    return { cron: all.cron.value.trim(), time_zone: all.time_zone.value.trim(), name: task.name ?? "", task };
  }

  /** Give a held task its files, one after the other, and let it go on; it is cancelled when that does not work. */
  async function give(task, files) {
    try {
      for (const [i, file] of files.entries()) {
        text(progress, `Uploading ${file.name}, ${i + 1} of ${files.length}`);
        await ask(taskPath(task.id, `/inputs/${encodeURIComponent(file.name)}`), { method: "PUT", body: file });
      }
      await ask(taskPath(task.id, "/release"), { method: "POST", body: {} });
    } catch (error) {
      text(progress, "");
      await ask(taskPath(task.id, "/cancel"), { method: "POST", body: {} }).catch(() => {}); // its page tells how it is
      throw error;
    }
  }

  async function send(body, dialog) {
    if (when.select.value === "cron") {
      const made = await ask(taskPath("", "/schedules"), { method: "POST", body });
      said.say(notice("ok", `Schedule ${made.name || made.id} is made.`));
    } else {
      const files = [...all.inputs.input.files];
      if (files.length && body.array) return all.inputs.fail("Files can be given to one task, not to an array.");
      const { items } = await ask(taskPath(), { method: "POST", body: files.length ? { ...body, hold: true } : body });
      if (files.length) await give(items[0], files);
      const [first] = items;
      said.say(notice("ok", items.length > 1 ? `${plural(items.length, "task")} submitted, the first is ` : "Submitted: ", el("a", { href: taskPage(first.id) }, taskName(first))));
    }
    const answer = said.root.firstChild;
    dialog.close();
    answer.focus(); // closing gives it back to the button that opened the form
    await changed();
  }

  const dialog = formDialog("Submit a task", "Submit", [
    all.image.root, all.command.root, pair("name", "tag"), pair("cpu_millicores", "memory_mib"), pair("storage_mib", "milli_gpu"),
    more("GPUs", pair("gpu_models", "gpu_vram_mib"), pair("mig_profile", "idle_gpu_seconds")),
    more("Input files and variables", all.inputs.root, all.environment.root),
    more("When and how often", when.root, all.not_before_unix_s.root, pair("cron", "time_zone"), pair("count", "running_max"), all.dependencies.root),
    more("Urgency and limits", pair("priority", "k"), pair("timeout_seconds", "max_queue_seconds"), pair("attempts_max"), preemptible.root),
    more("Where", el("div", { class: "pair" }, network.root, engine.root)),
    progress,
  ], { check, send, byName: { ...all, expression: all.cron, zone: all.time_zone } });
  dialog.classList.add("wide");
  const form = dialog.querySelector("form");
}
