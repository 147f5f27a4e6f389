// What was used: by share, worker or person, over a time.

import { applianceNow, ask } from "./api.js";
import { attribute, choice, el } from "./dom.js";
import { bytes } from "./format.js";
import { sharingPath } from "./sharing_words.js";
import { table } from "./table.js";

const DAY_SECONDS = 86400;
const HOUR_SECONDS = 3600;
const JOULES = 3.6e6; // in a kWh
const SPANS = [["1", "24 h"], ["7", "7 days"], ["30", "30 days"], ["", "all"]];
const BY = [["share", "Share"], ["worker", "Worker"], ["person", "Person"]];

/** A figure of which small ones still say something: "0.004", "1.25", "312". */
export function amount(value) {
  if (value === 0) return "0";
  if (value < 0.001) return "< 0.001";
  return value.toFixed(value < 1 ? 3 : value < 100 ? 2 : 0);
}

/** The sum of all rows, as a row. */
export function total(items) {
  const sum = (key) => items.reduce((all, item) => all + item[key], 0);
  return { name: null, gpu_seconds: sum("gpu_seconds"), vram_gib_seconds: sum("vram_gib_seconds"), energy_joules: sum("energy_joules"), bytes: sum("bytes") };
}

/** The card of usage, kept by `read()`; `names()` gives what shares and workers are called by their ids. */
export function usageCard(names, isAll, refresh) {
  const chosen = { by: "share", days: "7" };
  const choose = (key) => (value) => {
    chosen[key] = value;
    refresh();
  };
  const whose = { share: "used by no share", worker: "no worker", person: "the appliance itself" };

  function nameOf(item) {
    if (item.name === null) return "All";
    if (!item.name) return whose[chosen.by];
    if (chosen.by === "person") return item.name;
    return names()[chosen.by].get(item.name) ?? `${item.name}, which is gone`;
  }

  const list = table("Usage", [
    ["Of", nameOf],
    ["GPU hours", (item) => amount(item.gpu_seconds / HOUR_SECONDS)],
    ["GiB hours", (item) => amount(item.vram_gib_seconds / HOUR_SECONDS)],
    ["Energy", (item) => `${amount(item.energy_joules / JOULES)} kWh`],
    ["Bytes", (item) => bytes(item.bytes)],
  ], (item) => `${chosen.by} ${item.name}`);
  list.root.classList.add("usage");
  const csv = el("a", { download: "usage.csv" }, "usage.csv");
  const root = el("section", { class: "card wide", "aria-label": "Usage" },
    el("header", {}, el("h2", {}, "Usage"), csv),
    el("div", { class: "filters" }, choice("By", "usage-by", BY, chosen.by, choose("by")), choice("Time", "usage-days", SPANS, chosen.days, choose("days"))),
    list.root, el("p", { class: "small muted section" }, "GPU hours: one GPU held for an hour is one. GiB hours: memory of GPUs that was in use. Bytes: through the relay of this host, both ways. All of it is written once a minute."));

  function query() {
    const asked = isAll() ? { all: "true" } : {};
    // By whole minutes, so that the link to the file does not change with every look.
    if (chosen.days) asked.from_unix_s = Math.floor(applianceNow() / 60) * 60 - Number(chosen.days) * DAY_SECONDS;
    return asked;
  }

  return {
    root,
    async read() {
      const by = chosen.by;
      const asked = query();
      const { items } = await ask(sharingPath("usage", { by, ...asked }));
      if (by !== chosen.by) return; // another one was chosen meanwhile, and is asked for next
      attribute(csv, "href", sharingPath("usage.csv", asked));
      list.show(items.length > 1 ? [...items, total(items)] : items, "Nothing was used in this time.");
    },
  };
}
