"""The paths of the pages; all are public, since a page says nothing before the API knows who asks."""

import secrets
from typing import Any, Final
from urllib.parse import urlencode

from appliance.plugin import Answer, Call, Cookie, Kind, Redirect, Surface

from .accept import prefers_html
from .assets import read_assets
from .pages import page

ANYONE: Final = frozenset(Kind)
CSRF_COOKIE: Final = "csrftoken"

api = Surface("dashboard", prefixes=("/ui",), slash="both", trust=False)


@api.get("/", caller=ANYONE, access="public")
async def root(call: Call[None]) -> Answer | Redirect:
    """Answer browsers with the overview, programs with what this is."""
    if prefers_html(call.head.header(b"accept")):
        return _for_people(call, "overview")
    about: dict[str, Any] = {"ok": True, "service": "appliance", "docs": "/docs", "openapi": "/openapi.json"}
    # Front ends read this cookie by name and send its value back in a header; see the CSRF rules of the edge.
    cookie = Cookie(name=CSRF_COOKIE, value=secrets.token_urlsafe(32), http_only=False)
    return Answer(model=about, headers=(("Vary", "Accept"), ("Cache-Control", "no-store")), cookies=(cookie,))


@api.get("/login", caller=ANYONE, access="public")
async def login(call: Call[None]) -> Answer:
    """Show the login page."""
    return page("login")


@api.get("/setup", caller=ANYONE, access="public")
async def setup(call: Call[None]) -> Answer:
    """Show the page that makes the first account; its one-time token stays in the browser's fragment."""
    return page("setup")


@api.get("/ui/reset", caller=ANYONE, access="public")
async def reset(call: Call[None]) -> Answer:
    """Show the page that sets a new password, for the holder of a one-time link."""
    return page("reset")


@api.get("/ui/people", caller=ANYONE, access="public")
async def people(call: Call[None]) -> Answer | Redirect:
    """Show people and tokens."""
    return _for_people(call, "people")


@api.get("/ui/plugins", caller=ANYONE, access="public")
async def plugins(call: Call[None]) -> Answer | Redirect:
    """Show plugins and their states."""
    return _for_people(call, "plugins")


@api.get("/ui/events", caller=ANYONE, access="public")
async def events(call: Call[None]) -> Answer | Redirect:
    """Show what has happened."""
    return _for_people(call, "events")


@api.get("/ui/static/{path:path}", caller=ANYONE, access="public")
async def static(call: Call[None]) -> Answer:
    """Send a script, a style sheet or the icon."""
    return _asset(call, call.path["path"])


@api.get("/favicon.ico", caller=ANYONE, access="public")
async def favicon(call: Call[None]) -> Answer:
    """Give the icon to whoever asks for it by its old name."""
    return _asset(call, "favicon.svg")


def _for_people(call: Call[None], name: str) -> Answer | Redirect:
    """Answer with a page, or lead a browser without a session to login before it loads what it could not fill."""
    if call.caller.kind is Kind.ANONYMOUS:
        return Redirect(location=f"/login?{urlencode({'next': call.head.path})}")
    return page(name)


def _asset(call: Call[None], name: str) -> Answer:
    return read_assets().answer(name, call.head.header(b"if-none-match"))
