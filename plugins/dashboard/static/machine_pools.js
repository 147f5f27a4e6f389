// The pools that machines register in.

import { ask } from "./api.js";
import { attribute, el, notice, text } from "./dom.js";
import { field, onSubmit } from "./forms.js";
import { confirmed, failure, openDialog } from "./shell.js";
import { table } from "./table.js";

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const NAME_WORDS = "letters, digits, dots, hyphens and underscores, at most 64, with a letter or digit first";

function nameCell() {
  const link = el("a", { class: "strong" });
  return {
    root: link,
    update(pool) {
      text(link, pool.name);
      attribute(link, "href", `/ui/machines?${new URLSearchParams({ pool: pool.name })}`);
    },
  };
}

function machineCount(pool) {
  return pool.machine_count ? `${pool.ready_count} ready of ${pool.machine_count}` : "none";
}

function gpuCount(pool) {
  return pool.gpu_count ? `${pool.free_gpu_count} free of ${pool.gpu_count}` : "none";
}

/** A card with all pools, kept by `show(pools)`; who may, adds and deletes some. */
export function poolsCard(isManager, { said, changed }) {
  const list = table("Pools", [
    ["Pool", { part: nameCell }],
    ["Machines", machineCount],
    ["GPUs", gpuCount],
    ["GPU name", (pool) => pool.gpu || "not set"],
    ["Provider", (pool) => pool.provider],
    ["Defined", (pool) => (pool.is_configured ? "in the configuration" : "here")],
  ], (pool) => `${pool.is_configured} ${pool.name}`, isManager ? (pool) => (pool.is_configured ? [] : [deleteButton(pool.name)]) : null);

  function deleteButton(name) {
    return el("button", { type: "button", class: "danger", "aria-label": `Delete pool ${name}`, on: { click: () => remove(name) } }, "Delete");
  }

  async function remove(name) {
    if (!(await confirmed(`Delete pool ${name}?`, "Its tokens serve nothing from then on. A pool that still has machines stays.", "Delete"))) return;
    try {
      await ask(`/api/appliance/pools/${encodeURIComponent(name)}`, { method: "DELETE" });
      said.say(notice("ok", `Pool ${name} is deleted.`));
      await changed();
    } catch (error) {
      said.say(failure(error));
    }
  }

  const add = el("button", { type: "button", class: "end", on: { click: () => addPoolDialog(changed) } }, "Add a pool");
  const root = el("section", { class: "card wide", "aria-label": "Pools" }, el("header", {}, el("h2", {}, "Pools"), isManager ? add : null), list.root);
  return { root, show: (pools) => list.show(pools, "No pools.") };
}

function addPoolDialog(changed) {
  const words = { autocomplete: "off", maxlength: 64, autocapitalize: "none", spellcheck: "false" };
  const name = field("Name", { ...words, required: true });
  const gpu = field("GPU name", { ...words, placeholder: "such as A100-80; empty: none" });
  const provider = field("Provider", { ...words, placeholder: "empty: generic" });
  const failed = el("div");
  const cancel = el("button", { type: "button" }, "Cancel");
  const go = el("button", { type: "submit", class: "primary" }, "Add pool");
  const form = el("form", { novalidate: true, method: "post" }, failed, name.root, gpu.root, provider.root,
    el("p", { class: "small muted" }, "Schedulers ask for this pool's GPUs by the GPU name; its agents are started with the provider."),
    el("div", { class: "buttons" }, cancel, go));
  const dialog = openDialog("Add a pool", form);
  cancel.addEventListener("click", () => dialog.close());
  const named = { name, gpu, provider };
  onSubmit(form, go, async () => {
    failed.replaceChildren();
    const body = {};
    let wrong = null;
    for (const [key, one] of Object.entries(named)) {
      const value = one.value.trim();
      const isRight = NAME.test(value) || (!value && one !== name);
      one.fail(isRight ? "" : `Enter ${NAME_WORDS}.`);
      if (!isRight) wrong ??= one;
      if (value) body[key] = value;
    }
    if (wrong) return void wrong.input.focus();
    try {
      await ask("/api/appliance/pools", { method: "POST", body });
    } catch (error) {
      const at = error.status === 409 ? name : named[error.field?.split(".").at(-1)];
      if (!at) return void failed.replaceChildren(failure(error));
      at.fail([error.message, error.hint].filter(Boolean).join(" "));
      return void at.input.focus();
    }
    dialog.close();
    await changed();
  });
}
