// Parts of forms that setup, login and the people page share.

import { attribute, bar, el, text } from "./dom.js";

let fields = 0;

/** A labelled input, or textarea, with room for its own error. */
export function field(label, attributes, tag = "input") {
  fields += 1;
  const id = `field-${fields}`;
  const input = el(tag, { id, "aria-describedby": `${id}-error`, ...attributes });
  const error = el("p", { class: "field-error", id: `${id}-error`, role: "alert" });
  const root = el("div", { class: "field" }, el("label", { for: id }, label), input, error);
  return {
    root, input,
    get value() {
      return input.value;
    },
    fail(message) {
      attribute(input, "aria-invalid", message ? "true" : null);
      text(error, message);
    },
  };
}

/** A labelled choice of one; `pairs` is [[value, words], ...]. */
export function selectField(label, pairs) {
  fields += 1;
  const id = `field-${fields}`;
  const select = el("select", { id }, pairs.map(([value, words]) => el("option", { value }, words)));
  return { root: el("div", { class: "field" }, el("label", { for: id }, label), select), select };
}

/** A box to tick, with its label. */
export function tickField(label) {
  const input = el("input", { type: "checkbox" });
  return { root: el("label", { class: "tick" }, input, el("span", {}, label)), input };
}

/** A password field with a button that shows what was typed. */
export function password(label, attributes) {
  const made = field(label, { type: "password", ...attributes });
  const button = el("button", { type: "button", "aria-pressed": "false", "aria-label": `Show: ${label}` }, "Show");
  button.addEventListener("click", () => {
    const shown = made.input.type === "text";
    made.input.type = shown ? "password" : "text";
    attribute(button, "aria-pressed", String(!shown));
    text(button, shown ? "Show" : "Hide");
  });
  const row = el("div", { class: "with-button" });
  made.input.replaceWith(row);
  row.append(made.input, button);
  return made;
}

const WORDS = ["very weak", "weak", "fair", "good", "strong"];
const COMMON = /pass(word)?|qwert|asdf|1234|abcd|admin|letmein|welcome|iloveyou|secret|changeme|gpu|root/gi;

/** Guess how many guesses a password takes, as 0 to 4: length and variety count, repeats and well-known parts do not. */
export function strength(value, name = "") {
  let left = value.replace(COMMON, "*").replace(/(.)\1{2,}/g, "$1");
  if (name.length > 2) left = left.split(name).join("*");
  const kinds = [[/[a-z]/, 26], [/[A-Z]/, 26], [/[0-9]/, 10], [/[^a-zA-Z0-9]/, 33]];
  const alphabet = kinds.reduce((size, [pattern, count]) => size + (pattern.test(left) ? count : 0), 0);
  const different = new Set(left).size;
  const bits = Math.min(left.length, different * 2) * Math.log2(Math.max(2, alphabet));
  return bits < 28 ? 0 : bits < 42 ? 1 : bits < 56 ? 2 : bits < 75 ? 3 : 4;
}

/** The meter below a new password; says how strong, sets no rules. */
export function strengthMeter() {
  const meter = bar("Password strength");
  const words = el("span", { "aria-live": "polite" });
  const root = el("div", { class: "strength" }, meter.root, words);
  meter.update(null);
  return {
    root,
    show(value, name) {
      const score = strength(value, name);
      meter.update(value ? (score + 1) * 20 : null, WORDS[score], score < 2 ? "warning" : "");
      text(words, value ? WORDS[score] + (score < 2 ? ": a few unrelated words are easier to keep in mind and harder to guess" : "") : "");
    },
  };
}

/** Run `send` once at a time for a form's submit; the button says what is going on. */
export function onSubmit(form, button, send) {
  const words = button.textContent;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    text(button, "One moment");
    try {
      await send();
    } finally {
      button.disabled = false;
      text(button, words);
    }
  });
}
