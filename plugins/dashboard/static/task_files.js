// The files of a task: what it left in /output, what was not kept of it, and what it was given.

import { ask } from "./api.js";
import { attribute, el, keyed, notice, text } from "./dom.js";
import { bytes } from "./format.js";
import { failure } from "./shell.js";
import { longTable, remove } from "./sharing_parts.js";
import { filePath, isFinal, taskName, taskPath } from "./task_words.js";

function nameCell(id) {
  return {
    part: () => {
      const link = el("a", { class: "mono", download: true });
      return {
        root: link,
        update(file) {
          text(link, file.path);
          attribute(link, "href", filePath(id, file.path));
        },
      };
    },
  };
}

const SIZE = ["Size", (file) => bytes(file.size_bytes)];

/** The card of a task's files, kept by `read(task)`. */
export function filesCard(id, mayDelete, said) {
  const outputs = longTable("Files in /output", [["File", nameCell(id)], SIZE, ["Type", (file) => file.content_type]], (file) => file.path);
  const given = longTable("Files in /input", [["File", (file) => file.path], SIZE], (file) => file.path);
  const lost = el("ul", { class: "why" });
  const refused = el("div");
  const inputs = el("div", { class: "section" }, el("h3", {}, "It was given"), given.root);
  const all = el("button", { type: "button", class: "danger end" }, "Delete all files");
  const root = el("section", { class: "card wide", "aria-label": "Files" }, el("header", {}, el("h2", {}, "Files"), all), refused, outputs.root, lost, inputs);
  inputs.hidden = all.hidden = true;
  let newest = null;
  all.addEventListener("click", () => remove(taskPath(id, "/files"), [
    `Delete all files of task ${taskName(newest)}?`, "What it left and what it was given are deleted. Its log stays. This cannot be undone.", "Delete",
  ], "The files are deleted.", { said, changed: () => read(newest) }));

  async function read(task) {
    newest = task;
    let left;
    let brought;
    try {
      [left, brought] = await Promise.all(["/files", "/inputs"].map((rest) => ask(taskPath(id, rest))));
    } catch (error) {
      if (error.status === 0) throw error;
      outputs.root.hidden = true;
      return void refused.replaceChildren(error.status === 403 ? notice("info", error.message) : failure(error));
    }
    refused.replaceChildren();
    outputs.root.hidden = false;
    outputs.show(left.items, isFinal(task) ? "It left nothing in /output." : "What it leaves in /output is kept when it ends.");
    keyed(lost, left.skipped, (entry) => entry.path, () => {
      const line = el("li");
      return { root: line, update: (entry) => text(line, `${entry.path} was not kept: ${entry.reason}`) };
    });
    given.show(brought.items, "");
    inputs.hidden = brought.items.length === 0;
    all.hidden = !mayDelete || !isFinal(task) || left.items.length + brought.items.length === 0;
  }

  return { root, read };
}
