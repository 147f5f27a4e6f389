"""The admin surface about what drones may have in their world: the allowlist."""

from typing import Any, Final

import msgspec
from attrs import field, frozen
from attrs.validators import max_len

from appliance.plugin import BadInput, Call, Forbidden, NotFound, Role, TooLarge

from . import callers
from . import drone_config_store as store
from .drone_world import is_package
from .models import is_name
from .state import SwarmState
from .surfaces import KEYED, admin
from .wire.decoding import Reader
from .wire.moments import seconds
from .wire.plain import plain

PREFIX: Final = "/admin/api/drones/allowlist"
ENTRIES_MAX: Final = 10_000
TEXT_CHARACTERS: Final = 500


@frozen
class DroneQuery:
    """For which drone; without it, for all."""

    drone: str = field(default="", validator=max_len(255))


@admin.get(PREFIX, caller=KEYED, query=DroneQuery)
async def allowlist(call: Call[None]) -> dict[str, Any]:
    """List the packages that every drone may have, and those of one drone, or (without ``drone``) of each."""
    state: SwarmState = call.state
    found = state.core.database.read_now(lambda connection: store.allowed(connection, call.query.drone or None))
    return {
        "allowlist": [
            {
                "id": each.entry_id,
                "drone_id": each.drone,
                "package": each.package,
                "reason": plain(each.reason) or None,
                "protected": each.protected,
                "added_at": seconds(each.added_unix_us) if each.added_unix_us else None,
                "added_by": plain(each.added_by),
            }
            for each in found
        ]
    }


class Allow(msgspec.Struct):
    """A package that a drone may have, or every drone."""

    package: str = ""
    drone: str | None = None
    reason: str | None = None
    added_by: str | None = None


@admin.post(PREFIX, caller=KEYED, role=Role.OPERATOR, body=Allow, decode=Reader(Allow))
async def allow(call: Call[Allow]) -> dict[str, Any]:
    """Add a package; one that is there already is answered as it is."""
    state: SwarmState = call.state
    body = call.body
    if not body.package:
        raise BadInput('Missing "package"', field="package", hint="such as app-misc/screen")
    if not is_package(body.package):
        raise BadInput("package: category/name, perhaps with a slot, or a set", field="package")
    if body.drone and not is_name(body.drone):
        raise BadInput("drone: not a drone's name", field="drone")
    given = {
        "drone": body.drone or None,
        "package": body.package,
        "reason": (body.reason or "")[:TEXT_CHARACTERS],
        "added_unix_us": state.core.now(),
        "added_by": (body.added_by or callers.who(call.caller))[:TEXT_CHARACTERS],
    }
    entry_id = await state.core.database.write(lambda connection: store.allow(connection, given, ENTRIES_MAX))
    if not entry_id:
        raise TooLarge(f"the allowlist has {ENTRIES_MAX} entries already")
    return {"status": "ok", "id": entry_id, "package": body.package}


@admin.delete(f"{PREFIX}/{{entry_id}}", caller=KEYED, role=Role.OPERATOR)
async def deny(call: Call[None]) -> dict[str, Any]:
    """Take an entry out; what no drone can be without stays."""
    state: SwarmState = call.state
    text = call.path["entry_id"]
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise BadInput("Invalid allowlist entry ID", field="entry_id")
    entry_id = int(text)
    gone = await state.core.database.write(lambda connection: store.deny(connection, entry_id))
    if gone is None:
        raise Forbidden("this package is protected: no drone can be without it", hint="it stays in the allowlist")
    if not gone:
        raise NotFound("allowlist entry", text)
    return {"status": "ok", "deleted": entry_id}
