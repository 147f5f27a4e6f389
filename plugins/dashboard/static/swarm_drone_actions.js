// What can be done with a drone: pause, ping, approve for ssh, say what it is, set it right, delete it.

import { ask } from "./api.js";
import { attribute, el, notice, text } from "./dom.js";
import { known, number, plural } from "./format.js";
import { field, selectField } from "./forms.js";
import { copyable } from "./secret.js";
import { formDialog, rowButton, wholeNumber } from "./sharing_parts.js";
import { confirmed } from "./shell.js";
import { send } from "./swarm_parts.js";
import { dronePage, dronePath, TYPES } from "./swarm_words.js";

const PORT = 22;

/** What came of asking a drone whether it lives. */
export function pingWords(ping) {
  if (!ping) return "never asked";
  if (ping.status !== "ok") return `no answer: ${ping.status}`;
  return [`answered in ${number(ping.latency_ms)} ms`, known(ping.load) && `load ${number(ping.load, 1)}`, known(ping.disk_percent) && `disk ${number(ping.disk_percent)} %`, known(ping.mem_percent) && `memory ${number(ping.mem_percent)} %`].filter(Boolean).join(", ");
}

/** Have somebody compare the host key that a drone shows, and approve it with that one. */
function compareDialog(drone, wanted, seen, { page, changed }) {
  const keys = selectField("Host key", seen.keys.map((key) => [key.fingerprint, `${key.type}`]));
  const shown = el("code", { class: "secret" });
  const tell = () => text(shown, keys.select.value);
  keys.select.addEventListener("change", tell);
  keys.root.hidden = seen.keys.length === 1;
  tell();
  formDialog(`Is this ${drone.name}?`, "Approve", [
    el("p", {}, `${seen.user}@${seen.address}, port ${seen.port}, shows this host key. On the drone, ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub has to say the same:`),
    keys.root, shown,
    el("details", { class: "more" }, el("summary", {}, "Our key, for its authorized_keys"), copyable("authorized_keys", seen.authorized_keys_line)),
  ], {
    check: () => ({ ...wanted, host_key: seen.keys.find((key) => key.fingerprint === keys.select.value).host_key, fingerprint: keys.select.value }),
    async send(body, dialog) {
      const made = await send(dronePath(drone.name, "/approve"), body);
      dialog.close();
      page.said.say(notice("ok", `${drone.name} is approved: ${made.user}@${made.address}, host key ${made.host_key_fingerprint}.`));
      await changed();
    },
  });
}

/** The form that approves a drone for ssh, with the command that does the same. */
function approveDialog(drone, shared) {
  const address = field("Address", { autocomplete: "off", autocapitalize: "none", spellcheck: "false", maxlength: 255, value: drone.address ?? "" });
  const port = field("Port", { type: "number", step: 1, min: 1, max: 65535, value: PORT });
  const user = field("User", { autocomplete: "off", autocapitalize: "none", spellcheck: "false", maxlength: 32, placeholder: "empty: as configured" });
  const type = selectField("It is", TYPES);
  type.select.value = drone.drone_type;
  formDialog(`Approve ${drone.name}`, "Look at its host key", [
    el("p", {}, "Then this appliance may log in to it over ssh: to ask how it is, to set it right, to deploy to it, and for the terminal. It ends by itself when the drone comes from another address."),
    address.root, el("div", { class: "pair" }, port.root, user.root), type.root,
    el("details", { class: "more" }, el("summary", {}, "The same on the command line"), copyable("Command", drone.approve_command)),
  ], {
    byName: { address, port, user },
    check() {
      const [isRight, number] = wholeNumber(port, "Enter a port from 1 to 65535.");
      if (!isRight) return null;
      const body = { drone_type: type.select.value, port: number ?? PORT };
      for (const [name, one] of [["address", address], ["user", user]]) if (one.value.trim()) body[name] = one.value.trim();
      return body;
    },
    async send(body, dialog) {
      const seen = await send(dronePath(drone.name, "/scan"), body);
      if (!seen.keys.length) return void address.fail(`${seen.address} port ${seen.port} shows no host key: does sshd run there?`);
      dialog.close();
      compareDialog(drone, body, seen, shared);
    },
  });
}

/** Ask what a drone is. */
function typeDialog(drone, { page, changed }) {
  const type = selectField("It is", TYPES);
  type.select.value = drone.drone_type;
  formDialog(`What is ${drone.name}?`, "Save", [type.root, el("p", { class: "small muted" }, "Containers and virtual machines may be restarted as a whole when nothing else helps; others never are.")], {
    check: () => ({ drone_type: type.select.value }),
    async send(body, dialog) {
      await send(dronePath(drone.name, "/type"), body);
      dialog.close();
      await page.act(() => null, () => `${drone.name} is noted as ${TYPES.find(([one]) => one === body.drone_type)[1]}.`);
      await changed();
    },
  });
}

/** Buttons for one drone as {nodes, update(drone)}; `deleted()` is told when it is gone. */
export function droneButtons(first, shared, deleted = shared.changed) {
  const { page, changed } = shared;
  let drone = first;
  const attempt = async (rest, done) => {
    await page.act(() => send(dronePath(drone.name, rest)), done);
    await changed();
  };
  const pause = rowButton("Pause", "", () => attempt(drone.is_paused ? "/resume" : "/pause", ({ is_paused: isPaused }) => (isPaused ? `${drone.name} gets nothing more; what it builds it builds on.` : `${drone.name} gets packages again.`)));
  const ping = rowButton("Ping", "", () => attempt("/ping", (answer) => `${drone.name}: ${pingWords(answer)}.`));
  const approve = rowButton("Approve", "", () => approveDialog(drone, shared));
  const withdraw = rowButton("Withdraw approval", "", async () => {
    if (await confirmed(`Withdraw the approval of ${drone.name}?`, "This appliance does not log in to it any more: no ping, no healing, no deployment, no terminal. It goes on to build.", "Withdraw")) await attempt("/unapprove", () => `${drone.name} is not approved any more.`);
  });
  const type = rowButton("Type", "", () => typeDialog(drone, shared));
  const heal = rowButton("Reset level", "", () => attempt("/reset-escalation", () => `Nothing is noted against ${drone.name} any more.`));
  const terminal = el("a", { class: "button" }, "Terminal");
  const forget = rowButton("Delete", "", async () => {
    const builds = drone.builds_completed + drone.builds_failed;
    if (!(await confirmed(`Delete drone ${drone.name}?`, `What it has is given to others${builds ? `; ${plural(builds, "build")} of it stay in the history` : ""}. One that is still there registers again.`, "Delete"))) return;
    const done = await page.act(() => ask(dronePath(drone.name), { method: "DELETE" }), () => `Drone ${drone.name} is deleted.`);
    if (done) await deleted();
  }, true);
  const buttons = [[pause, "Pause"], [ping, "Ping"], [terminal, "Terminal of"], [approve, "Approve"], [type, "Type of"], [heal, "Reset level of"], [withdraw, "Withdraw approval of"], [forget, "Delete"]];
  return {
    nodes: buttons.map(([button]) => button),
    update(one) {
      drone = one;
      text(pause, one.is_paused ? "Resume" : "Pause");
      for (const [button, verb] of buttons) attribute(button, "aria-label", `${button === pause ? pause.textContent : verb} ${one.name}`);
      attribute(terminal, "href", dronePage(one.name, "/terminal"));
      const isApproved = Boolean(one.approval);
      for (const button of [ping, terminal, withdraw]) button.hidden = !isApproved;
      approve.hidden = isApproved;
      heal.hidden = !one.escalation?.level;
    },
  };
}
