"""What a browser is shown at a short link: a page that fetches the share only when somebody presses its button.

So previews of links, which open pages and press nothing, do not use a share up. The page needs nothing from elsewhere.
"""

import base64
import hashlib
from typing import Final

_STYLE: Final = """
:root {
  color-scheme: light dark; --bg: #f4f5f7; --card: #fff; --raised: #f0f2f5; --line: #dde1e6; --text: #171c22;
  --muted: #545e6a; --accent: #1b4f9c; --on-accent: #fff; --critical: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --bg: #0e1216; --card: #161b21; --raised: #1e252d; --line: #29313a; --text: #e3e8ed;
    --muted: #9aa5b1; --accent: #7fb0f5; --on-accent: #0b1420; --critical: #ff8b80;
  }
}
body {
  margin: 0; padding: 9vh 18px 40px; background: var(--bg); color: var(--text); font: 15px/1.5 system-ui, sans-serif;
}
main {
  max-width: 460px; margin: 0 auto; padding: 24px; background: var(--card); border: 1px solid var(--line);
  border-radius: 8px;
}
h1 { margin: 0 0 8px; font-size: 20px; line-height: 1.25; }
p { margin: 0 0 16px; color: var(--muted); }
#failed:empty, #ask:has([hidden]), dl:empty { display: none; }
button {
  font: inherit; font-weight: 600; width: 100%; min-height: 40px; border: 0; border-radius: 6px; cursor: pointer;
  background: var(--accent); color: var(--on-accent);
}
button:disabled { opacity: .55; cursor: default; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
dl { margin: 0; }
dl:focus { outline: 0; }
dt { margin-top: 12px; font-size: 13px; color: var(--muted); }
dd { margin: 4px 0 0; padding: 8px 12px; background: var(--raised); border-radius: 6px; }
code { font: 14px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; user-select: all; }
#failed { margin: 0; color: var(--critical); }
#ask { margin: 0 0 12px; }
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
    if (!reply.ok) {
      const why = [said.error, said.hint].filter(Boolean).join(": ");
      failed.textContent = why.charAt(0).toUpperCase() + why.slice(1) + ".";
      if (reply.status === 410 || reply.status === 404) { // stays so; what may not be tried just now may be later
        button.hidden = true;
        told.textContent = "This link leads nowhere any more. Ask whoever gave it to you for another one.";
      }
      button.disabled = false;
      return;
    }
    button.hidden = told.hidden = true;
    row("Connect to", said.connection_url);
    row("Hardware", said.hardware_vendor);
    row("Worker", said.worker_id);
    row("On the command line", "ggo use " + location.pathname.split("/").filter(Boolean).pop());
    shown.focus();
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
MISSING: Final = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>No share here</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>No share here</h1>
<p>This link leads nowhere: it is mistyped, or the share was deleted. Ask whoever gave it to you for another one.</p>
</main>
</body>
</html>
"""
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
<main>
<h1>Shared GPU</h1>
<p id="told">Somebody shares a GPU with you. Opening it may count as one of the times that this link can be used.</p>
<p id="ask"><button id="open" type="button">Open the share</button></p>
<p id="failed" role="alert"></p>
<dl id="share" tabindex="-1" aria-label="The share"></dl>
<noscript><p>This page needs JavaScript; <code>curl</code> shows the same as JSON.</p></noscript>
</main>
<script>{_SCRIPT}</script>
</body>
</html>
"""
