// A state in a word, with a dot of its colour.

import { attribute, el, text } from "./dom.js";

/** A badge kept by `update(item)`; `of(item)` gives its [level, words]. */
export function badge(of) {
  const dot = el("span", { class: "dot", "aria-hidden": "true" });
  const label = el("span");
  const root = el("span", { class: "badge" }, dot, label);
  return {
    root,
    update(item) {
      const [level, words] = of(item);
      attribute(root, "class", `badge ${level}`);
      attribute(dot, "class", `dot ${level}`);
      text(label, words);
    },
  };
}
