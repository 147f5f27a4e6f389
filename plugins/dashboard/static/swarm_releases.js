// Releases of the binary host: what waits in staging, what drones and hosts install from, and what is kept of before.

import { ask } from "./api.js";
import { attribute, el, facts, notice, text } from "./dom.js";
import { bytes, dateTime, known, plural } from "./format.js";
import { field, selectField, tickField } from "./forms.js";
import { poll } from "./poll.js";
import { copyable } from "./secret.js";
import { formDialog, longTable, rowButton, stateCell, twoLines } from "./sharing_parts.js";
import { confirmed } from "./shell.js";
import { card, send, swarmFrame } from "./swarm_parts.js";
import { swarmPath } from "./swarm_words.js";

const EVERY_MS = 5000;
const STATES = { new: ["warning", "not promoted"], current: ["ok", "installed from"], superseded: ["", "kept"], archived: ["", "archived"] };
const STAGED_ROWS = 50;
const STAGED_ROWS_MAX = 1000;
const DIFF_SHOWN = 200;

const page = await swarmFrame("releases", "Releases");
const changed = () => reading.now();
let releases = [];
let binhost = null;
let staged = [];

const path = (version, rest = "") => swarmPath(`/releases/${encodeURIComponent(version)}${rest}`);
const isCurrent = (release) => release.state === "current";

// --- what can be done ---

function createDialog() {
  const version = field("Version", { autocomplete: "off", autocapitalize: "none", spellcheck: "false", maxlength: 64, pattern: "[A-Za-z0-9._+\\-]{1,64}", placeholder: "empty: the date of today" });
  const notes = field("Notes", { rows: 3, maxlength: 2000, placeholder: "may be empty" }, "textarea");
  const promote = tickField("Promote it: hosts install from it at once");
  formDialog("Create a release", "Create", [
    el("p", {}, `All that is staged becomes a release: ${plural(binhost.staged_packages, "package")}, ${bytes(binhost.staged_bytes)}.`),
    version.root, notes.root, promote.root,
  ], {
    byName: { version, notes },
    check() {
      const isRight = version.input.validity.valid;
      version.fail(isRight ? "" : "Letters, digits and . _ + -, at most 64.");
      if (!isRight) return null;
      return { version: version.value.trim(), notes: notes.value.trim(), promote: promote.input.checked };
    },
    async send(body, dialog) {
      const made = await send(swarmPath("/releases"), body);
      dialog.close();
      page.said.say(notice("ok", isCurrent(made) ? `Release ${made.version} is made, and what is installed from now on.` : `Release ${made.version} is made. Promote it to have it installed.`));
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
      for (const button of [promote, archive, forget]) button.hidden = isCurrent(one);
      if (one.state === "archived") archive.hidden = true;
      for (const [button, verb] of buttons) attribute(button, "aria-label", `${verb} release ${one.version}`);
    },
  };
}

async function rollBack() {
  if (!(await confirmed("Roll back?", "The release that was promoted before the present one is what is installed from now on.", "Roll back"))) return;
  await page.act(() => send(swarmPath("/releases/rollback")), ({ version }) => `Release ${version} is what is installed from now on.`);
  await changed();
}

// --- what differs ---

function diffCard() {
  const from = selectField("From", []);
  const to = selectField("To", []);
  const state = el("p", { class: "small muted", role: "status" });
  const lists = el("div", { class: "diff" });
  const go = el("button", { type: "button", on: { click: compare } }, "Compare");
  const words = (one) => (typeof one === "string" ? one : `${one.package}: ${one.before.join(", ")} becomes ${one.after.join(", ")}`);
  function part(title, items) {
    const more = items.length - DIFF_SHOWN;
    return el("section", { "aria-label": title }, el("h3", { class: "small" }, `${title}: ${items.length}`), el("ul", {}, items.slice(0, DIFF_SHOWN).map((one) => el("li", {}, words(one)))), more > 0 ? el("p", { class: "muted small" }, `and ${more} more`) : null);
  }
  async function compare() {
    text(state, "comparing");
    lists.replaceChildren();
    const answer = await page.act(() => ask(swarmPath("/releases/diff", { before: from.select.value, after: to.select.value })), () => "");
    text(state, answer ? `${answer.before} to ${answer.after}: ${plural(answer.unchanged_count, "package")} the same` : "");
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
  ["Release", twoLines((one) => [one.version, one.notes], { strong: true })],
  ["State", stateCell((one) => STATES[one.state] ?? ["", one.state])],
  ["Packages", twoLines((one) => [String(one.packages), known(one.size_bytes) ? bytes(one.size_bytes) : ""])],
  ["Made", twoLines((one) => [dateTime(one.created_unix_s), one.created_by ? `by ${one.created_by}` : ""])],
  ["Promoted", (one) => (known(one.promoted_unix_s) ? dateTime(one.promoted_unix_s) : "never")],
], (one) => one.version, page.mayAct ? releaseButtons : null);
/** Take a package out of the staging area. */
function stagedButtons(first) {
  let binary = first;
  const remove = rowButton("Remove", "", async () => {
    if (!(await confirmed(`Remove ${binary.cpv}?`, "It is not staged any more; releases that have it keep it.", "Remove"))) return;
    await page.act(() => ask(`/api/appliance/binhost/staging/${binary.path.split("/").map(encodeURIComponent).join("/")}`, { method: "DELETE" }), () => `${binary.cpv} is not staged any more.`);
    await changed();
  }, true);
  return {
    nodes: [remove],
    update(one) {
      binary = one;
      attribute(remove, "aria-label", `Remove ${one.path}`);
    },
  };
}

const stagedList = longTable("Staged packages", [
  ["Package", twoLines((one) => [one.cpv, one.path])],
  ["Size", (one) => bytes(one.size_bytes)],
  ["Sent", twoLines((one) => [dateTime(one.uploaded_unix_s), one.uploaded_by ? `by ${one.uploaded_by}` : ""])],
  ["Signed", (one) => (one.is_signed ? "yes" : "no")],
], (one) => one.path, page.mayAct ? stagedButtons : null);
let stagedRows = STAGED_ROWS;
const moreStaged = el("div", { class: "more-rows" }, el("button", { type: "button", on: { click: () => { stagedRows = Math.min(STAGED_ROWS_MAX, stagedRows + STAGED_ROWS); changed(); } } }, `Show ${STAGED_ROWS} more`));
const problem = notice("critical");
const create = el("button", { type: "button", class: "primary", on: { click: createDialog } }, "Create a release");
const back = el("button", { type: "button", class: "danger", on: { click: rollBack } }, "Roll back");
const diff = diffCard();
const use = card("Install from here", {}, el("p", {}, "On a Gentoo host, in /etc/portage/binrepos.conf:"), copyable("binrepos.conf", `[appliance]\nsync-uri = ${location.origin}/api/appliance/binhost/current`));
if (page.mayAct) page.actions.append(back, create);
problem.hidden = true;
page.content.append(problem, card("Releases", {}, list.root), card("Staged", {}, stagedList.root, moreStaged), diff.root, use);

function show() {
  list.show(releases, "There is none. What drones upload waits in staging until somebody creates a release.");
  back.hidden = releases.filter((one) => known(one.promoted_unix_s)).length < 2;
  create.hidden = !binhost.staged_packages;
  stagedList.show(staged, "Nothing is staged.");
  moreStaged.hidden = staged.length >= binhost.staged_packages;
  facts(page.facts, [`${plural(binhost.staged_packages, "package")} staged, ${bytes(binhost.staged_bytes)}`, `${bytes(binhost.used_bytes)} used${known(binhost.bytes_max) ? ` of ${bytes(binhost.bytes_max)}` : ""}, ${bytes(binhost.free_bytes)} free`]);
  problem.hidden = !binhost.problem;
  text(problem, binhost.problem ?? "");
  diff.show(releases.map((one) => one.version));
}

async function read() {
  const [found, whole, waiting] = await Promise.all([ask(swarmPath("/releases")), ask(swarmPath("/binhost")), ask(swarmPath("/staging", { limit: stagedRows }))]);
  releases = found.items;
  binhost = whole;
  staged = waiting.items;
  show();
  page.live();
}

const reading = poll(read, page.failed, EVERY_MS);
