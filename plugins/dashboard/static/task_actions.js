// What can be done with a task: end it, let a held one go on, try an ended one again, delete it.

import { ask } from "./api.js";
import { attribute, el, notice } from "./dom.js";
import { rowButton } from "./sharing_parts.js";
import { confirmed, failure } from "./shell.js";
import { isFinal, taskName, taskPage, taskPath } from "./task_words.js";

/**
 * Buttons for one task as {nodes, update(task)}. `changed()` is told when it is another than it was; `deleted()`, where
 * given, adds a button to delete an ended one, and is told when that is done.
 */
export function taskButtons(first, { said, changed, deleted = null }) {
  let task = first;

  async function attempt(rest, method, then) {
    try {
      then(await ask(taskPath(task.id, rest), method === "POST" ? { method, body: {} } : { method }));
    } catch (error) {
      said.say(failure(error));
    }
    await changed();
  }

  const cancel = rowButton("Cancel", "", async () => {
    const name = taskName(task);
    const runs = task.state !== "pending";
    const words = runs ? "Its command is asked to end, and killed when it does not. What it wrote is kept." : "It will not run.";
    if (await confirmed(`Cancel task ${name}?`, words, "Cancel task")) await attempt("/cancel", "POST", () => said.say(notice("ok", runs ? `Task ${name} is asked to end.` : `Task ${name} is cancelled.`)));
  }, true);
  const release = rowButton("Release", "", () => attempt("/release", "POST", () => said.say(notice("ok", `Task ${taskName(task)} waits for its place now.`))));
  const again = rowButton("Try again", "", () => attempt("/retry", "POST", (made) =>
    said.say(notice("ok", `Task ${taskName(task)} is submitted once more: `, el("a", { href: taskPage(made.id) }, made.id)))));
  const forget = deleted && rowButton("Delete", "", async () => {
    if (!(await confirmed(`Delete task ${taskName(task)}?`, "Its log and its files are deleted with it. This cannot be undone.", "Delete"))) return;
    try {
      await ask(taskPath(task.id), { method: "DELETE" });
    } catch (error) {
      return void said.say(failure(error));
    }
    deleted();
  }, true);
  const buttons = [[release, "Release"], [cancel, "Cancel"], [again, "Try again"], [forget, "Delete"]].filter(([button]) => button);

  return {
    nodes: buttons.map(([button]) => button),
    update(one) {
      task = one;
      cancel.hidden = isFinal(one) || one.state === "stopping";
      release.hidden = !one.is_held || one.state !== "pending";
      again.hidden = !isFinal(one);
      if (forget) forget.hidden = !isFinal(one);
      for (const [button, verb] of buttons) attribute(button, "aria-label", `${verb === "Try again" ? "Try task again:" : `${verb} task`} ${taskName(one)}`);
    },
  };
}
