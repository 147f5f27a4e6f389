// A table of rows that come and go; on a narrow screen each row becomes a block with the heads beside its values.

import { el, keyed, text } from "./dom.js";

/** `columns`: [[head, cell], ...] where cell(item) gives text or, for the last column, nodes; see `actions`. */
export function table(label, columns, key, actions = null) {
  const heads = columns.map(([head]) => el("th", { scope: "col" }, head));
  if (actions) heads.push(el("th", {}, el("span", { class: "visually-hidden" }, "Actions")));
  const body = el("tbody");
  const empty = el("p", { class: "empty" });
  const root = el("div", {}, el("div", { class: "scroll" }, el("table", { class: "stack" }, el("caption", { class: "visually-hidden" }, label), el("thead", {}, el("tr", {}, heads)), body)), empty);
  function row(item) {
    const cells = columns.map(([head]) => el("td", { "data-head": head }));
    const last = actions ? el("td", { class: "actions" }, actions(item)) : null;
    return { root: el("tr", {}, cells, last), update: (one) => columns.forEach(([, cell], i) => text(cells[i], cell(one))) };
  }
  return {
    root,
    show(items, whenEmpty) {
      keyed(body, items, key, row);
      root.firstChild.hidden = items.length === 0;
      empty.hidden = items.length > 0;
      text(empty, whenEmpty);
    },
  };
}
