// A table of rows that come and go; on a narrow screen each row becomes a block with the heads beside its values.

import { el, keyed, text } from "./dom.js";

/**
 * `columns`: [[head, cell], ...]; `cell(item)` gives text, `{part}` a maker of {root, update(item)} for what is more than
 * text. `actions(item)` gives the nodes of the last column, or {nodes, update(item)} for ones that change.
 */
export function table(label, columns, key, actions = null) {
  const heads = columns.map(([head]) => el("th", { scope: "col" }, head));
  if (actions) heads.push(el("th", {}, el("span", { class: "visually-hidden" }, "Actions")));
  const body = el("tbody");
  const empty = el("p", { class: "empty" });
  const root = el("div", {}, el("div", { class: "scroll" }, el("table", { class: "stack" }, el("caption", { class: "visually-hidden" }, label), el("thead", {}, el("tr", {}, heads)), body)), empty);
  function row(item) {
    const parts = columns.map(([, cell]) => cell.part?.());
    const cells = columns.map(([head], i) => el("td", { "data-head": head }, parts[i]?.root));
    const offered = actions?.(item) ?? [];
    const last = actions ? el("td", { class: "actions" }, offered.nodes ?? offered) : null;
    return {
      root: el("tr", {}, cells, last),
      update(one) {
        columns.forEach(([, cell], i) => (parts[i] ? parts[i].update(one) : text(cells[i], cell(one))));
        offered.update?.(one);
      },
    };
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
