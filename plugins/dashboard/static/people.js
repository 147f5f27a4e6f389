// People, their roles and tokens. An admin sees everybody; everyone else their own tokens.

import { ask } from "./api.js";
import { el, notice } from "./dom.js";
import { dateTime } from "./format.js";
import { field, onSubmit, password, selectField, strengthMeter } from "./forms.js";
import { shownOnce } from "./secret.js";
import { confirmed, failure, frame } from "./shell.js";
import { table } from "./table.js";

const ROLES = [["viewer", "viewer: reads"], ["user", "user: own tasks, files and tokens"], ["operator", "operator: all but people, keys and settings"], ["admin", "admin: everything"]];

const { main, person } = await frame("people");
const isAdmin = person.role === "admin";
const said = el("div", { "aria-live": "polite" });

function say(...nodes) {
  said.replaceChildren(...nodes);
  said.scrollIntoView({ block: "nearest" });
}

/** Do something and show what went wrong; resolves to the answer, or undefined after a failure. */
async function attempt(path, options) {
  try {
    return (await ask(path, options)) ?? {};
  } catch (error) {
    say(failure(error));
    return undefined;
  }
}

function once(title, secret, explanation) {
  say(shownOnce(title, explanation, [["", secret]]));
}

// --- people ---

const people = table("People", [
  ["Name", (one) => one.name + (one.name === person.name ? " (you)" : "")],
  ["Role", (one) => one.role],
  ["Last login", (one) => dateTime(one.last_login_unix_s)],
], (one) => one.name, (one) => {
  const reset = el("button", { type: "button", "aria-label": `Reset the password of ${one.name}` }, "Reset password");
  const remove = el("button", { type: "button", class: "danger", "aria-label": `Remove ${one.name}` }, "Remove");
  const path = `/api/appliance/users/${encodeURIComponent(one.name)}`;
  reset.addEventListener("click", async () => {
    if (!(await confirmed(`Reset the password of ${one.name}?`, "All their sessions end at once. You get a one-time link with which they set a new password.", "Reset"))) return;
    await link(one.name, "Shown once. Hand it over on a way that you trust.");
  });
  remove.addEventListener("click", async () => {
    if (!(await confirmed(`Remove ${one.name}?`, "Their sessions and tokens end at once. This cannot be undone.", "Remove"))) return;
    if (await attempt(path, { method: "DELETE" })) {
      say(notice("ok", `${one.name} is removed.`));
      await read();
    }
  });
  return [reset, remove];
});

async function link(name, explanation) {
  const made = await attempt(`/api/appliance/users/${encodeURIComponent(name)}/reset`, { method: "POST", body: {} });
  if (made) once(`A one-time link for ${name}`, made.url, explanation);
}

function addPerson() {
  const name = field("Name", { autocomplete: "off", maxlength: 254, autocapitalize: "none", spellcheck: "false", required: true });
  const role = selectField("Role", ROLES);
  role.select.value = "user";
  const secret = password("Password", { autocomplete: "new-password", maxlength: 1024, placeholder: "empty: a one-time link" });
  const meter = strengthMeter();
  secret.root.append(meter.root);
  secret.input.addEventListener("input", () => meter.show(secret.value, name.value));
  const button = el("button", { type: "submit", class: "primary" }, "Add person");
  const form = el("form", { novalidate: true, method: "post" }, name.root, role.root, secret.root, button);
  onSubmit(form, button, async () => {
    name.fail(name.value.trim() ? "" : "Enter a name.");
    secret.fail("");
    if (!name.value.trim()) return;
    const body = { name: name.value.trim(), role: role.select.value };
    if (secret.value) body.password = secret.value;
    let made;
    try {
      made = await ask("/api/appliance/users", { method: "POST", body });
    } catch (error) {
      const at = error.field?.endsWith("password") ? secret : error.field?.endsWith("name") ? name : null;
      if (at) at.fail([error.message, error.hint].filter(Boolean).join(" "));
      else say(failure(error));
      return;
    }
    if (body.password) say(notice("ok", `${made.name} may log in as ${made.role}.`));
    else await link(made.name, `${made.name} is added as ${made.role}. With this link they set their password; it is shown once.`);
    form.reset();
    meter.show("", "");
    await read();
  });
  return el("section", { class: "card", "aria-label": "Add a person" }, el("header", {}, el("h2", {}, "Add a person")), form);
}

// --- tokens ---

function validity(token) {
  if (token.revoked_unix_s) return "revoked";
  return token.expires_unix_s ? `until ${dateTime(token.expires_unix_s)}` : "no expiry";
}

const tokens = table("Tokens", [
  ["Begins", (one) => `${one.prefix}…`],
  ["Kind", (one) => one.kind],
  ["For", (one) => [one.subject_name || one.subject || one.scope, one.label].filter(Boolean).join(", ") || "everything of its kind"],
  ["Last used", (one) => dateTime(one.last_used_unix_s)],
  ["Valid", validity],
], (one) => `${one.id} ${one.revoked_unix_s ?? ""}`, (one) => {
  if (one.revoked_unix_s) return [];
  const revoke = el("button", { type: "button", class: "danger", "aria-label": `Revoke the token that begins ${one.prefix}` }, "Revoke");
  revoke.addEventListener("click", async () => {
    if (!(await confirmed("Revoke this token?", `Whatever uses the token that begins ${one.prefix} is refused from now on.`, "Revoke"))) return;
    if (await attempt(`/api/appliance/tokens/${encodeURIComponent(one.id)}`, { method: "DELETE" })) await read();
  });
  return [revoke];
});

function addToken() {
  const label = field("What it is for", { autocomplete: "off", maxlength: 100, placeholder: "laptop, CI, notebook" });
  const days = selectField("Valid for", [["30", "30 days"], ["90", "90 days"], ["365", "a year"], ["", "until revoked"]]);
  days.select.value = "90";
  const button = el("button", { type: "submit", class: "primary" }, "Create token");
  const form = el("form", { novalidate: true, method: "post" }, label.root, days.root, button);
  onSubmit(form, button, async () => {
    const body = { kind: "pat", user: person.name || person.username };
    if (label.value.trim()) body.label = label.value.trim();
    if (days.select.value) body.expires_in_days = Number(days.select.value);
    const made = await attempt("/api/appliance/tokens", { method: "POST", body });
    if (!made) return;
    form.reset();
    await read();
    once("Your new token", made.token, "Shown once: keep it safe. It may do what you may do; send it as Authorization: Bearer.");
  });
  return el("section", { class: "card", "aria-label": "Create a personal access token" },
    el("header", {}, el("h2", {}, "Create a personal access token")), form,
    el("p", { class: "small muted section" }, "Tokens for machines, workers, drones and scrapers: ", el("code", {}, "appliance token create"), "."));
}

// --- one's own password ---

function changePassword() {
  const old = password("Password now", { autocomplete: "current-password", maxlength: 1024, required: true });
  const secret = password("New password", { autocomplete: "new-password", maxlength: 1024, required: true });
  const meter = strengthMeter();
  secret.root.append(meter.root);
  secret.input.addEventListener("input", () => meter.show(secret.value, person.name));
  const button = el("button", { type: "submit" }, "Change password");
  const form = el("form", { novalidate: true, method: "post" },
    el("input", { type: "text", name: "username", autocomplete: "username", value: person.name, hidden: true, "aria-label": "Name" }), old.root, secret.root, button);
  onSubmit(form, button, async () => {
    old.fail(old.value ? "" : "Enter your password.");
    secret.fail(secret.value ? "" : "Enter a new password.");
    if (!old.value || !secret.value) return;
    try {
      await ask("/api/appliance/password", { method: "POST", body: { old_password: old.value, new_password: secret.value }, stay: true });
    } catch (error) {
      if (error.status === 401) old.fail("This is not your password.");
      else if (error.field) secret.fail([error.message, error.hint].filter(Boolean).join(": "));
      else say(failure(error));
      return;
    }
    form.reset();
    meter.show("", "");
    say(notice("ok", "Your password is changed; your other sessions have ended."));
  });
  return el("section", { class: "card", "aria-label": "Change your password" }, el("header", {}, el("h2", {}, "Change your password")), form);
}

// --- page ---

async function read() {
  const wanted = [["/api/appliance/tokens?limit=1000", tokens, "no tokens yet"]];
  if (isAdmin) wanted.push(["/api/appliance/users?limit=1000", people, "nobody yet"]);
  await Promise.all(wanted.map(async ([path, target, whenEmpty]) => {
    const answer = await attempt(path);
    if (answer) target.show(answer.items, whenEmpty);
  }));
}

const peopleCard = el("section", { class: "card", "aria-label": "People" }, el("header", {}, el("h2", {}, "People")), people.root);
const tokenCard = el("section", { class: "card", "aria-label": "Tokens" }, el("header", {}, el("h2", {}, isAdmin ? "Tokens" : "Your tokens")), tokens.root);
main.append(
  el("div", { class: "page-head" }, el("div", {}, el("h1", {}, isAdmin ? "People and tokens" : "Your tokens"))), said,
  el("div", { class: "columns" },
    el("div", { class: "rows" }, isAdmin ? peopleCard : null, tokenCard),
    el("div", { class: "rows" }, isAdmin ? addPerson() : null, addToken(), changePassword())));
await read();
