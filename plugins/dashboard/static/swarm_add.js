// The form that queues packages.

import { attribute, el, notice } from "./dom.js";
import { plural } from "./format.js";
import { field, selectField } from "./forms.js";
import { formDialog, wholeNumber } from "./sharing_parts.js";
import { send } from "./swarm_parts.js";
import { atoms, sessionName, swarmPath } from "./swarm_words.js";

const SKIPPED_SHOWN = 5;

function hint(made, words) {
  const node = el("p", { class: "small muted", id: `${made.input.id}-hint` }, words);
  made.root.append(node);
  attribute(made.input, "aria-describedby", `${node.id} ${made.input.getAttribute("aria-describedby")}`);
  return made;
}

/** Open the form; `known` has {sessions, hasTree}: what may be joined, and whether versions can be looked up. */
export function addDialog(known, { page, changed }) {
  const box = { spellcheck: "false", autocapitalize: "none", autocomplete: "off" };
  const packages = hint(field("Packages", { ...box, rows: 6, required: true, placeholder: "dev-libs/openssl\n=sys-apps/portage-3.0.66" }, "textarea"),
    known.hasTree ? "One a line. Without a version, the newest of the tree is taken." : "One a line, such as =dev-libs/openssl-3.2.0. No Portage tree is here: what has no version is built as the drone finds it.");
  const session = selectField("Session", [["", "a new one"], ...known.sessions.map((one) => [one.session_id, sessionName(one)])]);
  if (known.sessions.length) session.select.value = known.sessions[0].session_id;
  const name = field("Name of the session", { autocomplete: "off", maxlength: 200, placeholder: "may be empty" });
  const priority = hint(field("Priority", { type: "number", step: 1, min: -100, max: 100, value: 0 }), "-100 to 100; larger goes first.");
  const cores = field("Cores", { type: "number", step: 1, min: 1, max: 4096, placeholder: "any" });
  const memory = field("Memory in MiB", { type: "number", step: 1, min: 1, max: 100000000, placeholder: "any" });
  const after = field("After these packages", { ...box, maxlength: 20000, placeholder: "empty: in any order" });
  const shown = () => (name.root.hidden = session.select.value !== "");
  session.select.addEventListener("change", shown);
  session.root.hidden = known.sessions.length === 0;
  shown();

  function check() {
    const body = { packages: atoms(packages.value) };
    packages.fail(body.packages.length ? "" : "Name at least one package.");
    const [p, c, m] = [wholeNumber(priority, "Enter a whole number from -100 to 100."), wholeNumber(cores, "Enter a number of cores, or nothing."), wholeNumber(memory, "Enter a size, or nothing.")];
    if (!body.packages.length || ![p, c, m].every(([isRight]) => isRight)) {
      for (const wrong of form.querySelectorAll('details:not([open]) [aria-invalid="true"]')) wrong.closest("details").open = true;
      return null;
    }
    if (session.select.value) body.session_id = session.select.value;
    else if (name.value.trim()) body.session_name = name.value.trim();
    for (const [key, [, value]] of [["priority", p], ["cores", c], ["memory_mib", m]]) if (value) body[key] = value;
    if (after.value.trim()) body.waits_for = atoms(after.value);
    return body;
  }

  async function give(body, dialog) {
    const { queued, skipped, session: joined } = await send(swarmPath("/packages"), body).catch((error) => {
      if (error.status === 400) error.field ||= "packages"; // what is no atom says so itself, and not where it stands
      throw error;
    });
    const words = [el("strong", {}, `${plural(queued.length, "package")} queued`), joined ? ` in ${sessionName(joined)}.` : "."];
    if (skipped.length) {
      const more = skipped.length - SKIPPED_SHOWN;
      words.push(el("ul", { class: "why" }, skipped.slice(0, SKIPPED_SHOWN).map((one) => el("li", {}, `${one.atom}: ${one.reason}`)), more > 0 ? el("li", {}, `and ${more} more`) : null));
    }
    page.said.say(notice(queued.length ? "ok" : "warning", ...words));
    const answer = page.said.root.firstChild;
    dialog.close();
    answer.focus(); // closing gives it back to the button that opened the form
    await changed();
  }

  const dialog = formDialog("Add packages", "Queue them", [
    packages.root, session.root, name.root,
    el("details", { class: "more" }, el("summary", {}, "Order and what they need"), priority.root, el("div", { class: "pair" }, cores.root, memory.root), after.root),
  ], { check, send: give, byName: { packages, session_name: name, session_id: name, priority, cores, memory_mib: memory, waits_for: after } });
  dialog.classList.add("wide");
  const form = dialog.querySelector("form");
}
