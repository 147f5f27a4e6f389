// The login page: says plainly why one is here, what went wrong, and goes back to where one was.

import { ask, rememberSignedIn, safeNext, wasSignedIn } from "./api.js";
import { el, notice } from "./dom.js";
import { field, onSubmit, password } from "./forms.js";

const query = new URLSearchParams(location.search);
const next = safeNext(query.get("next"));
const place = document.getElementById("main");

const name = field("Name", { name: "username", autocomplete: "username", required: true, autofocus: true, maxlength: 254, autocapitalize: "none", spellcheck: "false" });
const secret = password("Password", { name: "password", autocomplete: "current-password", required: true, maxlength: 1024 });
const button = el("button", { class: "primary", type: "submit" }, "Log in");
const said = el("div", { "aria-live": "assertive" });
const form = el("form", { novalidate: true, method: "post" }, said, name.root, secret.root, button);

place.replaceChildren(
  el("h1", {}, "Log in"), el("p", { class: "lead" }, `to the appliance on ${location.host}`), form,
  el("details", { class: "more section" }, el("summary", {}, "I cannot get in"),
    el("p", { class: "small muted" }, "No account yet: open the one-time link that the appliance printed at its start, or print another on the host with ", el("code", {}, "appliance setup-link"), "."),
    el("p", { class: "small muted" }, "Password forgotten: ", el("code", {}, "appliance user reset NAME"), " on the host gives a link to set a new one.")));

if (query.has("next") && wasSignedIn()) said.append(notice("warning", "Your session has ended. Log in to go on where you were."));
else if (query.has("left")) said.append(notice("ok", "You are logged out."));

onSubmit(form, button, async () => {
  name.fail(name.value.trim() ? "" : "Enter your name.");
  secret.fail(secret.value ? "" : "Enter your password.");
  if (!name.value.trim() || !secret.value) {
    (name.value.trim() ? secret : name).input.focus();
    return;
  }
  try {
    await ask("/api/auth/login", { method: "POST", body: { username: name.value.trim(), password: secret.value }, stay: true });
  } catch (error) {
    refused(error);
    return;
  }
  rememberSignedIn(true);
  location.replace(next);
});

function refused(error) {
  const wait = error.status === 429 ? ` Too many tries: wait ${error.retryAfterSeconds ?? 60} s, then try again. Nothing is locked.` : "";
  said.replaceChildren(notice("critical", error.status === 429 ? wait.trim() : error.message, error.hint && error.status !== 429 ? ` ${error.hint}` : ""));
  secret.input.value = "";
  secret.input.focus();
}

// Whoever is logged in already need not do it again.
ask("/api/auth/me", { stay: true }).then(() => query.has("left") || location.replace(next), () => {});
