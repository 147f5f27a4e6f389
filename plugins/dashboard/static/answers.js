// Where a page says what has come of something that was done.

import { el } from "./dom.js";

/** A place for one answer; it takes the focus, so that nobody searches for it. */
export function answers() {
  const root = el("div", { "aria-live": "polite" });
  return {
    root,
    say(node) {
      node.setAttribute("tabindex", "-1");
      root.replaceChildren(node);
      node.focus();
      node.scrollIntoView({ block: "nearest" });
    },
    clear: () => root.replaceChildren(),
  };
}
