// Building and changing the page. Text from outside only ever becomes a text node: nothing here parses markup.

/** Make an element. `attributes`: `class`, `on` ({event: listener}), properties of the DOM by name in `set`, else attributes. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else if (name === "set") Object.assign(node, value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** Set text only when it changes, so that an idle page neither repaints nor speaks. */
export function text(node, value) {
  const wanted = String(value);
  if (node.textContent !== wanted) node.textContent = wanted;
}

/** Set or remove an attribute, only when it changes. */
export function attribute(node, name, value) {
  if (value === null || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
}

/** Keep one child per item, by key: made once, updated each time, removed with its item, in the items' order. */
export function keyed(parent, items, key, make) {
  const parts = (parent.keyedParts ??= new Map());
  const seen = new Set();
  let place = parent.firstChild;
  for (const item of items) {
    const id = key(item);
    if (seen.has(id)) continue;
    seen.add(id);
    let part = parts.get(id);
    if (!part) parts.set(id, (part = make(item)));
    if (part.root === place) place = place.nextSibling;
    else parent.insertBefore(part.root, place);
    part.update?.(item);
  }
  for (const [id, part] of parts) {
    if (seen.has(id)) continue;
    part.root.remove();
    part.close?.();
    parts.delete(id);
  }
}

/** A thin bar of 0 to 100 percent that is announced as a meter; hidden while nothing is reported. */
export function bar(label, colour = "c1") {
  const fill = el("i");
  const root = el("div", { class: `bar ${colour}`, role: "meter", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100 }, fill);
  return {
    root,
    update(percent, valueText, level = "") {
      const known = percent !== null && percent !== undefined && Number.isFinite(percent);
      root.style.visibility = known ? "" : "hidden";
      const shown = known ? Math.min(100, Math.max(0, percent)) : 0;
      fill.style.width = `${shown}%`;
      attribute(root, "aria-valuenow", Math.round(shown));
      if (valueText) attribute(root, "aria-valuetext", valueText);
      attribute(root, "class", `bar ${colour} ${level}`.trim());
    },
  };
}

/** A group of radio buttons that looks like one control; `choices` is [[value, label], ...]. */
export function choice(legend, name, choices, chosen, changed) {
  const inputs = choices.map(([value, label]) =>
    el("label", {},
      el("input", { type: "radio", name, value, checked: value === chosen, on: { change: () => changed(value) } }),
      el("span", {}, label)));
  return el("fieldset", { class: "choice" }, el("legend", { class: "visually-hidden" }, legend), inputs);
}

/** A notice in words; `level` is info, ok, warning or critical. */
export function notice(level, ...children) {
  return el("div", { class: `notice ${level}`, role: level === "critical" ? "alert" : "status" }, ...children);
}

/** Short facts in a row; each stays in one piece when the row breaks. Empty ones are left out. */
export function facts(place, words) {
  keyed(place, words.filter(Boolean).map((fact, i) => [i, fact]), ([i]) => i, () => {
    const root = el("span");
    return { root, update: ([, fact]) => text(root, fact) };
  });
}
