// What the cards of GPU sharing, and those of tasks, have in common: cells of two lines, long tables in parts, dialogs with a form.

import { ask } from "./api.js";
import { attribute, el, notice, text } from "./dom.js";
import { onSubmit } from "./forms.js";
import { confirmed, failure, openDialog } from "./shell.js";
import { table } from "./table.js";

const ROWS = 200; // so many at once; a browser takes long for thousands of rows

/** A cell with a line, and a smaller one under it; `of(item)` gives both, the second may be empty. */
export function twoLines(of, { strong = false } = {}) {
  return {
    part: () => {
      const first = el("div", { class: strong && "strong" });
      const second = el("div", { class: "muted small" });
      return {
        root: el("div", { class: "lines-2" }, first, second),
        update(item) {
          const [upper, lower] = of(item);
          text(first, upper);
          text(second, lower ?? "");
          second.hidden = !lower;
        },
      };
    },
  };
}

/** A cell with a badge, and why under it; `of(item)` gives [level, words, why]. */
export function stateCell(of) {
  return {
    part: () => {
      const dot = el("span", { class: "dot", "aria-hidden": "true" });
      const label = el("span");
      const state = el("span", { class: "badge" }, dot, label);
      const why = el("div", { class: "muted small" });
      return {
        root: el("div", { class: "mark" }, state, why),
        update(item) {
          const [level, words, because] = of(item);
          attribute(state, "class", `badge ${level}`);
          attribute(dot, "class", `dot ${level}`);
          text(label, words);
          text(why, because ?? "");
          why.hidden = !because;
        },
      };
    },
  };
}

/** A table that shows so many rows at once, and more when asked. Its arguments are those of `table`. */
export function longTable(...given) {
  const list = table(...given);
  let rows = ROWS;
  let shown = [[], ""];
  const words = el("span", { class: "muted small" });
  const button = el("button", { type: "button", on: { click: () => { rows += ROWS; show(...shown); } } }, `Show ${ROWS} more`);
  const more = el("div", { class: "more-rows" }, words, button);
  list.root.append(more);
  function show(items, whenEmpty) {
    shown = [items, whenEmpty];
    list.show(items.slice(0, rows), whenEmpty);
    more.hidden = items.length <= rows;
    text(words, `The first ${rows} of ${items.length} are shown.`);
  }
  return { root: list.root, show };
}

/** A button for one row; its `label` is for those who do not see the row. */
export function rowButton(words, label, act, danger = false) {
  return el("button", { type: "button", class: danger ? "danger" : null, "aria-label": label, on: { click: act } }, words);
}

/** Ask, then delete what is at `path`; what comes of it is said. */
export async function remove(path, [title, explanation, action], done, { said, changed }) {
  if (!(await confirmed(title, explanation, action))) return;
  try {
    await ask(path, { method: "DELETE" });
    said.say(notice("ok", done));
  } catch (error) {
    said.say(failure(error));
  }
  await changed();
}

/**
 * A dialog with a form. `parts` are its nodes, `check()` gives the body to send, or null when an entry is wrong, which
 * it has said. `send(body)` asks the appliance; what that refuses is said at the field of `byName` that it names.
 */
export function formDialog(title, action, parts, { check, send, byName = {} }) {
  const failed = el("div");
  const cancel = el("button", { type: "button" }, "Cancel");
  const go = el("button", { type: "submit", class: "primary" }, action);
  const form = el("form", { novalidate: true, method: "post" }, failed, parts, el("div", { class: "buttons" }, cancel, go));
  const dialog = openDialog(title, form);
  cancel.addEventListener("click", () => dialog.close());
  onSubmit(form, go, async () => {
    failed.replaceChildren();
    for (const one of Object.values(byName)) one.fail("");
    const body = check();
    if (body === null) return void form.querySelector('[aria-invalid="true"]')?.focus();
    try {
      await send(body, dialog);
    } catch (error) {
      const at = byName[error.field?.split(".").at(-1).replace(/\[.*/, "")];
      if (!at || at.root.hidden) return void failed.replaceChildren(failure(error));
      at.fail([error.message.replace(/^\$[^:]*: /, ""), error.hint].filter(Boolean).join(": "));
      at.input.focus();
    }
  });
  return dialog;
}

/** Check a field of whole numbers that may be empty; returns [is right, value or null]. */
export function wholeNumber(one, words) {
  const isRight = one.input.validity.valid;
  one.fail(isRight ? "" : words);
  return [isRight, isRight && one.value.trim() ? Number(one.value) : null];
}
