// Releases of the binary host: what waits in staging, what drones and hosts install from, and what is kept of before.

import { ask } from "./api.js";
import { attribute, el, facts, notice, text } from "./dom.js";
import { bytes, dateTime, known, plural } from "./format.js";
import { field, selectField } from "./forms.js";
import { poll } from "./poll.js";
import { copyable } from "./secret.js";
import { formDialog, longTable, rowButton, stateCell, twoLines } from "./sharing_parts.js";
import { confirmed } from "./shell.js";
import { card, send, swarmFrame } from "./swarm_parts.js";
import { swarmPath } from "./swarm_words.js";

const EVERY_MS = 5000;
const STATES = { staging: "warning", released: "ok", active: "ok", archived: "" };
const STAGING = "staging";
const DIFF_SHOWN = 200;

const page = await swarmFrame("releases", "Releases");
const changed = () => reading.now();
let releases = [];
let staging = null;

const path = (version, rest = "") => swarmPath(`/releases/${encodeURIComponent(version)}${rest}`);
const isActive = (release) => release.status === "active" || release.status === "released";

// --- what can be done ---

function createDialog() {
  const version = field("Version", { autocomplete: "off", autocapitalize: "none", spellcheck: "false", maxlength: 64, pattern: "[A-Za-z0-9._+\\-]{1,64}", placeholder: "empty: the date of today" });
  const name = field("Name", { autocomplete: "off", maxlength: 200, placeholder: "may be empty" });
  const notes = field("Notes", { rows: 3, maxlength: 2000, placeholder: "may be empty" }, "textarea");
  formDialog("Create a release", "Create", [
    el("p", {}, staging ? `All that is in staging becomes a release: ${plural(staging.packages, "package")}, ${bytes(staging.size_bytes)}. Nothing is installed from it before it is promoted.` : "All that is in staging becomes a release."),
    version.root, name.root, notes.root,
  ], {
    byName: { version, name, notes },
    check() {
      const isRight = version.input.validity.valid;
      version.fail(isRight ? "" : "Letters, digits and . _ + -, at most 64.");
      if (!isRight) return null;
      return Object.fromEntries([["version", version], ["name", name], ["notes", notes]].map(([key, one]) => [key, one.value.trim()]).filter(([, value]) => value));
    },
    async send(body, dialog) {
      const made = await send(swarmPath("/releases"), body);
      dialog.close();
      page.said.say(notice("ok", `Release ${(made.release ?? made).version} is made. Promote it to have it installed.`));
      await changed();
    },
  });
}

function releaseButtons(first) {
  let release = first;
  const attempt = async (rest, done, options = {}) => {
    await page.act(() => (options.method ? ask(path(release.version, rest), options) : send(path(release.version, rest))), done);
    await changed();
  };
  const promote = rowButton("Promote", "", async () => {
    if (await confirmed(`Promote release ${release.version}?`, "From then on every host that installs from here gets the packages of this release. The one before is kept, and can be rolled back to.", "Promote")) await attempt("/promote", () => `Release ${release.version} is what is installed from now on.`);
  });
  const archive = rowButton("Archive", "", async () => {
    if (await confirmed(`Archive release ${release.version}?`, "It is kept and not offered any more.", "Archive")) await attempt("/archive", () => `Release ${release.version} is archived.`);
  });
  const forget = rowButton("Delete", "", async () => {
    if (await confirmed(`Delete release ${release.version}?`, "Its packages are deleted with it. This cannot be undone.", "Delete", release.version)) await attempt("", () => `Release ${release.version} is deleted.`, { method: "DELETE" });
  }, true);
  const buttons = [[promote, "Promote"], [archive, "Archive"], [forget, "Delete"]];
  return {
    nodes: buttons.map(([button]) => button),
    update(one) {
      release = one;
      for (const button of [promote, archive, forget]) button.hidden = isActive(one);
      if (one.status === "archived") archive.hidden = true;
      for (const [button, verb] of buttons) attribute(button, "aria-label", `${verb} release ${one.version}`);
    },
  };
}

async function rollBack() {
  if (!(await confirmed("Roll back?", "The release that was promoted before the present one is what is installed from now on.", "Roll back"))) return;
  await page.act(() => send(swarmPath("/releases/rollback")), (answer) => answer.message || `Rolled back to ${(answer.release ?? answer).version ?? answer.rolled_back_to}.`);
  await changed();
}

// --- what differs ---

function diffCard() {
  const from = selectField("From", []);
  const to = selectField("To", []);
  const state = el("p", { class: "small muted", role: "status" });
  const lists = el("div", { class: "diff" });
  const go = el("button", { type: "button", on: { click: compare } }, "Compare");
  const words = (one) => (typeof one === "string" ? one : [one.package ?? one.cpv ?? one.name, [one.from ?? one.old, one.to ?? one.new].filter(Boolean).join(" becomes ")].filter(Boolean).join(": "));
  function part(title, items) {
    const more = items.length - DIFF_SHOWN;
    return el("section", { "aria-label": title }, el("h3", { class: "small" }, `${title}: ${items.length}`), el("ul", {}, items.slice(0, DIFF_SHOWN).map((one) => el("li", {}, words(one)))), more > 0 ? el("p", { class: "muted small" }, `and ${more} more`) : null);
  }
  async function compare() {
    text(state, "comparing");
    lists.replaceChildren();
    const answer = await page.act(() => ask(swarmPath("/releases/diff", { from: from.select.value, to: to.select.value })), () => "");
    text(state, answer ? `${from.select.value} to ${to.select.value}` : "");
    if (answer) lists.replaceChildren(part("Added", answer.added), part("Removed", answer.removed), part("Changed", answer.changed));
  }
  const root = card("What differs", {}, el("div", { class: "filters" }, from.root, to.root, go), state, lists);
  let offered = "";
  return {
    root,
    show(names) {
      root.hidden = names.length < 2;
      const wanted = names.join("\n");
      if (wanted === offered) return;
      offered = wanted;
      for (const [one, place] of [[from, 1], [to, 0]]) {
        const value = one.select.value;
        one.select.replaceChildren(...names.map((name) => el("option", { value: name }, name)));
        one.select.value = names.includes(value) ? value : names[place];
      }
    },
  };
}

// --- the page ---

const list = longTable("Releases", [
  ["Release", twoLines((one) => [one.version, [one.name, one.notes].filter(Boolean).join("; ")], { strong: true })],
  ["State", stateCell((one) => [STATES[one.status] ?? "", isActive(one) ? "installed from" : one.status])],
  ["Packages", twoLines((one) => [String(one.packages), known(one.size_bytes) ? bytes(one.size_bytes) : ""])],
  ["Made", twoLines((one) => [dateTime(one.created_unix_s), one.created_by ? `by ${one.created_by}` : ""])],
  ["Promoted", (one) => (known(one.promoted_unix_s) ? dateTime(one.promoted_unix_s) : "never")],
], (one) => one.version, page.mayAct ? releaseButtons : null);
const create = el("button", { type: "button", class: "primary", on: { click: createDialog } }, "Create a release");
const back = el("button", { type: "button", class: "danger", on: { click: rollBack } }, "Roll back");
const diff = diffCard();
const use = card("Install from here", {}, el("p", {}, "On a Gentoo host, in /etc/portage/binrepos.conf:"), copyable("binrepos.conf", `[appliance]\nsync-uri = ${location.origin}/api/appliance/binhost/release`));
if (page.mayAct) page.actions.append(back, create);
page.content.append(card("Releases", {}, list.root), diff.root, use);

function show() {
  list.show(releases, "There is none. What drones upload waits in staging until somebody creates a release.");
  back.hidden = releases.filter((one) => known(one.promoted_unix_s)).length < 2;
  create.disabled = !staging?.packages;
  facts(page.facts, [staging && `in staging: ${plural(staging.packages, "package")}, ${bytes(staging.size_bytes)}`]);
  diff.show([...(staging?.packages ? [STAGING] : []), ...releases.map((one) => one.version)]);
}

async function read() {
  const [found, waiting] = await Promise.all([ask(swarmPath("/releases")), ask(swarmPath("/staging"))]);
  releases = found.items;
  staging = waiting;
  show();
  page.live();
}

const reading = poll(read, page.failed, EVERY_MS);
