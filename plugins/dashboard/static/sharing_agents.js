// Agents: the hosts whose GPUs can be shared, and how another one joins.

import { ask } from "./api.js";
import { el, keyed, text } from "./dom.js";
import { clock, plural } from "./format.js";
import { shownOnce } from "./secret.js";
import { failure } from "./shell.js";
import { longTable, remove, rowButton, stateCell, twoLines } from "./sharing_parts.js";
import { agentState, ago, gpuName, memory, sharingPath } from "./sharing_words.js";

const CLI = "cli"; // the kind of release that an agent's command line fetches

function gpusCell() {
  const none = el("span", { class: "muted" }, "none");
  const list = el("ul");
  return {
    root: el("div", {}, none, list),
    update({ gpus }) {
      none.hidden = gpus.length > 0;
      keyed(list, gpus, (gpu) => gpu.gpu_id, () => {
        const name = el("span");
        const users = el("span", { class: "muted small" });
        return {
          root: el("li", {}, name, " ", users),
          update(gpu) {
            text(name, `${gpuName(gpu)}, ${memory(gpu.vram_mb)}`);
            text(users, gpu.used_by.length ? `used by ${gpu.used_by.join(", ")}` : "free");
          },
        };
      });
    },
  };
}

/** The card with all agents, kept by `show(agents)`; who may, deletes them. */
export function agentsCard(mayWrite, shared) {
  function actions(agent) {
    if (agent.is_local) return []; // the host that the appliance runs on is always there
    let newest = agent;
    const end = rowButton("Delete", `Delete agent ${agent.hostname}`, () => {
      const parts = [newest.worker_count && plural(newest.worker_count, "worker"), newest.share_count && plural(newest.share_count, "share")].filter(Boolean);
      return remove(sharingPath(`agents/${encodeURIComponent(agent.agent_id)}`), [`Delete agent ${agent.hostname}?`, `It is refused from then on${parts.length ? `, and its ${parts.join(" and ")} go with it` : ""}. To come back it has to be installed anew.`, "Delete"], `Agent ${agent.hostname} is deleted.`, shared);
    }, true);
    return {
      nodes: [end],
      update(one) {
        newest = one;
      },
    };
  }

  const list = longTable("Agents", [
    ["Agent", twoLines((agent) => [agent.hostname, [`${agent.os}/${agent.arch}`, agent.is_local && "this host", agent.owner && `of ${agent.owner}`].filter(Boolean).join(", ")], { strong: true })],
    ["State", stateCell((agent) => [...agentState(agent), agent.status === "pending" ? "has not reported yet" : ""])],
    ["Last seen", (agent) => ago(agent.last_seen_unix_s)],
    ["GPUs", { part: gpusCell }],
    ["Addresses", (agent) => agent.network_ips.join(", ") || "none told"],
    ["In use", (agent) => `${plural(agent.worker_count, "worker")}, ${plural(agent.share_count, "share")}`],
  ], (agent) => agent.agent_id, mayWrite ? actions : null);
  list.root.classList.add("sharing");
  const root = el("section", { class: "card wide", "aria-label": "Agents" }, el("header", {}, el("h2", {}, "Agents")), list.root);
  return { root, show: (agents) => list.show(agents, mayWrite ? "No agents. Press “Add an agent” for the command line that makes a host one of yours." : "No agents of yours.") };
}

/** Where there is no agent but this host: how another one comes to be here. */
export function howToJoin(mayWrite) {
  const steps = mayWrite
    ? ["Press “Add an agent”: you get a command line that is good for half an hour and one host.", "Run it on the host whose GPUs are to be shared. It fetches the agent from here, registers the host and says how to start it.", "With its first report it is online here; each of its GPUs can then be shared by a link."]
    : ["Ask somebody with the role user or more to add it: your role, viewer, only reads.", "They get the command line that installs its agent."];
  return el("section", { class: "card wide", "aria-label": "Share the GPUs of another host" },
    el("header", {}, el("h2", {}, "Share the GPUs of another host")),
    el("ol", { class: "numbered" }, steps.map((step) => el("li", {}, step))));
}

/** Make a token, and show the command line with which one host becomes an agent. */
export async function addAgent({ said }) {
  let made;
  let mirror;
  try {
    [made, mirror] = await Promise.all([ask(sharingPath("agents/install"), { method: "POST", body: {} }), ask(sharingPath("releases"))]);
  } catch (error) {
    return void said.say(failure(error));
  }
  const box = shownOnce("Run this on the host whose GPUs are to be shared",
    `It is shown this once and good for one host, until ${clock(made.expires_unix_s)}, 30 minutes from its making. The host appears below as pending, and as online with its first report.`,
    [["Command line", made.install_command]], () => said.clear());
  if (!mirror.items.some((release) => release.type === CLI)) {
    box.lastChild.before(el("p", { class: "small" }, "The release mirror of this appliance has no agent, so the line works where one is installed already; ", el("code", {}, "appliance share release add"), " puts one there."));
  }
  said.say(box);
}
