// The forms of payloads: a new version, one onto a drone, one onto many.

import { ask } from "./api.js";
import { attribute, el, notice } from "./dom.js";
import { plural } from "./format.js";
import { field, selectField, tickField } from "./forms.js";
import { formDialog } from "./sharing_parts.js";
import { failure } from "./shell.js";
import { send } from "./swarm_parts.js";
import { swarmPath } from "./swarm_words.js";

const ROLL_WAIT_SECONDS = 20;
const RETRY_MS = 2000;

/** Say what has come of a form once its dialog is gone, whose end gives the focus elsewhere. */
function said(page, dialog, node) {
  dialog.close();
  page.said.say(node);
}

/** Upload a version. */
export function uploadDialog({ destinations, payload_folder: folder }, { page, changed }) {
  const name = { autocomplete: "off", autocapitalize: "none", spellcheck: "false" };
  const type = field("Type", { ...name, maxlength: 32, pattern: "[a-z0-9_]{1,32}", required: true, list: "payload-types", value: "drone_binary" });
  type.root.append(el("datalist", { id: "payload-types" }, Object.keys(destinations).map((value) => el("option", { value }))));
  const where = el("p", { class: "small muted", id: `${type.input.id}-where` });
  type.root.append(where);
  attribute(type.input, "aria-describedby", `${where.id} ${type.input.getAttribute("aria-describedby")}`);
  const version = field("Version", { ...name, maxlength: 64, pattern: "[A-Za-z0-9._+\\-]{1,64}", required: true, placeholder: "such as 0.4.0" });
  const file = field("File", { type: "file", required: true });
  const description = field("Description", { autocomplete: "off", maxlength: 2000, placeholder: "may be empty" });
  const notes = field("Notes", { autocomplete: "off", maxlength: 2000, placeholder: "may be empty" });
  const told = () => (where.textContent = `It goes to ${destinations[type.value] ?? `${folder}/${type.value || "TYPE"}`}.`);
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

/** What of a roll stands now, as a notice. */
function rollNotice(roll) {
  const good = roll.results.filter((one) => one.success).length;
  const bad = roll.results.length - good;
  const done = roll.drone_count ? `${good} of ${plural(roll.drone_count, "drone")} done${bad ? `, ${bad} failed` : ""}.` : "No approved drone lacks it.";
  const lines = roll.results.map((one) => el("li", {}, [`${one.drone}: ${one.message}`, one.hint].filter(Boolean).join(" ")));
  const goesOn = roll.is_over ? null : el("p", { class: "small" }, roll.current_drone ? `Now: ${roll.current_drone}. It goes on when this page is left.` : "It begins.");
  return notice(bad ? "critical" : roll.is_over ? "ok" : "info", el("strong", {}, `${roll.payload_type} ${roll.version}: ${done}`), goesOn, el("ul", { class: "why" }, lines));
}

/** Show how far a roll is until it is over. */
async function followRoll(first, page, changed) {
  let roll = first;
  const shown = page.said;
  shown.say(rollNotice(roll));
  while (!roll.is_over) {
    const mine = shown.root.firstChild;
    try {
      roll = await ask(swarmPath(`/payload-rolls/${encodeURIComponent(roll.id)}`, { revision: roll.revision, wait_seconds: ROLL_WAIT_SECONDS }));
    } catch (error) {
      if (error.status) return void shown.say(failure(error)); // 0: not reached now; it is asked again
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
    if (shown.root.firstChild !== mine) break; // something else was done meanwhile, and is answered there
    if (roll.is_over) shown.say(rollNotice(roll));
    else shown.root.replaceChildren(rollNotice(roll));
    await changed();
  }
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
      const roll = await send(swarmPath("/payload-rolls"), { payload_type: type, version, ...body });
      dialog.close();
      await followRoll(roll, page, changed);
    },
  });
}
