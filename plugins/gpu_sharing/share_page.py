"""What a browser is shown at a short link: a page that fetches the share only when somebody presses its button.

So previews of links, which open pages and press nothing, do not use a share up. The page needs nothing from elsewhere.
"""

import base64
import hashlib
from typing import Final

_STYLE: Final = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 40rem; margin: 4rem auto; padding: 0 1rem; }
button { font: inherit; padding: .5rem 1rem; border: 1px solid; border-radius: .4rem; cursor: pointer; }
dt { font-weight: 600; margin-top: 1rem; } dd { margin: 0; }
code { font: 14px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; user-select: all; }
[role=alert] { color: #b00020; }
@media (prefers-color-scheme: dark) { [role=alert] { color: #ff8a80; } }
"""
_SCRIPT: Final = """
"use strict";
const button = document.getElementById("open"), told = document.getElementById("told");
const shown = document.getElementById("share"), failed = document.getElementById("failed");
function row(name, value) {
  const term = document.createElement("dt"), text = document.createElement("dd"), code = document.createElement("code");
  term.textContent = name; code.textContent = value; text.append(code); shown.append(term, text);
}
button.addEventListener("click", async () => {
  button.disabled = true; failed.textContent = "";
  try {
    const reply = await fetch(location.pathname, {headers: {Accept: "application/json"}, cache: "no-store"});
    const said = await reply.json();
    if (!reply.ok) { failed.textContent = [said.error, said.hint].filter(Boolean).join(": "); return; }
    button.hidden = told.hidden = true;
    row("Connect to", said.connection_url);
    row("Hardware", said.hardware_vendor);
    row("Worker", said.worker_id);
    row("On the command line", "ggo use " + location.pathname.split("/").filter(Boolean).pop());
  } catch (error) {
    failed.textContent = "The appliance did not answer: " + error.message;
    button.disabled = false;
  }
});
"""


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


POLICY: Final = (
    f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; connect-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Final = (
    ("Content-Security-Policy", POLICY),
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Robots-Tag", "noindex"),
    ("Vary", "Accept"),
)
PAGE: Final = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Shared GPU</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Shared GPU</h1>
<p id="told">Somebody shares a GPU with you. Opening it may count as one of the times that this link can be used.</p>
<p><button id="open" type="button">Open the share</button></p>
<p id="failed" role="alert"></p>
<dl id="share" aria-live="polite"></dl>
<noscript><p>This page needs JavaScript; <code>curl</code> shows the same as JSON.</p></noscript>
<script>{_SCRIPT}</script>
</body>
</html>
"""
