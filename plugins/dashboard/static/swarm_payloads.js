// Which version of what is on which drone, the versions that there are, and how each deployment went.

import { ask } from "./api.js";
import { attribute, el, facts, notice, text } from "./dom.js";
import { bytes, dateTime, known, plural } from "./format.js";
import { poll } from "./poll.js";
import { longTable, rowButton, stateCell, twoLines } from "./sharing_parts.js";
import { droneCell, card, filters, send, swarmFrame } from "./swarm_parts.js";
import { deployDialog, rollingDialog, uploadDialog } from "./swarm_payload_forms.js";
import { ago, dronePage, swarmPath } from "./swarm_words.js";

const EVERY_MS = 3000;
const LOG_ROWS = 200;
const HASH_SHOWN = 12;

const page = await swarmFrame("payloads", "Payloads");
const shared = { page, changed: () => reading.now() };
let versions = [];
let status = null;
let drones = [];
let log = [];

// --- the matrix ---

/** What a drone has of one type, as [level, words, why]. */
function cellState(has, latest) {
  if (!has) return ["", "nothing", ""];
  if (has.status !== "deployed") return [has.status === "failed" ? "critical" : "warning", has.version || "nothing", has.status];
  return has.is_current ? ["ok", has.version, "newest"] : ["warning", has.version, latest ? `newest is ${latest}` : ""];
}

function matrixCell(type) {
  return {
    part: () => {
      let row = null;
      const state = stateCell(({ has, latest }) => cellState(has, latest)).part();
      const deploy = rowButton("Deploy", "", () => deployDialog(type, row.latest[type], drones, row.name, shared));
      const verify = rowButton("Verify", "", () => page.act(() => send(swarmPath(`/payloads/${encodeURIComponent(type)}/verify`), { drone: row.name }),
        ({ matches, message }) => notice(matches ? "ok" : "critical", `${row.name}, ${type}: ${matches ? "what is there is what was sent." : `it is not what was sent: ${message}`}`)));
      const buttons = page.mayAct ? el("div", { class: "row-buttons" }, deploy, verify) : null;
      return {
        root: el("div", {}, state.root, buttons),
        update(one) {
          row = one;
          const has = one.has[type];
          state.update({ has, latest: one.latest[type] });
          deploy.hidden = !one.latest[type] || !one.isApproved || Boolean(has?.is_current && has.status === "deployed");
          verify.hidden = !has || !one.isApproved;
          for (const [button, verb] of [[deploy, "Deploy"], [verify, "Verify"]]) attribute(button, "aria-label", `${verb} ${type} on ${one.name}`);
        },
      };
    },
  };
}

function nameCell() {
  const link = el("a", { class: "strong" });
  const under = el("div", { class: "muted small" });
  return {
    root: el("div", {}, link, under),
    update(row) {
      text(link, row.name);
      attribute(link, "href", dronePage(row.name));
      text(under, row.isApproved ? "" : "not approved for ssh");
      under.hidden = row.isApproved;
    },
  };
}

/** The matrix, made anew when there is a type more or less. */
function matrix() {
  const place = el("div");
  let types = null;
  let made = null;
  return {
    root: place,
    show() {
      const wanted = status.payload_types.join(" ");
      if (wanted !== types) {
        types = wanted;
        made = longTable("Versions on drones", [["Drone", { part: nameCell }], ...status.payload_types.map((type) => [type, matrixCell(type)])], (row) => row.name);
        place.replaceChildren(made.root);
      }
      const latest = Object.fromEntries(Object.entries(status.latest_versions).map(([type, one]) => [type, one.version]));
      made.show(drones.map((drone) => ({ name: drone.name, isApproved: Boolean(drone.approval), has: status.drones[drone.name] ?? {}, latest })), "No drone has registered yet.");
    },
  };
}

// --- versions and the log ---

const table = matrix();
const list = longTable("Versions", [
  ["Version", twoLines((one) => [`${one.payload_type} ${one.version}`, [one.description, one.notes].filter(Boolean).join("; ")], { strong: true })],
  ["sha256", (one) => one.hash.replace("sha256:", "").slice(0, HASH_SHOWN)],
  ["Size", (one) => (known(one.content_size) ? bytes(one.content_size) : "")],
  ["Stored", twoLines((one) => [dateTime(one.created_at), one.created_by ? `by ${one.created_by}` : ""])],
], (one) => `${one.payload_type} ${one.version}`, page.mayAct ? (one) => [
  rowButton("Deploy", `Deploy ${one.payload_type} ${one.version}`, () => deployDialog(one.payload_type, one.version, drones, "", shared)),
  rowButton("Roll out", `Roll out ${one.payload_type} ${one.version}`, () => rollingDialog(one.payload_type, one.version, drones, shared)),
] : null);
const logs = longTable("Deployments", [
  ["What", twoLines((one) => [`${one.payload_type} ${one.version}`, one.action])],
  ["Drone", droneCell((one) => one.drone_name)],
  ["Result", stateCell((one) => [one.status === "success" ? "ok" : one.status === "deploying" ? "warning" : "critical", one.status, one.error_message ?? ""])],
  ["Took", (one) => (known(one.duration_ms) ? `${(one.duration_ms / 1000).toFixed(1)} s` : "")],
  ["When", twoLines((one) => [ago(one.deployed_at), one.deployed_by ? `by ${one.deployed_by}` : ""])],
], (one) => one.id);
const chosen = filters({ type: { label: "Type" }, drone: { label: "Drone" } }, () => reading.now());
const upload = el("button", { type: "button", class: "primary", on: { click: () => uploadDialog(status, shared) } }, "Upload a version");
if (page.mayAct) page.actions.append(upload);
page.content.append(card("On drones", {}, table.root), card("Versions", {}, list.root), card("Deployments", {}, chosen.root, logs.root));

function show() {
  table.show();
  list.show(versions, page.mayAct ? "There is none. Press “Upload a version” to store the first." : "There is none.");
  const { type, drone } = chosen.chosen;
  chosen.offer("type", [["", "all types"], ...status.payload_types.map((one) => [one, one])]);
  chosen.offer("drone", [["", "all drones"], ...drones.map((one) => [one.name, one.name])]);
  logs.show(log, type || drone ? "No such deployment is here." : "Nothing was deployed yet.");
  facts(page.facts, [plural(versions.length, "version"), status.outdated_count ? `${plural(status.outdated_count, "drone")} with an older one` : ""]);
}

async function readLog() {
  const { type, drone } = chosen.chosen;
  const types = type ? [type] : status.payload_types;
  const found = await Promise.all(types.map((one) => ask(swarmPath(`/payloads/${encodeURIComponent(one)}/deploy-log`, { limit: LOG_ROWS, drone }))));
  return found.flatMap((one) => one.history).sort((a, b) => b.deployed_at - a.deployed_at || b.id - a.id).slice(0, LOG_ROWS);
}

async function read() {
  const [all, whole, found] = await Promise.all([ask(swarmPath("/payloads")), ask(swarmPath("/payloads/status")), ask(swarmPath("/drones", { offline: "true" }))]);
  versions = all.versions;
  status = whole;
  drones = found.items;
  log = await readLog();
  show();
  page.live();
}

const reading = poll(read, page.failed, EVERY_MS);
