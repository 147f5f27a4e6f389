// Tasks that come again by the clock, and how long tasks of each kind were found to take.

import { ask } from "./api.js";
import { attribute, el, text } from "./dom.js";
import { dateTime, known, plural, span } from "./format.js";
import { failure } from "./shell.js";
import { longTable, remove, rowButton, stateCell, twoLines } from "./sharing_parts.js";
import { ago, soon, taskPage, taskPath } from "./task_words.js";

function lastCell() {
  const when = el("span");
  const link = el("a", { class: "in-list" });
  return {
    root: el("div", {}, when, link),
    update(schedule) {
      text(when, known(schedule.last_unix_s) ? `${ago(schedule.last_unix_s)} ` : "never");
      link.hidden = !schedule.last_task_id;
      text(link, schedule.last_task_id);
      attribute(link, "href", taskPage(schedule.last_task_id));
    },
  };
}

/** The card of schedules, kept by `show(schedules)`. */
export function schedulesCard(mayWrite, shared) {
  function actions(first) {
    let schedule = first;
    const path = taskPath("", `/schedules/${encodeURIComponent(first.id)}`);
    const name = () => schedule.name || schedule.id;
    const toggle = rowButton("Pause", "", async () => {
      try {
        await ask(`${path}/${schedule.is_enabled ? "disable" : "enable"}`, { method: "POST", body: {} });
      } catch (error) {
        shared.said.say(failure(error));
      }
      await shared.changed();
    });
    const end = rowButton("Delete", "", () => remove(path, [`Delete schedule ${name()}?`, "It makes no more tasks; those that it has made stay. This cannot be undone.", "Delete"], `Schedule ${name()} is deleted.`, shared), true);
    return {
      nodes: [toggle, end],
      update(one) {
        schedule = one;
        text(toggle, one.is_enabled ? "Pause" : "Go on");
        attribute(toggle, "aria-label", `${one.is_enabled ? "Pause" : "Go on with"} schedule ${name()}`);
        attribute(end, "aria-label", `Delete schedule ${name()}`);
      },
    };
  }

  const list = longTable("Schedules", [
    ["Schedule", twoLines((one) => [one.name || one.id, [one.image, one.owner && `of ${one.owner}`].filter(Boolean).join(", ")], { strong: true })],
    ["When", twoLines((one) => [one.cron, one.time_zone])],
    ["Next", stateCell((one) => (one.is_enabled ? [one.message ? "critical" : "ok", soon(one.next_unix_s), one.message] : ["", "paused", one.message]))],
    ["Last", { part: lastCell }],
  ], (one) => one.id, mayWrite ? actions : null);
  return {
    root: el("section", { class: "card wide", "aria-label": "Schedules" }, el("header", {}, el("h2", {}, "Schedules")), list.root),
    show: (items) => list.show(items, "Nothing comes again by the clock."),
  };
}

/** The card of learned runtimes, kept by `show(runtimes)`. */
export function runtimesCard() {
  const list = longTable("Learned runtimes", [
    ["Image", (one) => one.image],
    ["Tag", (one) => one.tag || "none"],
    ["Class", (one) => one.job_class],
    ["Usually takes", (one) => (one.tau_seconds < 10 ? `${one.tau_seconds.toFixed(1)} s` : span(one.tau_seconds))],
    ["Learned", twoLines((one) => [`from ${plural(one.observations, "task")}`, dateTime(one.learned_unix_s)])],
  ], (one) => JSON.stringify([one.tag, one.image]));
  return {
    root: el("section", { class: "card wide", "aria-label": "Learned runtimes" }, el("header", {}, el("h2", {}, "Learned runtimes")), list.root,
      el("p", { class: "small muted section" }, "A task should end within k times its usual runtime after it was submitted; those that are due first go first.")),
    show: (items) => list.show(items, "Nothing has completed yet from which anything could be learned."),
  };
}
