"""The pages as they are sent: plain HTML without data, under a policy that lets nothing in from elsewhere."""

from collections.abc import Mapping
from functools import cache
from typing import Final

from attrs import frozen

from appliance.plugin import Answer

from .assets import PREFIX, read_assets

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""No inline script or style, no other origin, no frame around us (CSP level 3)."""

HEADERS: Final = (
    ("Content-Security-Policy", POLICY),
    ("X-Frame-Options", "DENY"),
    # The setup token stands in a fragment, which no Referer carries; the path is nobody else's business either.
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
    # `/` is a page or JSON by Accept: no cache may mix them up. A page of 1 kB is cheap to send each time.
    ("Cache-Control", "no-store"),
    ("Vary", "Accept"),
)


@frozen
class Page:
    """What tells one page from another; everything else its script makes."""

    title: str
    script: str
    has_charts: bool = False
    has_terminal: bool = False
    is_alone: bool = False
    """One form in the middle, without navigation: for whoever is not logged in yet."""


PAGES: Final[Mapping[str, Page]] = {
    "overview": Page("Overview", "overview", has_charts=True),
    "servers": Page("Servers", "servers"),
    "server": Page("Server", "server", has_charts=True),
    "machines": Page("Machines", "machines"),
    "machine": Page("Machine", "machine", has_charts=True),
    "sharing": Page("Sharing", "sharing"),
    "tasks": Page("Tasks", "tasks"),
    "task": Page("Task", "task"),
    "swarm": Page("Build swarm", "swarm"),
    "swarm_drones": Page("Drones", "swarm_drones"),
    "swarm_drone": Page("Drone", "swarm_drone"),
    "swarm_terminal": Page("Terminal", "swarm_terminal", has_terminal=True),
    "swarm_history": Page("Builds", "swarm_history"),
    "swarm_payloads": Page("Payloads", "swarm_payloads"),
    "swarm_releases": Page("Releases", "swarm_releases"),
    "swarm_events": Page("Events of the swarm", "swarm_events"),
    "events": Page("Events", "events"),
    "plugins": Page("Plugins", "plugins"),
    "people": Page("People and tokens", "people"),
    "login": Page("Log in", "login", is_alone=True),
    "setup": Page("Set up", "setup", is_alone=True),
    "reset": Page("New password", "setup", is_alone=True),
}

_HEAD: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}: appliance</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="{files}favicon.svg" type="image/svg+xml">
{vendored}<link rel="stylesheet" href="{files}app.css">
<script type="module" src="{files}{script}.js"></script>
</head>
<body>
{body}
</body>
</html>
"""
# Before our own sheet, which changes a line of it; a deferred script runs before the modules that stand after it.
_CHARTS: Final = """<link rel="stylesheet" href="{files}vendor/uPlot.min.css">
<script defer src="{files}vendor/uPlot.iife.min.js"></script>
"""
# The terminal emulator is more than all of ours together: one page loads it.
_TERMINAL: Final = """<link rel="stylesheet" href="{files}vendor/xterm.css">
<script defer src="{files}vendor/xterm.js"></script>
<script defer src="{files}vendor/xterm-addon-fit.js"></script>
"""
_NO_SCRIPT: Final = (
    '<noscript><p class="notice warning">These pages are drawn by JavaScript from the appliance itself; '
    "please allow it for this address.</p></noscript>"
)
_FRAMED: Final = f'<main id="main" tabindex="-1"><p class="loading">Loading</p></main>\n{_NO_SCRIPT}'
_ALONE: Final = f"""<div class="alone">
  <a class="brand" href="/"><img src="{{files}}favicon.svg" alt="">appliance</a>
  <main id="main" class="card"><p class="muted">Loading</p></main>
  {_NO_SCRIPT}
</div>"""


@cache
def source(name: str) -> bytes:
    """Return the page's HTML, with its links led to this edition of the assets."""
    one, files = PAGES[name], f"{PREFIX}{read_assets().edition}/"
    body = (_ALONE if one.is_alone else _FRAMED).format(files=files)
    vendored = (_CHARTS if one.has_charts else "") + (_TERMINAL if one.has_terminal else "")
    vendored = vendored.format(files=files)
    return _HEAD.format(title=one.title, files=files, vendored=vendored, script=one.script, body=body).encode()


def page(name: str) -> Answer:
    """Return the page ``name``, one of `PAGES`."""
    return Answer(model=source(name), content_type="text/html; charset=utf-8", headers=HEADERS)
