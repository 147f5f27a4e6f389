// Making a machine: its token, and the command lines of the agents that join with it.

import { ask } from "./api.js";
import { el } from "./dom.js";
import { field, onSubmit, selectField } from "./forms.js";
import { shownOnce } from "./secret.js";
import { failure, openDialog } from "./shell.js";

const VALID = [["", "until revoked"], ["1", "a day"], ["30", "30 days"], ["90", "90 days"], ["365", "a year"]];

function shown(made, said) {
  const words = [
    "The token is shown once. Run one of the two lines on the machine within an hour: it is listed as ready with its agent's first keepalive. Whoever has the token can register in this pool. ",
    el("span", { class: "strong" }, made.note),
  ];
  const secrets = [["Machine id", made.id], ["Token", made.token], ["Python agent", made.commands.python], ["Go agent", made.commands.go]];
  said.say(shownOnce(`Machine ${made.id} may join pool ${made.pool}`, words, secrets, said.clear));
}

/** Ask in a dialog for what a machine's token may do, and make it; what it is started with is shown in `said`. */
export function addMachineDialog(pools, chosen, said, changed) {
  const pool = selectField("Pool", pools.map((one) => [one.name, one.gpu ? `${one.name} (${one.gpu})` : one.name]));
  pool.select.value = pools.some((one) => one.name === chosen) ? chosen : "default";
  const id = field("Machine id", { autocomplete: "off", maxlength: 8, autocapitalize: "none", spellcheck: "false", placeholder: "empty: a new one, for any machine" });
  const days = selectField("Token valid", VALID);
  const most = field("Machines that may register with it", { type: "number", min: 1, max: 20000, step: 1, inputmode: "numeric", placeholder: "empty: any number" });
  const failed = el("div");
  const cancel = el("button", { type: "button" }, "Cancel");
  const go = el("button", { type: "submit", class: "primary" }, "Add machine");
  const hint = el("p", { class: "small muted", id: `${id.input.id}-hint` }, "8 hexadecimal digits, such as 1165a9b6. With an id the token serves this machine alone.");
  id.root.append(hint);
  id.input.setAttribute("aria-describedby", `${hint.id} ${id.input.getAttribute("aria-describedby")}`);
  const form = el("form", { novalidate: true, method: "post" }, failed, pool.root, id.root,
    days.root, most.root, el("div", { class: "buttons" }, cancel, go));
  const dialog = openDialog("Add a machine", form);
  cancel.addEventListener("click", () => dialog.close());
  onSubmit(form, go, async () => {
    failed.replaceChildren();
    const name = id.value.trim();
    const count = most.value.trim();
    id.fail(!name || /^[0-9a-f]{8}$/i.test(name) ? "" : "Enter 8 hexadecimal digits, or nothing.");
    most.fail(most.input.validity.valid ? "" : "Enter a whole number from 1 to 20000, or nothing.");
    const wrong = [id, most].find((one) => one.input.getAttribute("aria-invalid"));
    if (wrong) return void wrong.input.focus();
    const body = { pool: pool.select.value };
    if (name) body.machine_id = name;
    if (days.select.value) body.expires_in_days = Number(days.select.value);
    if (count) body.machines_max = Number(count);
    let made;
    try {
      made = await ask("/api/appliance/machines", { method: "POST", body });
    } catch (error) {
      return void failed.replaceChildren(failure(error));
    }
    dialog.close();
    shown(made, said);
    await changed();
  });
}
