// Secrets that are shown this once, with buttons that copy them.

import { el, notice } from "./dom.js";

/** A notice with one block per [label, secret]; `done`, if given, is told when it is put away. */
export function shownOnce(title, explanation, secrets, done = null) {
  const root = notice("ok", el("strong", {}, title), el("p", {}, explanation), secrets.map(([label, secret]) => copyable(label, secret)));
  root.setAttribute("tabindex", "-1");
  if (done) root.append(el("div", { class: "buttons" }, el("button", { type: "button", on: { click: done } }, "I have kept it")));
  return root;
}

/** A text with a button that copies it, and what it is. */
export function copyable(label, secret) {
  const code = el("code", { class: "secret", tabindex: "0", "aria-label": label || null, role: label ? "group" : null }, secret);
  const copy = el("button", { type: "button", "aria-label": label ? `Copy: ${label}` : null }, "Copy");
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(secret);
      copy.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code); // no clipboard over plain HTTP from afar: select, so that Ctrl-C does it
      copy.textContent = "Selected: press Ctrl-C";
    }
  });
  return el("div", { class: "copyable" }, label ? el("p", { class: "small muted secret-label" }, label) : null, code, copy);
}
