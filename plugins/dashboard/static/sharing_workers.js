// Workers: which GPUs they may use, how they are, and what holds them to their limits.

import { ask } from "./api.js";
import { attribute, el, keyed, notice, text } from "./dom.js";
import { plural } from "./format.js";
import { field, selectField, tickField } from "./forms.js";
import { failure } from "./shell.js";
import { formDialog, longTable, remove, rowButton, stateCell, twoLines, wholeNumber } from "./sharing_parts.js";
import { ago, enforcement, freePort, gpuName, limitWords, memory, sharingPath, whyNotRunning, workerState } from "./sharing_words.js";

const ISOLATION = [["", "none"], ["soft", "soft: limits by MPS, where it runs"], ["hard", "hard: an instance of MIG"]];
const PEERS = 5; // addresses that a row names

function limitCell() {
  const words = el("div");
  const held = el("span", { class: "badge" });
  const why = el("div", { class: "muted small" });
  return {
    root: el("div", { class: "mark" }, words, held, why),
    update(worker) {
      const found = enforcement(worker);
      text(words, limitWords(worker));
      held.hidden = why.hidden = !found;
      if (!found) return;
      attribute(held, "class", `badge ${found[0]}`);
      text(held, found[1]);
      text(why, found[2]);
    },
  };
}

function peersCell() {
  const count = el("div");
  const list = el("ul", { class: "small muted" });
  return {
    root: el("div", {}, count, list),
    update({ connections }) {
      text(count, connections.length ? String(connections.length) : "none");
      const rows = connections.slice(0, PEERS).map((peer, i) => [i, `${peer.client_ip}, since ${ago(peer.connected_unix_s).replace(/ ago$/, "")}`]);
      if (connections.length > PEERS) rows.push([PEERS, `and ${connections.length - PEERS} more`]);
      keyed(list, rows, ([i]) => i, () => {
        const root = el("li");
        return { root, update: ([, words]) => text(root, words) };
      });
    },
  };
}

/** The card with all workers, kept by `show(workers, agents)`; `share(worker)` is asked for a share of one. */
export function workersCard(mayWrite, shared, share) {
  let agents = new Map();
  let workers = [];

  /** The GPUs of a worker as its agent calls them; those that are gone by their id. */
  function gpuWords(worker) {
    const known = new Map((agents.get(worker.agent_id)?.gpus ?? []).map((gpu) => [gpu.gpu_id, gpu]));
    const found = worker.gpu_ids.map((id) => known.get(id));
    const models = [...new Set(found.map((gpu) => gpu?.model).filter(Boolean))];
    return [worker.gpu_ids.map((id, i) => (found[i] ? `GPU ${found[i].gpu_index}` : `${id}, which is gone`)).join(", ") || "none", models.join(", ")];
  }

  function actions(first) {
    let worker = first;
    const path = sharingPath(`workers/${encodeURIComponent(first.worker_id)}`);
    const change = async (body) => {
      try {
        await ask(path, { method: "PATCH", body });
      } catch (error) {
        shared.said.say(failure(error));
      }
      await shared.changed();
    };
    const open = rowButton("Share", "", () => share(worker));
    const edit = rowButton("Edit", "", () => workerDialog([...agents.values()], workers, worker, shared));
    const toggle = rowButton("Disable", "", () => change({ enabled: !worker.enabled }));
    const end = rowButton("Delete", "", () => remove(path, [
      `Delete worker ${worker.name}?`,
      `Its GPUs are free for others from then on${worker.share_count ? `, and ${plural(worker.share_count, "share")} of it ${worker.share_count === 1 ? "ends" : "end"}` : ""}. This cannot be undone.`, "Delete",
    ], `Worker ${worker.name} is deleted.`, shared), true);
    return {
      nodes: [open, edit, toggle, end],
      update(one) {
        worker = one;
        text(toggle, one.enabled ? "Disable" : "Enable");
        const named = `${one.name} on ${one.hostname}`;
        for (const [button, verb] of [[open, "Share"], [edit, "Edit"], [toggle, one.enabled ? "Disable" : "Enable"], [end, "Delete"]]) attribute(button, "aria-label", `${verb} worker ${named}`);
      },
    };
  }

  const list = longTable("Workers", [
    ["Worker", twoLines((worker) => [worker.name, `${worker.hostname}, port ${worker.listen_port}`], { strong: true })],
    ["State", stateCell((worker) => [...workerState(worker), whyNotRunning(worker, agents.get(worker.agent_id))])],
    ["GPUs", twoLines(gpuWords)],
    ["Limits", { part: limitCell }],
    ["Connected", { part: peersCell }],
    ["Shares", (worker) => String(worker.share_count)],
  ], (worker) => worker.worker_id, mayWrite ? actions : null);
  list.root.classList.add("sharing");
  const add = el("button", { type: "button", class: "end", set: { disabled: true }, on: { click: () => workerDialog([...agents.values()], workers, null, shared) } }, "Add a worker");
  const root = el("section", { class: "card wide", "aria-label": "Workers" }, el("header", {}, el("h2", {}, "Workers"), mayWrite ? add : null), list.root);
  return {
    root,
    show(found, foundAgents) {
      workers = found;
      agents = new Map(foundAgents.map((agent) => [agent.agent_id, agent]));
      add.disabled = !foundAgents.some((agent) => agent.gpus.length);
      const isBare = !foundAgents.some((agent) => agent.gpus.length);
      list.show(found, isBare ? `No workers. They use the GPUs of an agent, and there is none with GPUs yet${mayWrite ? ": add an agent first" : ""}.` : mayWrite ? "No workers. Add one to say which GPUs can be shared, and how much of them." : "No workers.");
    },
  };
}

/** Ask for what a new worker shall be, or, with `worker`, for what shall be changed of one. */
function workerDialog(agents, workers, worker, { said, changed }) {
  const offered = agents.filter((agent) => agent.gpus.length || agent.agent_id === worker?.agent_id);
  const agent = selectField("Agent", offered.map((one) => [one.agent_id, one.is_local ? `${one.hostname}, this host` : one.hostname]));
  if (worker) agent.select.value = worker.agent_id;
  agent.root.hidden = Boolean(worker);
  const limit = (label, key, most, placeholder) => field(label, { type: "number", min: 1, max: most, step: 1, inputmode: "numeric", placeholder, value: worker?.[key] ?? "" });
  const name = field("Name", { autocomplete: "off", maxlength: 100, spellcheck: "false", value: worker?.name ?? "" });
  const port = field("Port", { type: "number", min: 1024, max: 65535, step: 1, inputmode: "numeric", required: true });
  const vram = limit("GPU memory in MiB", "vram_mb", 2 ** 40, "empty: no limit");
  const compute = limit("Compute in percent", "compute_percent", 100, "empty: no limit");
  const isolation = selectField("Isolation", ISOLATION);
  isolation.select.value = worker?.isolation_mode ?? "";
  const enabled = tickField("Enabled");
  enabled.input.checked = worker?.enabled ?? true;
  const boxes = el("div");
  const gpuError = el("p", { class: "field-error", role: "alert" });
  const gpus = el("fieldset", { class: "ticks" }, el("legend", {}, "GPUs"), boxes, worker ? null : el("p", { class: "small muted" }, "None ticked: one with room is chosen."), gpuError);
  const chosen = () => [...boxes.querySelectorAll("input:checked")].map((box) => box.value);

  function follow() {
    const one = offered.find((each) => each.agent_id === agent.select.value);
    const ids = new Set(worker?.gpu_ids ?? []);
    const rows = (one?.gpus ?? []).map((gpu) => [gpu.gpu_id, `${gpuName(gpu)}, ${memory(gpu.vram_mb)}`, gpu.used_by.filter((user) => user !== worker?.name)]);
    for (const id of ids) if (!rows.some(([known]) => known === id)) rows.push([id, `${id}, which is gone`, []]);
    boxes.replaceChildren(...rows.map(([id, words, users]) => {
      const tick = tickField(words);
      tick.input.value = id;
      tick.input.checked = ids.has(id);
      if (users.length) tick.root.lastChild.append(el("span", { class: "muted small" }, ` used by ${users.join(", ")}`));
      return tick.root;
    }));
    port.input.value = worker?.listen_port ?? freePort(workers.filter((each) => each.agent_id === one?.agent_id));
  }
  agent.select.addEventListener("change", follow);
  follow();

  function check() {
    const words = name.value.trim();
    name.fail(words ? "" : "Enter a name.");
    const [portRight, listen] = wholeNumber(port, "Enter a port from 1024 to 65535.");
    const [vramRight, mebibytes] = wholeNumber(vram, "Enter a whole number from 1, or nothing.");
    const [computeRight, percent] = wholeNumber(compute, "Enter a whole number from 1 to 100, or nothing.");
    const ids = chosen();
    const gpusRight = !worker || ids.length > 0;
    text(gpuError, gpusRight ? "" : "Tick at least one GPU.");
    if (!gpusRight) boxes.querySelector("input")?.focus();
    if (!(words && portRight && vramRight && computeRight && gpusRight)) return null;
    const body = { name: words, listen_port: listen, vram_mb: mebibytes, compute_percent: percent, isolation_mode: isolation.select.value || null, enabled: enabled.input.checked };
    if (ids.length) body.gpu_ids = ids;
    return worker ? differences(body, worker) : { agent_id: agent.select.value, ...body };
  }

  formDialog(worker ? `Edit worker ${worker.name}` : "Add a worker", worker ? "Save" : "Add worker", [agent.root, name.root, gpus, port.root, el("div", { class: "pair" }, vram.root, compute.root), isolation.root, enabled.root,
    el("p", { class: "small muted" }, "Whether its limits are enforced, or are advice that it may break, is said in its row.")], {
    check,
    byName: { name, listen_port: port, vram_mb: vram, compute_percent: compute },
    async send(body, dialog) {
      const path = worker ? sharingPath(`workers/${encodeURIComponent(worker.worker_id)}`) : sharingPath("workers");
      const made = await ask(path, { method: worker ? "PATCH" : "POST", body });
      dialog.close();
      if (!worker) said.say(notice("ok", `Worker ${made.name} is added to ${made.hostname}.`));
      await changed();
    },
  });
}

/** What of `body` is another than it was. */
export function differences(body, before) {
  return Object.fromEntries(Object.entries(body).filter(([key, value]) => JSON.stringify(value) !== JSON.stringify(before[key])));
}
