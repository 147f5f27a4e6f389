// The frame that every page but login and setup stands in: navigation, connection state, account menu.

import { ask, rememberSignedIn } from "./api.js";
import { attribute, el, notice, text } from "./dom.js";
import { field } from "./forms.js";

// The last word is the plugin without which a page has nothing to show, and no link.
const PAGES = [
  ["overview", "/", "Overview", "viewer"],
  ["servers", "/ui/servers", "Servers", "viewer"],
  ["machines", "/ui/machines", "Machines", "viewer", "machine_registry"],
  ["sharing", "/ui/sharing", "Sharing", "viewer", "gpu_sharing"],
  ["tasks", "/ui/tasks", "Tasks", "viewer", "task_scheduler"],
  ["swarm", "/ui/swarm", "Swarm", "viewer", "build_swarm"],
  ["events", "/ui/events", "Events", "viewer"],
  ["plugins", "/ui/plugins", "Plugins", "viewer"],
  ["people", "/ui/people", "People", "viewer"],
];
const PLUGINS = "appliance.plugins";
const ABSENT = new Set(["disabled", "off"]);

/** What a thrown error says, as a notice. */
export function failure(error) {
  return notice("critical", el("strong", {}, error.message), error.hint ? ` ${error.hint}` : "");
}

/** Build the frame around `<main id="main">`; resolves to {person, main, live, brand} once it is known who is here. */
export async function frame(page) {
  const main = document.getElementById("main");
  const me = await whoAmI(main);
  const person = me.user ?? me;
  rememberSignedIn(true);
  const brand = el("span", { class: "clip" }, "appliance");
  const dot = el("span", { class: "dot", "aria-hidden": "true" });
  const state = el("span", {}, "");
  const live = el("span", { class: "live", role: "status" }, dot, state);
  live.hidden = true;
  const links = PAGES.map(([name, href, label]) => el("li", {}, el("a", { href, "aria-current": name === page ? "page" : null }, label)));
  showPluginLinks(links, page);
  const out = el("button", { type: "button", on: { click: () => logOut(out) } }, "Log out");
  const name = person.name || person.username || "account";
  const menu = el("details", { class: "menu" },
    el("summary", { class: "clip", "aria-label": `Account: ${name}` }, name),
    el("div", { class: "sheet" },
      el("div", {}, el("strong", {}, name), el("div", { class: "muted small" }, person.role ? `role: ${person.role}` : "")),
      el("a", { href: "/ui/people" }, "My tokens"), out));
  document.addEventListener("click", (event) => menu.contains(event.target) || menu.removeAttribute("open"));
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    menu.removeAttribute("open");
    menu.firstChild.focus();
  });
  const header = el("header", { class: "top" }, el("div", { class: "top-inner" },
    el("a", { class: "brand", href: "/" }, el("img", { src: new URL("./favicon.svg", import.meta.url).pathname, alt: "" }), brand),
    el("nav", { "aria-label": "Main" }, el("ul", {}, links)),
    el("div", { class: "end" }, live, menu)));
  document.body.prepend(el("a", { class: "skip", href: "#main" }, "Skip to content"), header);
  main.replaceChildren();
  return {
    person, main,
    setBrand: (hostname) => text(brand, hostname),
    setLive(level, words) {
      live.hidden = false;
      attribute(dot, "class", `dot ${level}`);
      text(state, words);
    },
  };
}

/** Hide the links to pages whose plugin is switched off. What was known last stands until it is known now: no jumps. */
async function showPluginLinks(links, page) {
  const wanted = PAGES.flatMap(([name, , , , plugin], i) => (plugin && name !== page ? [[links[i], plugin]] : []));
  const show = (names) => wanted.forEach(([link, plugin]) => (link.hidden = !names.includes(plugin)));
  show(remembered());
  try {
    const names = await pluginNames();
    show(names);
    sessionStorage.setItem(PLUGINS, JSON.stringify(names));
  } catch { /* not reached now, or storage is forbidden: the links stay as they are */ }
}

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(PLUGINS)) ?? [];
  } catch {
    return [];
  }
}

/** The names of the plugins that are there; one that has failed is, and its page says what it says. */
export async function pluginNames() {
  const { items } = await ask("/api/appliance/plugins");
  return items.filter((plugin) => !ABSENT.has(plugin.state)).map((plugin) => plugin.name);
}

/** Ask who is logged in, for as long as it takes the appliance to answer. */
async function whoAmI(main) {
  for (let wait = 1000; ; wait = Math.min(15000, wait * 1.7)) {
    try {
      return await ask("/api/auth/me");
    } catch (error) {
      main.replaceChildren(failure(error), el("p", { class: "muted" }, "Trying again by itself."));
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

async function logOut(button) {
  button.disabled = true;
  try {
    await ask("/api/auth/logout", { method: "POST", body: {}, stay: true });
  } catch (error) {
    if (error.status !== 401) {
      button.disabled = false;
      button.after(failure(error));
      return;
    }
  }
  rememberSignedIn(false);
  location.assign("/login?left=1");
}

/** Show a dialog that goes away once it is closed, however that happens; the focus goes back to where it was. */
export function openDialog(title, ...children) {
  const dialog = el("dialog", { "aria-label": title }, el("h2", {}, title), ...children);
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * Ask in a dialog before something that cannot be undone; resolves to true or false.
 * With `typed`, that word has to be typed first.
 */
export function confirmed(title, explanation, action, typed = "") {
  return new Promise((resolve) => {
    const cancel = el("button", { type: "button" }, "Cancel");
    const go = el("button", { type: "submit", class: "danger", set: { disabled: Boolean(typed) } }, action);
    const word = typed ? field(`Type ${typed} to go on`, { autocomplete: "off", autocapitalize: "none", spellcheck: "false" }) : null;
    word?.input.addEventListener("input", () => {
      go.disabled = word.value.trim() !== typed;
    });
    const form = el("form", { novalidate: true, method: "dialog" }, el("p", {}, explanation), word?.root, el("div", { class: "buttons" }, cancel, go));
    const dialog = openDialog(title, form);
    let answer = false;
    form.addEventListener("submit", () => {
      answer = !go.disabled;
    });
    cancel.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => resolve(answer));
  });
}
