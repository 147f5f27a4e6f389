"""``GET /``: the overview for browsers, for programs what this is and where its documents are."""

import secrets
from typing import Any

from appliance.credentials.kinds import Kind
from appliance.http.accept import prefers_html
from appliance.http.api.state import CoreState
from appliance.people.sessions import CSRF_COOKIE
from appliance.surface import Answer, Call, Cookie, Surface

api = Surface("core", pages=True)

_HEADERS = (("Vary", "Accept"), ("Cache-Control", "no-store"))


@api.get("/", caller=frozenset(Kind), access="public")
async def root(call: Call[None]) -> Any:
    """Answer browsers with the overview, programs with what this is."""
    state: CoreState = call.state
    page = state.front_page()
    if page is not None and prefers_html(call.head.header(b"accept")):
        return await page(call)
    about = {"ok": True, "service": "appliance", "docs": "/docs", "openapi": "/openapi.json", **state.about()}
    # Front ends read this cookie by name and send its value back in a header. Who is logged in has one that belongs to
    # the session.
    cookies: tuple[Cookie, ...] = ()
    if call.caller.kind is not Kind.SESSION:
        cookies = (Cookie(name=CSRF_COOKIE, value=secrets.token_urlsafe(32), http_only=False),)
    return Answer(model=about, headers=_HEADERS, cookies=cookies)
