// Two pages for the holder of a one-time link: the first account (/setup), and a new password (/ui/reset).
// The link's secret comes in the fragment, which never reaches a log or another server.

import { ask, rememberSignedIn } from "./api.js";
import { el, notice } from "./dom.js";
import { field, onSubmit, password, strengthMeter } from "./forms.js";

const place = document.getElementById("main");
const token = new URLSearchParams(location.hash.slice(1)).get("t") ?? "";
const resets = location.pathname.startsWith("/ui/reset");
const command = resets ? "appliance user reset NAME" : "appliance setup-link";
const again = ["A new link is printed on the host by ", el("code", {}, command), "."];

const words = resets
  ? { title: "Set a new password", lead: "This link works once. All other sessions have ended.", button: "Set password" }
  : { title: "Set up this appliance", lead: "Create the first account. It is the administrator; nothing leaves this host.", button: "Create account" };

function build() {
  const name = field("Name", { name: "username", autocomplete: "username", required: true, autofocus: true, maxlength: 254, autocapitalize: "none", spellcheck: "false" });
  const secret = password("Password", { name: "new-password", autocomplete: "new-password", required: true, maxlength: 1024 });
  const repeat = password("Password, once more", { name: "repeat-password", autocomplete: "new-password", required: true, maxlength: 1024 });
  const meter = strengthMeter();
  secret.root.append(meter.root);
  secret.input.addEventListener("input", () => meter.show(secret.value, name.value));
  const button = el("button", { class: "primary", type: "submit" }, words.button);
  const said = el("div", { "aria-live": "assertive" });
  const form = el("form", { novalidate: true, method: "post" }, said, resets ? null : name.root, secret.root, repeat.root, button);
  place.replaceChildren(el("h1", {}, words.title), el("p", { class: "lead" }, words.lead), form);
  (resets ? secret : name).input.focus();

  onSubmit(form, button, async () => {
    name.fail(resets || name.value.trim() ? "" : "Enter a name.");
    secret.fail(secret.value ? "" : "Enter a password.");
    repeat.fail(repeat.value === secret.value ? "" : "This is not the same password.");
    const wrong = [name, secret, repeat].find((one) => one.input.hasAttribute("aria-invalid"));
    if (wrong) {
      wrong.input.focus();
      return;
    }
    const body = resets ? { token, password: secret.value } : { token, name: name.value.trim(), password: secret.value };
    try {
      await ask(resets ? "/api/appliance/reset" : "/api/appliance/setup", { method: "POST", body, stay: true });
    } catch (error) {
      refused(error, { name, secret, said });
      return;
    }
    rememberSignedIn(true);
    location.replace("/"); // the used link leaves the history with this page
  });
}

function refused(error, { name, secret, said }) {
  const at = error.field.endsWith("password") ? secret : error.field.endsWith("name") ? name : null;
  if (at) {
    at.fail([error.message, error.hint].filter(Boolean).join(": "));
    at.input.focus();
    said.replaceChildren();
    return;
  }
  const spent = [401, 403, 404, 410].includes(error.status);
  said.replaceChildren(notice("critical", error.message, error.hint && !spent ? ` (${error.hint})` : "", ...(spent ? [". ", ...again] : [])));
}

if (token) build();
else place.replaceChildren(el("h1", {}, "This link is incomplete"), el("p", { class: "lead" }, "Its address ends in #t= and a code, which is missing here. ", ...again), el("a", { href: "/login" }, "Log in instead"));
