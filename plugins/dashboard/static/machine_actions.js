// What can be done with a machine: keep work away from it, let work come again, delete it.

import { ask } from "./api.js";
import { attribute, el, notice, text } from "./dom.js";
import { plural } from "./format.js";
import { field, tickField } from "./forms.js";
import { machinePath, markWords } from "./machine_words.js";
import { failure, openDialog } from "./shell.js";

const REASON_CHARACTERS = 200;

/** Ask in a dialog, with more parts than words; resolves to whether it was agreed to. */
function agreed(title, action, danger, ...parts) {
  return new Promise((resolve) => {
    const cancel = el("button", { type: "button" }, "Cancel");
    const go = el("button", { type: "submit", class: danger ? "danger" : "primary" }, action);
    const form = el("form", { novalidate: true, method: "dialog" }, ...parts, el("div", { class: "buttons" }, cancel, go));
    const dialog = openDialog(title, form);
    let answer = false;
    form.addEventListener("submit", () => {
      answer = true;
    });
    cancel.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => resolve(answer));
  });
}

/** Ask for the reason of a mark; resolves to it, or to null when nothing is to be done. */
async function reasonFor(title, words, action) {
  const reason = field("Reason", { autocomplete: "off", maxlength: REASON_CHARACTERS, placeholder: "shown to everybody; may be empty" });
  return (await agreed(title, action, false, reason.root, el("p", { class: "small muted" }, words))) ? reason.value.trim() : null;
}

/** Ask before a machine is deleted; resolves to whether its token is to end too, or to null when nothing is to be done. */
async function deletionOf(machine) {
  const revoke = tickField("Revoke the token that it registered with");
  const go = await agreed(`Delete machine ${machine.id}?`, "Delete", true,
    el("p", {}, `It leaves pool ${machine.pool} with its whole history. This cannot be undone, but its agent may register it again with a token that still counts.`),
    revoke.root, el("p", { class: "small muted" }, "Other machines of the pool that use the same token are refused then, too."));
  return go ? revoke.input.checked : null;
}

/**
 * Buttons for what may be done with a machine, as {nodes, update(machine)}. `changed()` is told when it is another than
 * it was, `deleted()` when it is gone.
 */
export function machineButtons(first, { said, changed, deleted = changed }) {
  let machine = first;
  const button = (words, danger, act) => el("button", { type: "button", class: danger ? "danger" : null, on: { click: act } }, words);

  const cordon = button("Cordon", false, async () => {
    if (markWords(machine)) return void (await attempt("/uncordon", { method: "POST", body: {} }, changed));
    const reason = await reasonFor(`Cordon machine ${machine.id}?`, "It gets no new work until it is uncordoned; what runs there goes on.", "Cordon");
    if (reason !== null) await attempt("/cordon", { method: "POST", body: { reason } }, changed);
  });
  const drain = button("Drain", false, async () => {
    const reason = await reasonFor(`Drain machine ${machine.id}?`, "It gets no new work, and what runs there is to end, so that it can be taken away.", "Drain");
    if (reason === null) return;
    await attempt("/drain", { method: "POST", body: { reason } }, async () => {
      await changed();
      cordon.focus(); // this button goes away
    });
  });
  const remove = button("Delete", true, async () => {
    const revoke = await deletionOf(machine);
    if (revoke === null) return;
    await attempt("", { method: "DELETE" }, async (answer) => {
      const tokens = answer.revoked_tokens ? `, and ${plural(answer.revoked_tokens, "token")} revoked` : "";
      said.say(notice("ok", `Machine ${machine.id} is deleted${tokens}.`));
      await deleted();
    }, { revoke_token: revoke });
  });

  async function attempt(rest, options, then, more = {}) {
    try {
      await then(await ask(machinePath(machine, rest, more), options));
    } catch (error) {
      said.say(failure(error));
    }
  }

  return {
    // The host that the appliance runs on is always there.
    nodes: first.is_local ? [cordon, drain] : [cordon, drain, remove],
    update(one) {
      machine = one;
      const marked = Boolean(markWords(one));
      // One that has never registered is no host yet, of which anything could be noted.
      cordon.hidden = !marked && one.registered_unix_s === null;
      drain.hidden = cordon.hidden || one.is_draining;
      text(cordon, marked ? "Uncordon" : "Cordon");
      attribute(cordon, "aria-label", `${marked ? "Uncordon" : "Cordon"} ${one.id}`);
      attribute(drain, "aria-label", `Drain ${one.id}`);
      attribute(remove, "aria-label", `Delete ${one.id}`);
    },
  };
}
