"""The release mirror, as the clients read it."""

from typing import Any, Final

from attrs import field, frozen
from attrs.validators import and_, ge, le, max_len, optional

from appliance.plugin import Call, File, Kind, Surface

from .releases import FILES_PATH, shown
from .state import SharingState
from .wire.times import iso_of

ANYONE: Final = frozenset(Kind)


@frozen(kw_only=True)
class ReleasesQuery:
    """Which releases, and how many."""

    vendor: str | None = field(default=None, validator=optional(max_len(64)))
    size: int = field(default=500, validator=and_(ge(1), le(1000)))


def declare(api: Surface) -> None:
    """Declare the endpoints on the documented surface."""
    api.get("/api/ecosystem/releases", caller=ANYONE, access="public", query=ReleasesQuery)(releases)
    api.get(FILES_PATH + "/{name}", caller=ANYONE, access="public")(file)


async def releases(call: Call[None]) -> dict[str, Any]:
    """List the files that agents and clients fetch, newest version first; there are none until some were added."""
    state, wanted = call.state, call.query
    vendor = (wanted.vendor or "").lower()
    found = [each for each in state.releases.all() if vendor in ("", each.vendor)]
    items = shown(found, state.core.public_url(), iso_of)[: wanted.size]
    return {"releases": items, "count": len(items)}


async def file(call: Call[None]) -> File:
    """Send a file of the mirror; ranges are served."""
    state: SharingState = call.state
    release, path = state.releases.named(call.path["name"])
    return File(path=path, name=release.name)
