// What the pages of the build swarm have in common: their frame with links to one another, filters, parts of tables.

import { answers } from "./answers.js";
import { ask } from "./api.js";
import { attribute, bar, el, notice, text } from "./dom.js";
import { known } from "./format.js";
import { selectField } from "./forms.js";
import { failure, frame, pluginNames } from "./shell.js";
import { dronePage, mayOperate, progressWords, swarmPage } from "./swarm_words.js";

const TABS = [["queue", "", "Queue"], ["drones", "/drones", "Drones"], ["history", "/history", "History"], ["payloads", "/payloads", "Payloads"], ["releases", "/releases", "Releases"], ["events", "/events", "Events"]];

/**
 * Make the frame of a page. Resolves to what the page needs: {main, person, mayAct, said, heading, facts, actions,
 * content, live(), failed(error), act(send, done)}; `content` is hidden until `live()` is called for the first time.
 */
export async function swarmFrame(tab, title) {
  const { main, person, setLive } = await frame("swarm");
  const said = answers();
  const trouble = el("div");
  const heading = el("h1", {}, title);
  const beside = el("div", { class: "hostline" }, heading);
  const facts = el("p", { class: "facts" });
  const actions = el("div", { class: "end buttons" });
  const content = el("div", { class: "swarm" });
  content.hidden = actions.hidden = true;
  const links = TABS.map(([name, rest, label]) => el("li", {}, el("a", { href: swarmPage(rest), "aria-current": name === tab ? "page" : null }, label)));
  main.append(el("nav", { class: "tabs", "aria-label": "Build swarm" }, el("ul", {}, links)),
    el("div", { class: "page-head" }, el("div", {}, beside, facts), actions), said.root, trouble, content);
  setLive("", "connecting");
  let isGone = false;
  return {
    main, person, said, heading, beside, facts, actions, content,
    mayAct: mayOperate(person),
    live() {
      isGone = false;
      content.hidden = actions.hidden = false;
      trouble.replaceChildren();
      setLive("ok", "live");
    },
    async failed(error) {
      setLive("critical", "not connected");
      if (error.status !== 404) return void trouble.replaceChildren(failure(error));
      if (isGone) return;
      isGone = true;
      const isOff = !(await pluginNames().catch(() => ["build_swarm"])).includes("build_swarm");
      if (isGone) trouble.replaceChildren(isOff ? notice("warning", "The plugin build_swarm, which gives packages to drones, is not running: see the ", el("a", { href: "/ui/plugins" }, "plugins page"), ".") : failure(error));
    },
    /** Ask the appliance for something and say what has come of it; resolves to the answer, or to null. */
    async act(send, done) {
      try {
        const answer = await send();
        const words = done(answer);
        if (words) said.say(words instanceof Node ? words : notice("ok", words));
        return answer ?? {};
      } catch (error) {
        said.say(failure(error));
        return null;
      }
    },
  };
}

/** Send JSON to one of our own endpoints. */
export function send(path, body = {}) {
  return ask(path, { method: "POST", body });
}

/** A card with a heading; what stands beside the heading may be given as `sub` and `end`. */
export function card(title, { sub = null, end = null } = {}, ...children) {
  return el("section", { class: "card wide", "aria-label": title }, el("header", {}, el("h2", {}, title), sub, end && el("div", { class: "end buttons" }, end)), ...children);
}

/**
 * Filters that the page's address keeps. `fields` maps names to {label, choices} or {label, search: true, hint};
 * `changed()` is told when one is another.
 */
export function filters(fields, changed) {
  const asked = new URLSearchParams(location.search);
  const chosen = Object.fromEntries(Object.keys(fields).map((name) => [name, asked.get(name) ?? ""]));
  const parts = {};
  let later = 0;

  function choose(name, value) {
    if (chosen[name] === value) return;
    chosen[name] = value;
    const query = new URLSearchParams(Object.entries(chosen).filter(([, one]) => one)).toString();
    history.replaceState(null, "", query ? `?${query}` : location.pathname);
    changed(name);
  }

  for (const [name, { label, search, hint = "" }] of Object.entries(fields)) {
    if (search) {
      const input = el("input", { type: "search", autocomplete: "off", spellcheck: "false", autocapitalize: "none", maxlength: 200, placeholder: hint, "aria-label": label, set: { value: chosen[name] } });
      const go = () => choose(name, input.value.trim());
      input.addEventListener("input", () => {
        clearTimeout(later);
        later = setTimeout(go, 300); // not with every letter
      });
      input.addEventListener("change", go);
      parts[name] = { root: el("div", { class: "field" }, input), set: (value) => { input.value = value; choose(name, value); } };
    } else {
      const { root, select } = selectField(label, []);
      select.addEventListener("change", () => choose(name, select.value));
      parts[name] = { root, select, set: (value) => { offer(name, [...select.options].map((one) => [one.value, one.textContent])); choose(name, value); select.value = value; } };
      offer(name, fields[name].choices ?? [["", "all"]]);
    }
  }

  /** Offer these [[value, words], ...], with what is chosen among them. */
  function offer(name, pairs) {
    const { select } = parts[name];
    const value = chosen[name];
    const offered = value && !pairs.some(([one]) => one === value) ? [...pairs, [value, value]] : pairs;
    const wanted = JSON.stringify(offered);
    if (select.dataset.offered !== wanted) {
      select.dataset.offered = wanted;
      select.replaceChildren(...offered.map(([one, words]) => el("option", { value: one }, words)));
    }
    select.value = value;
  }

  return {
    chosen, offer,
    root: el("div", { class: "filters" }, Object.values(parts).map((one) => one.root)),
    set: (name, value) => parts[name].set(value),
    hide: (name, isHidden) => (parts[name].root.hidden = isHidden),
    get isSet() {
      return Object.values(chosen).some(Boolean);
    },
  };
}

/** A cell with a link to a drone's page, or nothing where there is none. */
export function droneCell(nameOf) {
  return {
    part: () => {
      const root = el("a");
      return {
        root,
        update(item) {
          const name = nameOf(item);
          root.hidden = !name;
          text(root, name ?? "");
          attribute(root, "href", name ? dronePage(name) : null);
        },
      };
    },
  };
}

/** A package that is being built, with how far it is, as {root, update(progress)}. */
export function progressRow() {
  const name = el("span", { class: "clip strong" });
  const share = el("span", { class: "num" });
  const meter = bar("", "c1");
  const words = el("div", { class: "muted small" });
  return {
    root: el("li", {}, el("div", { class: "row" }, name, share), meter.root, words),
    update(one) {
      text(name, one.package);
      attribute(name, "title", one.package);
      text(share, known(one.progress_percent) ? `${one.progress_percent} %` : "");
      attribute(meter.root, "aria-label", `Progress of ${one.package}`);
      meter.update(one.progress_percent, progressWords(one));
      meter.root.hidden = !known(one.progress_percent);
      text(words, known(one.elapsed_seconds) ? progressWords(one) : "given out, not begun");
    },
  };
}

/** Buttons that lead through pages of a long list; `turned(offset)` is told where to go on. */
export function pager(rows, turned) {
  let offset = 0;
  let total = 0;
  const words = el("span", { class: "muted small", role: "status" });
  const back = el("button", { type: "button", on: { click: () => turn(offset - rows) } }, "Previous");
  const on = el("button", { type: "button", on: { click: () => turn(offset + rows) } }, "Next");
  const root = el("div", { class: "more-rows" }, back, on, words);
  function turn(to) {
    if (to < 0 || to >= total) return;
    offset = to;
    turned(offset);
  }
  return {
    root,
    get offset() {
      return offset;
    },
    reset: () => (offset = 0),
    show(count, all) {
      total = all;
      root.hidden = total <= rows && offset === 0;
      // Not disabled: they would lose the focus of whoever has come to the end with them.
      attribute(back, "aria-disabled", offset === 0 ? "true" : null);
      attribute(on, "aria-disabled", offset + count >= total ? "true" : null);
      text(words, count ? `${offset + 1} to ${offset + count} of ${total}` : `none from ${offset + 1} on, of ${total}`);
    },
  };
}
