// Which plugins there are, and why one does not run.

import { ask } from "./api.js";
import { attribute, el, keyed, text } from "./dom.js";
import { failure, frame } from "./shell.js";

const EVERY_MS = 10_000;
const LEVELS = { running: "ok", ok: "ok", loaded: "ok", failed: "critical", restarting: "warning", off: "", disabled: "" };

const { main, person } = await frame("plugins");
const list = el("div", { class: "grid" });
const problem = el("div");
main.append(
  el("div", { class: "page-head" }, el("div", {}, el("h1", {}, "Plugins"), el("p", { class: "muted" }, "Shipped, dropped into the plugins folder or installed with pip. One that fails stops nothing else."))),
  problem, list);

function card(plugin) {
  const title = el("h2", { class: "clip" });
  const version = el("span", { class: "sub clip" });
  const dot = el("span", { class: "dot", "aria-hidden": "true" });
  const state = el("span");
  const badge = el("span", { class: "badge end" }, dot, state);
  const origin = el("dd", { class: "mono" });
  const reason = el("div", { class: "notice critical" });
  const services = el("dd");
  const serviceLine = el("div", {}, el("dt", {}, "Services"), services);
  const restart = el("button", { type: "button" }, "Restart");
  const said = el("p", { class: "small", role: "status" });
  restart.addEventListener("click", async () => {
    restart.disabled = true;
    try {
      await ask(`/api/appliance/plugins/${encodeURIComponent(plugin.name)}/restart`, { method: "POST", body: {} });
      text(said, "restarted");
      await read();
    } catch (error) {
      text(said, [error.message, error.hint].filter(Boolean).join(" "));
    } finally {
      restart.disabled = false;
    }
  });
  const root = el("article", { class: "card" }, el("header", {}, title, version, badge), reason,
    el("dl", { class: "lines" }, el("div", {}, el("dt", {}, "From"), origin), serviceLine), el("div", {}, restart, said));
  return {
    root,
    update(one) {
      const why = one.error || one.reason || "";
      const level = LEVELS[one.state] ?? "";
      text(title, one.name);
      attribute(root, "aria-label", one.name);
      text(version, one.version ?? "");
      text(state, one.state);
      attribute(badge, "class", `badge end ${level}`);
      attribute(dot, "class", `dot ${level}`);
      text(origin, one.origin ?? "unknown");
      const running = (one.services ?? []).map((service) => `${service.name}: ${service.state}${service.reason || service.error ? ` (${service.reason || service.error})` : ""}`);
      serviceLine.hidden = running.length === 0;
      text(services, running.join("; "));
      reason.hidden = !why;
      attribute(reason, "class", level === "critical" ? "notice critical" : "notice");
      text(reason, why);
      restart.hidden = one.state !== "failed" || running.length === 0 || !["operator", "admin"].includes(person.role);
    },
  };
}

async function read() {
  try {
    const { items } = await ask("/api/appliance/plugins");
    keyed(list, items, (plugin) => `${plugin.name} ${plugin.origin}`, card);
    problem.replaceChildren();
  } catch (error) {
    problem.replaceChildren(failure(error));
  }
}

await read();
setInterval(() => document.hidden || read(), EVERY_MS);
