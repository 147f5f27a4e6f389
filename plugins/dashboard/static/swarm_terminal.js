// A shell on a drone: xterm.js in front of a WebSocket that the appliance leads on over ssh.

import { ask } from "./api.js";
import { badge } from "./badge.js";
import { el, facts, notice, text } from "./dom.js";
import { plural } from "./format.js";
import { tickField } from "./forms.js";
import { copyable } from "./secret.js";
import { swarmFrame, send } from "./swarm_parts.js";
import { dronePage, dronePath } from "./swarm_words.js";
import { allowStyles } from "./terminal_styles.js";

const { Terminal, FitAddon } = globalThis; // xterm.js, which the page loads before its script
const SCROLLBACK = 5000;
const MESSAGE_CHARACTERS = 16384; // of what is pasted, sent at once
const LEAVE = "."; // with Ctrl: Tab belongs to the shell, and whoever has no mouse has to get out again
const CLOSED = { 1000: "the shell has ended", 1001: "the appliance is being stopped", 1006: "the connection was lost, or refused", 1008: "refused", 1009: "too much at once", 1011: "ssh has failed" };
// ANSI colours on a light and on a dark card; xterm.js sees to their contrast.
const PALETTES = {
  light: { black: "#1d2329", red: "#b3261e", green: "#1a6e43", yellow: "#865300", blue: "#1b4f9c", magenta: "#8a2f86", cyan: "#0b6b75", white: "#5d6873" },
  dark: { black: "#5d6873", red: "#ff8b80", green: "#5cc98f", yellow: "#e5b454", blue: "#7fb0f5", magenta: "#d79be0", cyan: "#5fc7d4", white: "#e3e8ed" },
};

const name = decodeURIComponent(location.pathname.split("/")[4] ?? "");
const page = await swarmFrame("drones", name);
document.title = `${name}: terminal`;
let socket = null;
let isOpen = false;
let said = ""; // why it ends, as the appliance says before it closes

const scheme = matchMedia("(prefers-color-scheme: dark)");
const state = badge(([level, words]) => [level, words]);
const reconnect = el("button", { type: "button", class: "primary", on: { click: connect } }, "Reconnect");
const paste = el("button", { type: "button", on: { click: pasteClipboard } }, "Paste");
const aloud = tickField("Read aloud to screen readers");
const refused = el("div");
const place = el("div", { class: "shell", role: "group", "aria-label": `Terminal of ${name}` });
const help = el("p", { class: "small muted" }, "Ctrl-Shift-C copies what is marked, Ctrl-Shift-V pastes, Ctrl-. leaves the terminal for the buttons above it. What is done here is in the audit log.");
allowStyles();
const terminal = new Terminal({
  scrollback: SCROLLBACK, cursorBlink: false, minimumContrastRatio: 4.5, fontSize: 13, fontFamily: style("--mono"), theme: theme(), convertEol: false,
  allowProposedApi: false, linkHandler: { activate() {} }, // an address that a drone writes is text like any other
});
const fit = new FitAddon.FitAddon();
terminal.loadAddon(fit);
page.beside.append(state.root);
page.actions.append(el("a", { class: "button", href: dronePage(name) }, "Drone"), paste, reconnect);
page.content.append(refused, place, help, aloud.root);
reconnect.hidden = true;
paste.hidden = !navigator.clipboard?.readText;
page.content.hidden = page.actions.hidden = false;

function style(property) {
  return getComputedStyle(document.documentElement).getPropertyValue(property).trim();
}

function theme() {
  const colours = PALETTES[scheme.matches ? "dark" : "light"];
  const bright = Object.fromEntries(Object.entries(colours).map(([colour, value]) => [`bright${colour[0].toUpperCase()}${colour.slice(1)}`, value]));
  return { ...colours, ...bright, background: style("--card"), foreground: style("--text"), cursor: style("--accent"), cursorAccent: style("--card"), selectionBackground: style("--accent-soft"), selectionForeground: style("--text") };
}

function tell(message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function input(data) {
  for (let at = 0; at < data.length; at += MESSAGE_CHARACTERS) tell({ type: "input", data: data.slice(at, at + MESSAGE_CHARACTERS) });
}

async function pasteClipboard() {
  try {
    terminal.paste(await navigator.clipboard.readText());
  } catch {
    page.said.say(notice("warning", "The browser does not give away what is on the clipboard; Ctrl-Shift-V in the terminal does it."));
  }
  terminal.focus();
}

function keys(event) {
  if (event.type !== "keydown" || !event.ctrlKey || event.altKey || event.metaKey) return true;
  if (event.key === LEAVE) {
    event.preventDefault();
    (reconnect.hidden ? page.actions.querySelector("a") : reconnect).focus();
    return false;
  }
  if (!event.shiftKey) return true;
  if (event.code === "KeyC" && terminal.hasSelection()) {
    event.preventDefault();
    navigator.clipboard?.writeText(terminal.getSelection()).catch(() => {});
    return false;
  }
  return event.code !== "KeyV"; // which the browser then makes a paste
}

/** Show that nothing goes through any more, and why. */
function ended(words) {
  isOpen = false;
  socket = null;
  state.update(["critical", "closed"]);
  terminal.write(`\r\n\x1b[0m[${words}]\r\n`);
  text(reconnect, "Reconnect");
  reconnect.hidden = false;
  reconnect.focus();
}

function received({ data }) {
  let message;
  try {
    message = JSON.parse(data);
  } catch {
    return;
  }
  if (message.error) said = [message.error, message.hint].filter(Boolean).join(": ");
  else if (message.type === "connected") {
    isOpen = true;
    state.update(["ok", "connected"]);
    facts(page.facts, [`${message.user}@${message.ip}`, `${plural(terminal.cols, "column")}, ${plural(terminal.rows, "line")}`]);
    tell({ type: "resize", cols: terminal.cols, rows: terminal.rows });
    terminal.focus();
  } else if (message.type === "output") terminal.write(message.data);
}

/** Tell by which command a drone is approved, without which nothing can be opened. */
function notApproved(drone) {
  refused.replaceChildren(notice("warning", el("strong", {}, `${name} is not approved for ssh.`), el("p", {}, "Approve it on its page, or by this command where the appliance runs; then reconnect."), copyable("Command", drone.approve_command)));
  state.update(["warning", "not approved"]);
  reconnect.hidden = false;
}

async function connect() {
  if (socket) return;
  refused.replaceChildren();
  reconnect.hidden = true;
  state.update(["", "connecting"]);
  said = "";
  try {
    const drone = await ask(dronePath(name));
    page.live();
    if (!drone.approval) return void notApproved(drone);
    const { ticket } = await send("/api/appliance/tickets");
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    fit.fit();
    const query = new URLSearchParams({ ticket, cols: String(terminal.cols), rows: String(terminal.rows) });
    const mine = (socket = new WebSocket(`${scheme}//${location.host}${dronePath(name, "/terminal")}?${query}`));
    mine.onmessage = received;
    mine.onclose = ({ code, reason }) => mine === socket && ended(said || reason || CLOSED[code] || `closed with ${code}`);
  } catch (error) {
    await page.failed(error);
    page.content.hidden = error.status === 404;
    state.update(["critical", "closed"]);
    reconnect.hidden = false;
  }
}

function open() {
  terminal.open(place);
  fit.fit();
  terminal.attachCustomKeyEventHandler(keys);
  terminal.onData(input);
  terminal.onBinary(input);
  terminal.onResize(({ cols, rows }) => {
    if (isOpen) facts(page.facts, [page.facts.firstChild?.textContent, `${plural(cols, "column")}, ${plural(rows, "line")}`]);
    tell({ type: "resize", cols, rows });
  });
  new ResizeObserver(() => fit.fit()).observe(place);
  scheme.addEventListener("change", () => (terminal.options.theme = theme()));
  aloud.input.addEventListener("change", () => (terminal.options.screenReaderMode = aloud.input.checked));
  window.addEventListener("pagehide", () => socket?.close(1000));
  connect();
}

if (page.mayAct) {
  open();
} else {
  page.actions.replaceChildren(el("a", { class: "button", href: dronePage(name) }, "Drone"));
  page.live();
  state.update(["", "not opened"]);
  page.content.replaceChildren(notice("warning", "A terminal takes an operator; your role only reads."));
}
