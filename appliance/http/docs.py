"""``/openapi.json`` and ``/docs``: every endpoint of a listener, described where it is served; works offline."""

from pathlib import Path

import msgspec
from attrs import define, field

from appliance.credentials.kinds import PERSON, Kind
from appliance.errors import PathNotFound
from appliance.http.files import content_type_of
from appliance.http.openapi import document
from appliance.http.routing import Route
from appliance.surface import Answer, Call, File, Surface

READERS = PERSON | {Kind.SCRAPE}
STATIC = Path(__file__).parent / "static"
FILES = frozenset({"docs.js", "docs.css"})
PAGE_HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "same-origin"),
)

api = Surface("core")


@define(eq=False)
class Docs:
    """What the two are made from."""

    routes: list[Route] = field(factory=list)
    _document: bytes = b""

    def encoded(self) -> bytes:
        """Return the document as JSON, made when first asked for."""
        if not self._document:
            self._document = msgspec.json.encode(document(self.routes))
        return self._document


@api.get("/openapi.json", caller=READERS, answer=dict)
async def openapi(call: Call[None]) -> Answer:
    """Describe every endpoint of this listener (OpenAPI 3.1)."""
    docs: Docs = call.state
    return Answer(model=docs.encoded(), content_type="application/json")


@api.get("/docs", caller=READERS)
async def page(call: Call[None]) -> Answer:
    """Show the endpoints of this listener."""
    return Answer(
        model=(STATIC / "docs.html").read_bytes(), content_type="text/html; charset=utf-8", headers=PAGE_HEADERS
    )


@api.get("/docs/static/{name}", caller=READERS, answer=File)
async def static(call: Call[None]) -> File:
    """Serve what the page is made of."""
    name = call.path["name"]
    if name not in FILES:
        raise PathNotFound
    return File(path=STATIC / name, content_type=content_type_of(Path(name)))
