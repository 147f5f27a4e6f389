"""What operators do to releases, told to everybody: the same for our own API and the documented one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.plugin import BadInput, Call

from .. import callers
from ..state import SwarmState
from .importing import Imported, import_folder
from .models import Release


async def create(call: Call[Any], version: str, notes: str, *, promote: bool) -> Release:
    """Make a release of what is staged, and where it is asked for the current one too."""
    state: SwarmState = call.state
    by = callers.who(call.caller)
    made = await state.binhost.releases.create(version, notes=notes, by=by)
    details = {"version": made.version, "packages": made.packages, "bytes": made.size_bytes}
    _told(call, "created", made.version, f"release {made.version} was made of {made.packages} packages", details)
    return await promoted(call, made.version) if promote else made


async def promoted(call: Call[Any], version: str) -> Release:
    """Make a release the current one."""
    state: SwarmState = call.state
    made = await state.binhost.releases.promote(version)
    _told(call, "promoted", version, f"release {version} is the current one", {"packages": made.packages})
    return made


async def rolled_back(call: Call[Any], version: str) -> tuple[Release, Release]:
    """Go back to an earlier release."""
    state: SwarmState = call.state
    before, after = await state.binhost.releases.rollback(version)
    words = f"release {after.version} is the current one again, in place of {before.version}"
    _told(call, "rolled back", after.version, words, {"from": before.version, "to": after.version})
    return before, after


async def archived(call: Call[Any], version: str, *, even_current: bool = False) -> Release:
    """Put a release aside."""
    state: SwarmState = call.state
    made = await state.binhost.releases.archive(version, even_current=even_current)
    _told(call, "archived", version, f"release {version} is archived", {})
    return made


async def deleted(call: Call[Any], version: str) -> Release:
    """Delete a release."""
    state: SwarmState = call.state
    gone = await state.binhost.releases.delete(version)
    _told(call, "deleted", version, f"release {version} is deleted", {"packages": gone.packages})
    return gone


async def imported(call: Call[Any], path: str) -> Imported:
    """Bring the packages of a folder of this host into the staging area."""
    state: SwarmState = call.state
    if not path or "\0" in path:
        raise BadInput("no folder is named", field="path", hint="name a PKGDIR by its absolute path")
    by = callers.who(call.caller)
    done = await import_folder(state.binhost.staging, Path(path), by=f"operator:{by}")
    words = f"{done.taken} packages were taken from {path[:200]}, {done.skipped} were not"
    _told(call, "imported", path[:200], words, {"taken": done.taken, "known": done.known, "skipped": done.skipped})
    return done


def _told(call: Call[Any], what: str, version: str, words: str, details: Mapping[str, Any]) -> None:
    state: SwarmState = call.state
    told = {"action": what, "version": version, "by": callers.who(call.caller), **details}
    state.swarm.chronicle.note("release", words, details=told)
