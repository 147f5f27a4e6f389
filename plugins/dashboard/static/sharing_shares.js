// Shares: their links, who may use them, and what passes through them.

import { applianceNow, ask } from "./api.js";
import { el, notice, text } from "./dom.js";
import { field, selectField } from "./forms.js";
import { copyable } from "./secret.js";
import { openDialog } from "./shell.js";
import { formDialog, longTable, remove, rowButton, stateCell, twoLines, wholeNumber } from "./sharing_parts.js";
import { accessWords, expiryWords, networksOf, revocationWords, shareState, sharingPath, trafficWords, useWords } from "./sharing_words.js";

const HOUR = 3600;
const EXPIRY = [[HOUR, "in 1 hour"], [8 * HOUR, "in 8 hours"], [24 * HOUR, "in 1 day"], [7 * 24 * HOUR, "in 7 days"], [30 * 24 * HOUR, "in 30 days"], ["", "never"], ["at", "at a time of its own"]];
const ACCESS = [["", "as this appliance is configured"], ["redeemed", "addresses that have opened the link"], ["cidr", "networks, which are named here"], ["open", "anyone who reaches this host"]];
const REMOTE = "This worker is on another host, to which guests connect themselves. Of such a share only the code can be withdrawn from here: who may connect, and how many at once, is up to that host.";

/** A QR code of a share's link. */
function qr(share) {
  return el("img", { class: "qr", src: sharingPath(`shares/${encodeURIComponent(share.share_id)}/qr`), alt: `QR code of ${share.short_link}`, width: 200, height: 200 });
}

function linkCell() {
  const base = el("span");
  const code = el("span");
  const link = el("code", { class: "link" }, base, el("wbr"), code); // where it is cut on a narrow screen
  const owner = el("div", { class: "muted small" });
  return {
    root: el("div", { class: "lines-2" }, link, owner),
    update(share) {
      text(base, share.short_link.slice(0, -share.short_code.length));
      text(code, share.short_code);
      text(owner, share.owner ? `by ${share.owner}` : "");
    },
  };
}

/** A button that copies a share's link; without a clipboard it opens the dialog from which that can be done by hand. */
function copyButton(share) {
  const button = rowButton("Copy link", `Copy the link of share ${share.short_code}`, async () => {
    try {
      await navigator.clipboard.writeText(share.short_link);
      button.textContent = "Copied";
      setTimeout(() => text(button, "Copy link"), 3000);
    } catch {
      showLink(share); // no clipboard over plain HTTP from afar
    }
  });
  return button;
}

function showLink(share) {
  const close = el("button", { type: "button" }, "Close");
  const dialog = openDialog(`Share ${share.short_code}`, qr(share), copyable("Short link", share.short_link), copyable("Connects to", share.connection_url), el("div", { class: "buttons" }, close));
  close.addEventListener("click", () => dialog.close());
}

/** The card with all shares, kept by `show(shares, workers)`; who may, revokes them. */
export function sharesCard(mayWrite, shared) {
  function actions(share) {
    const code = rowButton("QR code", `QR code of share ${share.short_code}`, () => showLink(share));
    if (!mayWrite) return [copyButton(share), code];
    let newest = share;
    const revoke = rowButton("Revoke", `Revoke share ${share.short_code}`, () =>
      remove(sharingPath(`shares/${encodeURIComponent(share.share_id)}`), [`Revoke share ${share.short_code}?`, revocationWords(newest), "Revoke"], `Share ${share.short_code} is revoked.`, shared), true);
    return {
      nodes: [copyButton(share), code, revoke],
      update(one) {
        newest = one;
      },
    };
  }

  const list = longTable("Shares", [
    ["Link", { part: linkCell }],
    ["Leads to", twoLines((share) => [`${share.worker_name} on ${share.hostname}`, share.connection_url])],
    ["State", stateCell((share) => [...shareState(share), share.problem])],
    ["Who", accessWords],
    ["Uses", twoLines(useWords)],
    ["Ends", twoLines(expiryWords)],
    ["Traffic", twoLines(trafficWords)],
  ], (share) => share.share_id, actions);
  list.root.classList.add("sharing", "shares");
  const root = el("section", { class: "card wide", "aria-label": "Shares" }, el("header", {}, el("h2", {}, "Shares")), list.root);
  function whenEmpty(workers) {
    if (!mayWrite) return "Nothing of yours is shared. Your role, viewer, only reads.";
    return workers.length ? "Nothing is shared. Press “Share a worker” to get a link that lets somebody use one." : "Nothing is shared, and there is no worker yet that could be.";
  }
  return { root, show: (shares, workers) => list.show(shares, whenEmpty(workers)) };
}

/** Ask for the terms of a share, make it, and show its link. `chosen`: the id of a worker, or empty. */
export function shareDialog(workers, chosen, { said, changed }) {
  const worker = selectField("Worker", workers.map((one) => [one.worker_id, `${one.name} on ${one.hostname}`]));
  if (chosen) worker.select.value = chosen;
  const ends = selectField("Ends", EXPIRY);
  ends.select.value = String(24 * HOUR);
  const at = field("Ends at", { type: "datetime-local", step: 60 });
  const uses = field("Times that the link can be opened", { type: "number", min: 1, max: 2147483647, step: 1, inputmode: "numeric", placeholder: "empty: any number" });
  const address = field("Address that guests connect to", { autocomplete: "off", maxlength: 260, autocapitalize: "none", spellcheck: "false", placeholder: "empty: the host's first address" });
  const access = selectField("Who may connect", ACCESS);
  const networks = field("Networks", { autocomplete: "off", spellcheck: "false", placeholder: "such as 10.1.0.0/16, 192.0.2.7" });
  const most = field("Connections at once", { type: "number", min: 1, max: 65535, step: 1, inputmode: "numeric", placeholder: "empty: as configured" });
  const remote = notice("info", REMOTE);
  const local = el("div", {}, access.root, networks.root, most.root);
  const one = () => workers.find((each) => each.worker_id === worker.select.value);

  function follow() {
    const isLocal = Boolean(one()?.is_local);
    local.hidden = !isLocal;
    remote.hidden = isLocal;
    networks.root.hidden = access.select.value !== "cidr";
    at.root.hidden = ends.select.value !== "at";
  }
  for (const each of [worker, ends, access]) each.select.addEventListener("change", follow);
  follow();

  function check() {
    const body = { worker_id: worker.select.value };
    let isRight = true;
    const entry = (value, isWell) => {
      isRight &&= isWell;
      return value;
    };
    if (ends.select.value === "at") {
      const seconds = new Date(at.value).getTime() / 1000 - applianceNow();
      at.fail(seconds > 0 ? "" : "Enter a time to come.");
      body.expires_in_seconds = entry(seconds, seconds > 0);
    } else if (ends.select.value) {
      body.expires_in_seconds = Number(ends.select.value);
    }
    const [usesRight, count] = wholeNumber(uses, "Enter a whole number from 1, or nothing.");
    if (entry(count, usesRight)) body.max_uses = count;
    if (address.value.trim()) body.connection_ip = address.value.trim();
    if (!one()?.is_local) return isRight ? body : null;
    if (access.select.value) body.access = access.select.value;
    if (access.select.value === "cidr") body.networks = networksOf(networks.value);
    const [mostRight, connections] = wholeNumber(most, "Enter a whole number from 1 to 65535, or nothing.");
    if (entry(connections, mostRight)) body.max_connections = connections;
    return isRight ? body : null;
  }

  formDialog("Share a worker", "Share", [worker.root, ends.root, at.root, uses.root, address.root, local, remote], {
    check,
    byName: { expires_in_seconds: at, max_uses: uses, connection_ip: address, networks, max_connections: most },
    async send(body, dialog) {
      const made = await ask(sharingPath("shares"), { method: "POST", body });
      dialog.close();
      shown(made, said);
      await changed();
    },
  });
}

/** Show a share that was just made: what to hand over. */
function shown(share, said) {
  const done = el("button", { type: "button", on: { click: () => said.clear() } }, "Close");
  const words = share.is_relayed ? `Hand the link over. Who may connect: ${accessWords(share)}.` : "Hand the link over. It leads to another host: from here only its code can be withdrawn.";
  const box = notice("ok", el("strong", {}, `${share.worker_name} on ${share.hostname} is shared`), el("p", {}, words),
    el("div", { class: "shared" }, qr(share), el("div", { class: "grow" }, copyable("Short link", share.short_link), copyable("Connects to", share.connection_url))),
    share.problem ? el("p", {}, share.problem) : null, el("div", { class: "buttons" }, done));
  said.say(box);
}
