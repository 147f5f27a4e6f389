// What can be done with the whole queue at once; whatever takes something away is asked about first.

import { el } from "./dom.js";
import { plural } from "./format.js";
import { rowButton } from "./sharing_parts.js";
import { confirmed } from "./shell.js";
import { send } from "./swarm_parts.js";
import { swarmPath } from "./swarm_words.js";

// What it is called, what it does, and how much it takes to do it: 0 nothing, 1 a question, 2 a word typed.
const ACTIONS = [
  ["unblock", "Unblock all", "Every blocked package is needed again, with its failures forgotten.", 0],
  ["retry_failures", "Retry failures", "Everything that is blocked or has failed is built again.", 0],
  ["unground", "Unground drones", "Drones that failed too often in a row get packages again at once.", 0],
  ["rebalance", "Rebalance", "What was given out and is not being built yet goes back, for whoever asks first.", 1],
  ["clear_failures", "Forget failures", "What is blocked or has failed is needed again, as if nobody had tried it.", 1],
  ["clear_history", "Forget history", "Which drone failed what is forgotten, and so is how long packages take.", 2],
  ["reset", "Reset", "Everything of the session that was not built yet begins anew, also what is being built now.", 2],
];
const WORDS = ["", "This changes what drones do next.", "This cannot be undone."];

/** The card of these. */
export function controlsCard({ page, changed }) {
  async function run(action, label, explanation, weight) {
    if (weight && !(await confirmed(`${label}?`, `${explanation} ${WORDS[weight]}`, label, weight > 1 ? action : ""))) return;
    await page.act(() => send(swarmPath("/control"), { action }), ({ message, affected }) => message || `${label}: ${plural(affected, "package")}.`);
    await changed();
  }
  const rows = ACTIONS.map(([action, label, explanation, weight]) => el("li", {}, rowButton(label, null, () => run(action, label, explanation, weight), weight > 1), el("span", { class: "muted small" }, explanation)));
  return { root: el("section", { class: "card wide", "aria-label": "Whole queue" }, el("details", { class: "more" }, el("summary", {}, "Control the whole queue"), el("ul", { class: "controls" }, rows))) };
}
