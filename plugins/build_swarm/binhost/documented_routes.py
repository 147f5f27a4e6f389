"""Releases and figures of the binary host as the older server's command line and admin page ask for them."""

from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
from attrs import field, frozen
from attrs.validators import max_len

from appliance.plugin import BadInput, Call, Gone, NotFound, Role

from ..state import SwarmState
from ..surfaces import KEYED, READERS, admin, public
from ..wire.decoding import Reader
from . import actions, wire
from .own_models import NOTES_CHARACTERS, VERSION_CHARACTERS

RELEASES: Final = "/admin/api/releases"
ONE: Final = f"{RELEASES}/{{version}}"
PACKAGES_MAX: Final = 100_000
OLD_PKGDIR: Final = "/var/cache/binpkgs"


@frozen
class NewRelease:
    """A release to be made of what is staged."""

    version: str | None = None
    name: str | None = None
    """The version too, where none is given."""
    notes: str = field(default="", validator=max_len(NOTES_CHARACTERS))
    promote: bool = False

    @property
    def wanted(self) -> str:
        """The version that is asked for; empty for one of the date."""
        return (self.version or self.name or "")[: VERSION_CHARACTERS + 1]


class Rollback(msgspec.Struct):
    """A release to go back to; none: the one before."""

    version: str | None = None


class Migrate(msgspec.Struct):
    """A folder of this host to take packages from, and the release to make of them."""

    path: str | None = None
    """None: where Portage keeps them."""
    version: str | None = None


@admin.get(RELEASES, caller=KEYED)
async def releases(call: Call[None]) -> dict[str, Any]:
    """List every release, newest first."""
    state: SwarmState = call.state
    found = await state.binhost.store.releases()
    current = next((one.version for one in found if one.is_current), None)
    return {"releases": [wire.release(one) for one in found], "current": current}


@admin.post(RELEASES, caller=KEYED, role=Role.OPERATOR, body=NewRelease, status=201)
async def create(call: Call[NewRelease]) -> dict[str, Any]:
    """Make a release of what is staged."""
    made = await actions.create(call, call.body.wanted, call.body.notes, promote=call.body.promote)
    return wire.done(made)


async def diff(call: Call[None]) -> dict[str, Any]:
    """Say what sets the release ``from`` apart from the release ``to``; without ``to``: from the current one.

    Where there is no such release the ``error`` says so in an answer of status 200: the older command line shows no
    other.
    """
    state: SwarmState = call.state
    said = parse_qs(call.head.raw_query.decode("latin-1"), max_num_fields=50)
    current = state.binhost.store.current()
    before, after = (said.get(name, [""])[0] for name in ("from", "to"))
    after = after or ("" if current is None else current.version)
    if not before or not after:
        raise BadInput("two releases are needed", field="from", hint="such as ?from=2026.02.11&to=2026.02.12")
    try:
        return wire.difference(await state.binhost.releases.compare(before, after))
    except NotFound as missing:
        return {"status": "error", "error": missing.message, "hint": missing.hint}


async def rollback(call: Call[Rollback]) -> dict[str, Any]:
    """Go back to an earlier release."""
    before, after = await actions.rolled_back(call, call.body.version or "")
    return wire.done(after, **{"from": before.version, "to": after.version, "previous": before.version})


async def migrate(call: Call[Migrate]) -> dict[str, Any]:
    """Stage the packages of a folder of this host, and make a release of what is then staged."""
    path = call.body.path or OLD_PKGDIR
    taken = await actions.imported(call, path)
    made = await actions.create(call, call.body.version or "", f"migrated from {path}", promote=False)
    return wire.done(
        made,
        migrated=taken.taken,
        already_staged=taken.known,
        skipped=taken.skipped,
        errors=[{"path": path, "error": reason} for path, reason in taken.reasons],
    )


# The older command line has these below releases, its admin page beside them.
for _prefix in ("/admin/api", RELEASES):
    admin.get(f"{_prefix}/diff", caller=KEYED)(diff)
    for _done, _body in ((rollback, Rollback), (migrate, Migrate)):
        _decode = Reader(_body, may_be_empty=True)  # the page sends none
        admin.post(f"{_prefix}/{_done.__name__}", caller=KEYED, role=Role.OPERATOR, body=_body, decode=_decode)(_done)


@admin.get(ONE, caller=KEYED)
async def release(call: Call[None]) -> dict[str, Any]:
    """Return one release."""
    state: SwarmState = call.state
    return wire.release(state.binhost.store.release(call.path["version"]))


@admin.delete(ONE, caller=KEYED, role=Role.OPERATOR)
async def delete(call: Call[Any]) -> dict[str, Any]:
    """Delete a release that is not the current one."""
    gone = await actions.deleted(call, call.path["version"])
    return {"status": "ok", "version": gone.version, "deleted": gone.version}


@admin.get(f"{ONE}/packages", caller=KEYED)
async def packages(call: Call[None]) -> dict[str, Any]:
    """List what a release has, by path, at most 100,000 packages."""
    state: SwarmState = call.state
    version = state.binhost.store.release(call.path["version"]).version
    found = await state.binhost.store.packages_page(version, after="", limit=PACKAGES_MAX)
    return {"version": version, "packages": [wire.package(one) for one in found], "count": len(found)}


@admin.post(f"{ONE}/promote", caller=KEYED, role=Role.OPERATOR)
async def promote(call: Call[Any]) -> dict[str, Any]:
    """Make a release the current one."""
    state: SwarmState = call.state
    before = state.binhost.store.current()
    made = await actions.promoted(call, call.path["version"])
    return wire.done(made, previous=None if before is None else before.version)


@admin.post(f"{ONE}/archive", caller=KEYED, role=Role.OPERATOR)
async def archive(call: Call[Any]) -> dict[str, Any]:
    """Put a release aside; the current one too, which clients get until another is promoted."""
    return wire.done(await actions.archived(call, call.path["version"], even_current=True))


async def gone(call: Call[Any]) -> None:
    """Say that nothing is copied between two hosts any more."""
    raise Gone(
        f"{call.head.path[:200]} moved packages between two binary hosts, of which there is one now",
        hint="POST /admin/api/releases makes a release, POST /admin/api/releases/VERSION/promote the current one",
    )


for _what in ("flip", "rsync"):
    for _declare in (admin.get, admin.post):
        _declare(f"/admin/api/binhost/{_what}", caller=KEYED, audit=False)(gone)


@public.get("/api/v1/binhost-stats", caller=READERS, access="open")
async def statistics(call: Call[None]) -> dict[str, Any]:
    """Count the packages that clients get: those of the current release, or what is staged while there is none."""
    state: SwarmState = call.state
    figures = await state.binhost.figures()
    current = figures.current
    packages, size = (
        (figures.staged, figures.staged_bytes) if current is None else (current.packages, current.size_bytes)
    )
    return {"packages": packages, "size_mb": round(size / wire.MB, 1), "binhost_ip": state.way_in.of(call.head)[0]}


@public.get("/api/v1/binhost/status", caller=READERS, access="open")
async def status(call: Call[None]) -> dict[str, Any]:
    """Tell how the binary host is."""
    state: SwarmState = call.state
    figures = await state.binhost.figures()
    base = f"{state.way_in.base_url(call.head)}/api/appliance/binhost"
    return {
        "status": "ok" if state.binhost.staging.problem is None else "error",
        "error": state.binhost.staging.problem,
        "binhost_ip": state.way_in.of(call.head)[0],
        "release": None if figures.current is None else figures.current.version,
        "current": None if figures.current is None else wire.release(figures.current),
        "releases": figures.releases,
        "staging": {"packages": figures.staged, "size_mb": round(figures.staged_bytes / wire.MB, 1)},
        "used_mb": round(figures.used_bytes / wire.MB, 1),
        "free_mb": round(figures.free_bytes / wire.MB, 1),
        "urls": {"current": f"{base}/current", "staging": f"{base}/staging"},
    }
