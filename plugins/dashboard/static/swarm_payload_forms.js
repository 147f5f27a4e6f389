// The forms of payloads: a new version, one onto a drone, one onto many.

import { ask } from "./api.js";
import { attribute, el, notice } from "./dom.js";
import { plural } from "./format.js";
import { field, selectField, tickField } from "./forms.js";
import { formDialog } from "./sharing_parts.js";
import { send } from "./swarm_parts.js";
import { swarmPath } from "./swarm_words.js";

const USUAL = [["drone_binary", "/usr/local/bin/swarm-drone"], ["init_script", "/etc/init.d/swarm-drone"], ["config", "/etc/swarm-drone/config.json"], ["portage_config", "/etc/portage/repos.conf/binhost.conf"]];

/** Say what has come of a form once its dialog is gone, whose end gives the focus elsewhere. */
function said(page, dialog, node) {
  dialog.close();
  page.said.say(node);
}

/** Upload a version. */
export function uploadDialog(types, { page, changed }) {
  const name = { autocomplete: "off", autocapitalize: "none", spellcheck: "false" };
  const type = field("Type", { ...name, maxlength: 32, pattern: "[a-z0-9_]{1,32}", required: true, list: "payload-types", value: "drone_binary" });
  type.root.append(el("datalist", { id: "payload-types" }, [...new Set([...USUAL.map(([one]) => one), ...types])].map((value) => el("option", { value }))));
  const where = el("p", { class: "small muted", id: `${type.input.id}-where` });
  type.root.append(where);
  attribute(type.input, "aria-describedby", `${where.id} ${type.input.getAttribute("aria-describedby")}`);
  const version = field("Version", { ...name, maxlength: 64, pattern: "[A-Za-z0-9._+\\-]{1,64}", required: true, placeholder: "such as 0.4.0" });
  const file = field("File", { type: "file", required: true });
  const description = field("Description", { autocomplete: "off", maxlength: 2000, placeholder: "may be empty" });
  const notes = field("Notes", { autocomplete: "off", maxlength: 2000, placeholder: "may be empty" });
  const told = () => (where.textContent = `It goes to ${USUAL.find(([one]) => one === type.value)?.[1] ?? `/tmp/${type.value || "TYPE"}`}.`);
  type.input.addEventListener("input", told);
  told();
  formDialog("Upload a version", "Upload", [el("div", { class: "pair" }, type.root, version.root), file.root, description.root, notes.root], {
    byName: { type, payload_type: type, version, content: file, description, notes },
    check() {
      type.fail(type.input.validity.valid ? "" : "Lower-case letters, digits and _, at most 32.");
      version.fail(version.input.validity.valid ? "" : "Letters, digits and . _ + -, at most 64.");
      const [chosen] = file.input.files;
      file.fail(chosen?.size ? "" : chosen ? "This file is empty." : "Choose a file.");
      return type.input.validity.valid && version.input.validity.valid && chosen?.size ? chosen : null;
    },
    async send(content, dialog) {
      const path = swarmPath(`/payloads/${encodeURIComponent(type.value)}/${encodeURIComponent(version.value)}`, { description: description.value.trim(), notes: notes.value.trim() });
      await ask(path, { method: "PUT", body: content });
      said(page, dialog, notice("ok", `${type.value} ${version.value} is stored.`));
      await changed();
    },
  });
}

/** Put a version onto one drone. */
export function deployDialog(type, version, drones, chosen, { page, changed }) {
  const drone = selectField("Drone", drones.map((one) => [one.name, one.approval ? one.name : `${one.name} (not approved)`]));
  if (chosen) drone.select.value = chosen;
  const verify = tickField("Compare what has arrived with what was sent");
  verify.input.checked = true;
  formDialog(`Deploy ${type} ${version}`, "Deploy", [drone.root, verify.root], {
    check: () => ({ drone: drone.select.value, verify: verify.input.checked }),
    async send(body, dialog) {
      const answer = await send(swarmPath(`/payloads/${encodeURIComponent(type)}/${encodeURIComponent(version)}/deploy`), body);
      said(page, dialog, notice("ok", answer.message || `${type} ${version} is on ${body.drone}.`));
      await changed();
    },
  });
}

/** Put a version onto many drones, one after another. */
export function rollingDialog(type, version, drones, { page, changed }) {
  const ticks = drones.map((one) => ({ name: one.name, ...tickField(one.approval ? one.name : `${one.name} (not approved)`) }));
  const all = tickField("Every drone that has another version");
  const health = tickField("After each, wait until it reports again");
  const back = tickField("When one fails, put back what each had");
  for (const one of [all, health, back]) one.input.checked = true;
  const some = el("fieldset", { class: "ticks" }, el("legend", {}, "These drones"), ticks.map((one) => one.root));
  const shown = () => (some.hidden = all.input.checked);
  all.input.addEventListener("change", shown);
  shown();
  const wrong = el("p", { class: "field-error", role: "alert" });
  formDialog(`Roll out ${type} ${version}`, "Roll out", [el("p", {}, "One drone after another; it may take a minute for each."), all.root, some, wrong, health.root, back.root], {
    check() {
      const names = ticks.filter((one) => one.input.checked).map((one) => one.name);
      wrong.textContent = all.input.checked || names.length ? "" : "Tick at least one drone.";
      return wrong.textContent ? null : { drones: all.input.checked ? null : names, health_check: health.input.checked, rollback_on_fail: back.input.checked };
    },
    async send(body, dialog) {
      const { success_count: good, fail_count: bad, results } = await send(swarmPath(`/payloads/${encodeURIComponent(type)}/${encodeURIComponent(version)}/rolling-deploy`), body);
      const lines = Object.entries(results).map(([drone, one]) => el("li", {}, `${drone}: ${one.message}`));
      said(page, dialog, notice(bad ? "critical" : "ok", el("strong", {}, good + bad ? `${type} ${version}: ${plural(good, "drone")} done, ${bad} failed.` : "Every drone has it already."), el("ul", { class: "why" }, lines)));
      await changed();
    },
  });
}
