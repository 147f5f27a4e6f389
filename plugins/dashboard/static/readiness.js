// What is not as it should be: backends that see no GPU, plugins that failed.

import { attribute, el, keyed, text } from "./dom.js";

const STATES = { ok: "ok", absent: "", unavailable: "critical", hung: "critical" };

function step() {
  const dot = el("span", { class: "dot", "aria-hidden": "true" });
  const found = el("div");
  const todo = el("div", { class: "muted" });
  return {
    root: el("li", {}, dot, el("div", {}, found, todo)),
    update(backend) {
      attribute(dot, "class", `dot ${STATES[backend.state] ?? ""}`);
      text(found, `${backend.name}: ${backend.message || backend.state}`);
      text(todo, backend.hint ? `To do: ${backend.hint}` : "");
    },
  };
}

/** Fill a card that says what was looked for, what was found and what to do. */
export function backendSteps(card, backends) {
  if (!card.firstChild) {
    card.append(
      el("header", {}, el("h3", {}, "No GPU found on this host")),
      el("p", { class: "lead" }, ""), el("ul", { class: "steps" }),
      el("p", { class: "small muted section" }, "CPU, memory, disks and network are shown all the same. A GPU that appears later, or a driver that is installed or reloaded, is picked up without a restart; appliance doctor looks closer."));
  }
  text(card.querySelector(".lead"), backends.length ? "This is what was looked for:" : "No plugin that reads GPUs is running: see the plugins page for gpu_nvidia and gpu_amd.");
  keyed(card.querySelector(".steps"), backends, (backend) => backend.name, step);
}

/** What deserves a notice on top of the page, as {key, words}. */
export function troubles(plugins, backends) {
  const failed = plugins.filter((plugin) => plugin.state === "failed").map((plugin) => ({ key: `plugin ${plugin.name}`, words: `Plugin ${plugin.name} has failed: ${plugin.error || plugin.reason || "see the log"}. Everything else goes on.` }));
  const blind = backends.filter((backend) => backend.state === "unavailable" || backend.state === "hung").map((backend) => ({ key: `backend ${backend.name}`, words: `${backend.name}: ${backend.message}.${backend.hint ? ` ${backend.hint}` : ""}` }));
  return [...failed, ...blind];
}
