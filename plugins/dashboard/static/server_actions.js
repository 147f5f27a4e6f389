// What can be done with a server: register it, change its token, disable it, delete it.

import { ask } from "./api.js";
import { attribute, el, notice, text } from "./dom.js";
import { field, onSubmit } from "./forms.js";
import { shownOnce } from "./secret.js";
import { confirmed, failure, openDialog } from "./shell.js";
import { serverPath } from "./server_words.js";

function issued(title, made, said) {
  const words = "Shown once. Run the command on the server: the agent then reports every 2 seconds. Whoever has the token can report in this server's name.";
  said.say(shownOnce(title, words, [["Token", made.token], ["Agent command", made.agent_command]], said.clear));
}

/** Ask for a name and register a server in a dialog; its token is shown in `said`. `changed(slug)` is told. */
export function registerDialog(said, changed) {
  const name = field("Name", { autocomplete: "off", maxlength: 128, spellcheck: "false", required: true });
  const slug = field("Slug", { autocomplete: "off", maxlength: 64, autocapitalize: "none", spellcheck: "false", placeholder: "empty: made from the name" });
  const failed = el("div");
  const cancel = el("button", { type: "button" }, "Cancel");
  const go = el("button", { type: "submit", class: "primary" }, "Register");
  const form = el("form", { novalidate: true, method: "post" }, failed, name.root, slug.root,
    el("p", { class: "small muted" }, "The slug is the server's name in addresses and commands: lower-case letters, digits and hyphens. It stays."),
    el("div", { class: "buttons" }, cancel, go));
  const dialog = openDialog("Register a server", form);
  cancel.addEventListener("click", () => dialog.close());
  onSubmit(form, go, async () => {
    const body = { name: name.value.trim() };
    if (slug.value.trim()) body.slug = slug.value.trim();
    failed.replaceChildren();
    slug.fail("");
    name.fail(body.name || body.slug ? "" : "Enter a name.");
    if (!body.name && !body.slug) return void name.input.focus();
    let made;
    try {
      made = await ask("/api/appliance/servers", { method: "POST", body });
    } catch (error) {
      const at = error.field?.endsWith("name") ? name : error.field?.endsWith("slug") || error.status === 409 ? slug : null;
      if (!at) return void failed.replaceChildren(failure(error));
      at.fail([error.message, error.hint].filter(Boolean).join(" "));
      return void at.input.focus();
    }
    dialog.close();
    issued(`${made.name} is registered`, made, said);
    await changed(made.slug);
  });
}

/** Buttons for what may be done with a server, as {nodes, update(server)}. `deleted()` is told when it is gone. */
export function serverButtons(first, { said, changed, deleted = changed }) {
  let server = first;
  const button = (words, danger, act) => el("button", { type: "button", class: danger ? "danger" : null, on: { click: act } }, words);
  const rotate = button("New token", false, async () => {
    if (!(await confirmed(`A new token for ${server.name}?`, "The present token ends at once: the agent is refused until it is started with the new one.", "Make a new token"))) return;
    await attempt("/rotate-token", { method: "POST", body: {} }, (made) => issued(`A new token for ${server.name}`, made, said));
  });
  const toggle = button("Disable", false, async () => {
    const off = server.is_active;
    if (off && !(await confirmed(`Disable ${server.name}?`, "What it reports is refused and it is on no list of other programs until it is enabled again. Its history stays.", "Disable"))) return;
    await attempt("", { method: "PATCH", body: { is_active: !off } }, changed);
  });
  const remove = button("Delete", true, async () => {
    if (!(await confirmed(`Delete ${server.name}?`, "Its token and its whole history go too. This cannot be undone.", "Delete", server.slug))) return;
    await attempt("", { method: "DELETE" }, async () => {
      said.say(notice("ok", `${server.name} is deleted, with its history.`));
      await deleted();
    });
  });

  async function attempt(rest, options, then) {
    try {
      await then(await ask(serverPath(server.slug) + rest, options));
    } catch (error) {
      said.say(failure(error));
    }
  }

  return {
    // The host that the appliance runs on has no agent, and its history is the appliance's own.
    nodes: server.is_local ? [toggle] : [rotate, toggle, remove],
    update(one) {
      server = one;
      text(toggle, one.is_active ? "Disable" : "Enable");
      attribute(rotate, "aria-label", `New token for ${one.name}`);
      attribute(toggle, "aria-label", `${one.is_active ? "Disable" : "Enable"} ${one.name}`);
      attribute(remove, "aria-label", `Delete ${one.name}`);
    },
  };
}
