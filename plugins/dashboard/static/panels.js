// Cards that plugins contribute; one that fails shows its error in its own card only.

import { attribute, bar, el, keyed, text } from "./dom.js";

const LEVELS = new Set(["info", "warning", "critical"]);

function row() {
  const label = el("span", { class: "clip" });
  const value = el("span", { class: "num" });
  const meter = bar("", "c1");
  const root = el("li", {}, el("div", { class: "row" }, label, value), meter.root);
  return {
    root,
    update(item) {
      const level = LEVELS.has(item.level) && item.level !== "info" ? item.level : "";
      text(label, item.label);
      text(value, item.value);
      attribute(value, "class", level ? `badge ${level}` : "num");
      attribute(meter.root, "aria-label", item.label);
      meter.root.hidden = item.percent === null || item.percent === undefined;
      meter.update(item.percent, item.value, level);
    },
  };
}

export function panelCard() {
  const title = el("h3", { class: "clip" });
  const from = el("span", { class: "sub clip" });
  const rows = el("ul", { class: "fs" });
  const note = el("p", { class: "small muted" });
  const error = el("div", { class: "notice critical" });
  const root = el("article", { class: "card" }, el("header", {}, title, from), error, rows, note);
  return {
    root,
    update(panel) {
      text(title, panel.title);
      attribute(root, "aria-label", panel.title);
      text(from, panel.plugin ?? "");
      error.hidden = !panel.error;
      text(error, panel.error ? `This card could not be filled: ${panel.error}` : "");
      keyed(rows, (panel.rows ?? []).map((item, i) => ({ ...item, key: i })), (item) => item.key, row);
      text(note, panel.note ?? "");
      note.hidden = !panel.note;
    },
  };
}

export function panelKey(panel) {
  return `${panel.plugin}/${panel.name}`;
}
