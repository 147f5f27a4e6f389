// One task: what it is, why it waits, its attempts, its log as it is written, and its files.

import { answers } from "./answers.js";
import { ask } from "./api.js";
import { attribute, el, facts, keyed, notice, text } from "./dom.js";
import { clock, dateTime, known, NONE, plural, span } from "./format.js";
import { poll } from "./poll.js";
import { failure, frame, pluginNames } from "./shell.js";
import { longTable, stateCell } from "./sharing_parts.js";
import { badge } from "./badge.js";
import { taskButtons } from "./task_actions.js";
import { filesCard } from "./task_files.js";
import { LogCard } from "./task_log.js";
import { ago, cores, endWords, gpuName, gpuWish, gpuWords, isFinal, maySubmit, memory, outcome, soon, stateOf, taskName, taskPage, taskPath, timeWords, took } from "./task_words.js";

const EVERY_MS = 2000;
const LIST = "/ui/tasks";

/** Facts as pairs, kept by `show([[name, value], ...])`; a value may be a list of task ids, which become links. */
function factList() {
  const root = el("dl", { class: "lines" });
  function row([name]) {
    const value = el("dd");
    return {
      root: el("div", {}, el("dt", {}, name), value),
      update([, found]) {
        if (!Array.isArray(found)) return void text(value, found);
        keyed(value, found, (id) => id, (id) => ({ root: el("a", { class: "in-list", href: taskPage(id) }, id) }));
      },
    };
  }
  return { root, show: (pairs) => keyed(root, pairs.filter(([, value]) => value && value.length !== 0), ([name]) => name, row) };
}

function attemptsCard(gpus) {
  const list = longTable("Attempts", [
    ["Attempt", (attempt) => String(attempt.number)],
    ["Where", (attempt) => `${attempt.hostname || attempt.host_id}, engine ${attempt.engine}`],
    ["GPUs", (attempt) => attempt.gpu_ids.map((id) => `${gpuName(gpus().get(id), id)} (${id})`).join(", ") || "none"],
    ["Began", (attempt) => clock(attempt.started_unix_s ?? attempt.assigned_unix_s)],
    ["Took", (attempt) => (known(attempt.ended_unix_s) ? took(attempt.ended_unix_s - (attempt.started_unix_s ?? attempt.assigned_unix_s)) : "goes on")],
    ["End", stateCell((attempt) => (attempt.reason ? [attempt.exit_code === 0 && attempt.reason === "exit" ? "ok" : "critical", attempt.reason, endWords(attempt)] : ["", known(attempt.started_unix_s) ? "runs" : "starts", attempt.message]))],
  ], (attempt) => attempt.number);
  return { root: el("section", { class: "card wide", "aria-label": "Attempts" }, el("header", {}, el("h2", {}, "Attempts")), list.root), show: (attempts) => list.show(attempts, "It was not tried yet.") };
}

/** Why a task does not run yet: in a sentence, for each host, and when it is likely to. */
function whyCard() {
  const sentence = el("p", { class: "strong" });
  const place = el("p", { class: "facts" });
  const reasons = longTable("Why each host cannot take it", [
    ["Host", (reason) => reason.hostname || reason.host_id || "all hosts"],
    ["Why not", (reason) => reason.message],
  ], (reason) => `${reason.host_id} ${reason.code} ${reason.message}`);
  const root = el("section", { class: "card wide", "aria-label": "Why it waits" }, el("header", {}, el("h2", {}, "Why it waits")), sentence, place, reasons.root);
  return {
    root,
    show(why) {
      text(sentence, why.sentence);
      facts(place, [
        known(why.position) && `place ${why.position} in the queue`,
        known(why.estimated_start_unix_s) ? `likely to start ${soon(why.estimated_start_unix_s)}` : "nobody knows yet when it starts",
      ]);
      reasons.root.hidden = why.reasons.length === 0;
      reasons.show(why.reasons, "");
    },
  };
}

class TaskPage {
  constructor({ main, person, setLive }, id) {
    Object.assign(this, { main, person, setLive, id });
    this.gpus = new Map();
    this.heading = el("h1", {}, id);
    this.badge = badge(stateOf);
    this.facts = el("p", { class: "facts" });
    this.said = answers();
    this.trouble = el("div");
    this.ended = notice("critical");
    this.actions = el("div", { class: "end buttons" });
    this.why = whyCard();
    this.list = factList();
    this.attempts = attemptsCard(() => this.gpus);
    this.log = new LogCard(id);
    this.files = filesCard(id, maySubmit(person), this.said);
    this.missing = el("section", { class: "card wide", "aria-label": "No task" });
    const about = el("section", { class: "card", "aria-label": "About it" }, el("header", {}, el("h2", {}, "About it")), this.list.root);
    this.content = el("div", { class: "columns facts-first" }, about, el("div", {}, this.why.root, this.log.root, this.attempts.root, this.files.root));
    for (const part of [this.ended, this.missing, this.content, this.badge.root]) part.hidden = true;
    main.append(
      el("nav", { class: "small", "aria-label": "Where this is" }, el("a", { href: LIST }, "Tasks")),
      el("div", { class: "page-head" }, el("div", {}, el("div", { class: "hostline" }, this.heading, this.badge.root), this.facts), this.actions),
      this.said.root, this.trouble, this.ended, this.missing, this.content);
  }

  start() {
    this.setLive("", "connecting");
    this.reading = poll(() => this.read(), (error) => this.failed(error), EVERY_MS);
    setInterval(() => document.hidden || !this.task || this.tick(), 1000);
  }

  async read() {
    let task;
    try {
      task = await ask(taskPath(this.id));
    } catch (error) {
      if (error.status !== 404) throw error;
      return void (await this.showNone());
    }
    if (!this.known) {
      const { hosts } = await ask(taskPath("", "/overview"));
      this.gpus = new Map(hosts.flatMap((host) => host.gpus).map((gpu) => [gpu.gpu_id, gpu]));
      this.known = true;
    }
    await this.show(task);
    this.trouble.replaceChildren();
    this.setLive("ok", "live");
    if (this.wasLost) this.log.reconnect();
    this.wasLost = false;
  }

  failed(error) {
    this.wasLost ||= error.status === 0;
    this.setLive("critical", "not connected");
    this.trouble.replaceChildren(failure(error));
  }

  async showNone() {
    const runs = (await pluginNames()).includes("task_scheduler");
    for (const part of [this.content, this.badge.root, this.ended]) part.hidden = true;
    this.actions.replaceChildren();
    document.title = "No such task: appliance";
    this.missing.hidden = false;
    this.missing.replaceChildren(el("p", {}, el("strong", {}, runs ? "There is no task of this id that you see." : "The plugin task_scheduler, which takes tasks, is not running.")),
      el("p", {}, runs ? "It may have been deleted, be too old to be kept, or be somebody else's." : "Without it nothing is known of tasks."), el("p", { class: "section" }, el("a", { href: LIST }, "All tasks")));
    this.setLive("ok", "live");
  }

  async show(task) {
    const isFirst = !this.task;
    const before = this.task?.state;
    this.task = task;
    this.missing.hidden = true;
    for (const part of [this.content, this.badge.root]) part.hidden = false;
    text(this.heading, taskName(task));
    document.title = `${taskName(task)}: task`;
    this.badge.update(task);
    this.showFacts(task);
    this.attempts.show(task.attempts);
    this.attempts.root.hidden = task.attempts.length === 0;
    this.showEnd(task);
    if (isFirst) {
      this.log.start(task.log_bytes);
      if (maySubmit(this.person)) this.makeButtons(task);
    }
    this.buttons?.update(task);
    this.tick();
    await Promise.all([this.showWhy(task), before === task.state ? null : this.files.read(task)]);
  }

  makeButtons(task) {
    this.buttons = taskButtons(task, { said: this.said, changed: () => this.reading.now(), deleted: () => location.assign(LIST) });
    this.actions.append(...this.buttons.nodes);
  }

  async showWhy(task) {
    const waits = task.state === "pending" || task.state === "starting";
    this.why.root.hidden = !waits;
    if (waits) this.why.show(await ask(taskPath(this.id, "/why")));
  }

  showEnd(task) {
    const words = isFinal(task) ? endWords(task) : task.message;
    this.ended.hidden = !words;
    if (!words) return;
    attribute(this.ended, "class", `notice ${task.state === "failed" ? "critical" : isFinal(task) ? "info" : "warning"}`);
    text(this.ended, isFinal(task) ? `This task ${outcome(task.state)}: ${words}` : words);
  }

  tick() {
    const { task } = this;
    facts(this.facts, [task.image, task.owner && `of ${task.owner}`, task.hostname && `on ${task.hostname}`, timeWords(task).filter(Boolean).join(", ")]);
  }

  showFacts(task) {
    const [gpus, part] = gpuWords(task, this.gpus);
    const seconds = (value) => (known(value) ? span(value) : "");
    this.list.show([
      ["Id", task.id],
      ["Image", task.image],
      ["Command", task.command === null ? "shown to its owner" : task.command || "as the image says"],
      ["Variables", task.environment_names?.join(", ")],
      ["Cores", cores(task.cpu_millicores)],
      ["Memory", memory(task.memory_mib)],
      ["Storage", task.storage_mib ? memory(task.storage_mib) : ""],
      ["GPUs", [gpus, part, task.attempt_count && task.milli_gpu ? `asked for ${gpuWish(task)}` : ""].filter(Boolean).join("; ")],
      ["GPU ids", task.attempt_count ? task.gpu_ids.join(", ") : ""],
      ["Network", task.network],
      ["Volumes", task.volumes.join(", ")],
      ["Engine", task.engine || (task.attempts.at(-1)?.engine ?? "the first that can")],
      ["Tag", task.tag],
      ["Priority", `${task.priority}${task.preemptible ? ", makes way for higher ones" : ""}`],
      ["Submitted", `${dateTime(task.submitted_unix_s)} by ${task.submitted_by || NONE}`],
      ["Label", task.label],
      ["Expected", known(task.expected_seconds) ? took(task.expected_seconds) : ""],
      ["Due", `${dateTime(task.deadline_unix_s)}, k ${task.k}`],
      ["Time limit", seconds(task.timeout_seconds)],
      ["Queue limit", seconds(task.max_queue_seconds)],
      ["Idle GPUs", seconds(task.idle_gpu_seconds)],
      ["Tries", task.attempts_max > 1 ? `up to ${plural(task.attempts_max, "attempt")}` : ""],
      ["After", task.dependencies.map((one) => one.task_id)],
      ["Array", known(task.array_index) ? [task.array_id] : ""],
      ["Schedule", task.schedule_id],
      ["Tries again", task.retry_of ? [task.retry_of] : ""],
      ["Tried by", task.retried_by ? [task.retried_by] : ""],
      ["Ended", known(task.ended_unix_s) ? `${dateTime(task.ended_unix_s)}, ${ago(task.ended_unix_s)}` : ""],
    ]);
  }
}

const id = decodeURIComponent(location.pathname.split("/")[3] ?? "");
new TaskPage(await frame("tasks"), id).start();
