"""Payloads as the documented admin API has them, and what its upstream server sends besides.

``hash`` is ``sha256:`` and 64 digits where versions are listed or added, and the bare digits everywhere else, as the
document shows; ``hash_hex`` is the bare digits wherever there is a hash. Times are whole unix seconds. No text begins a
tag: the errors are what drones have said.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from appliance.plugin import BadInput

from ..wire.decoding import Reader, read
from ..wire.plain import plain
from .deploying import DeployFailed, Installed
from .destinations import SHIPPED, destination
from .models import TEXT_CHARACTERS, WHO_CHARACTERS, DronePayload, LogEntry, NewVersion, PayloadVersion
from .rolling import RollResult
from .service import DRONES_MAX, Matrix, Verified
from .settings import PayloadSettings

DRONE_CHARACTERS: Final = 255

Text = Annotated[str, Meta(max_length=TEXT_CHARACTERS)]
Who = Annotated[str, Meta(max_length=WHO_CHARACTERS)]
DroneName = Annotated[str, Meta(min_length=1, max_length=DRONE_CHARACTERS)]


class NewPayload(msgspec.Struct):
    """A version to be; its content has been taken out of the body before this is read."""

    type: str
    version: str
    content: str
    description: Text | None = None
    notes: Text | None = None
    created_by: Who | None = None


class Deploy(msgspec.Struct):
    """Which drone, and by whom."""

    drone: DroneName
    verify: bool | None = None
    deployed_by: Who | None = None


class RollingDeploy(msgspec.Struct):
    """Which drones, and what happens when one fails."""

    drones: Annotated[list[DroneName], Meta(max_length=DRONES_MAX)] | None = None
    health_check: bool | None = None
    rollback_on_fail: bool | None = None
    deployed_by: Who | None = None


class Verify(msgspec.Struct):
    """Which drone."""

    drone: DroneName


deploy_body: Final = Reader(Deploy)
rolling_body: Final = Reader(RollingDeploy)
verify_body: Final = Reader(Verify)
_new: Final = msgspec.json.Decoder(NewPayload)


def read_new(rest: bytes, who: str) -> NewVersion:
    """Read a body without its content; raises `BadInput`.

    :param who: whose version it is where the body does not say.
    """
    body = read(_new, rest)
    return NewVersion(
        payload_type=body.type,
        version=body.version,
        description=body.description or "",
        notes=body.notes or "",
        created_by=body.created_by or who,
    )


def no_content() -> BadInput:
    """Return the failure of a body without content."""
    return BadInput("$.content: missing, and required", field="$.content", hint="send the file as base64")


# ---------------------------------------------------------------- answers


def version(one: PayloadVersion, path: Path) -> dict[str, Any]:
    """Render a version as in lists."""
    return {
        "id": one.version_id,
        "payload_type": one.payload_type,
        "version": one.version,
        "hash": f"sha256:{one.sha256}",
        "hash_hex": one.sha256,
        "content_path": str(path),
        "content_size": one.size_bytes,
        "description": plain(one.description),
        "notes": plain(one.notes),
        "created_at": _seconds(one.created_unix_us),
        "created_by": plain(one.created_by),
    }


def latest(one: PayloadVersion | None) -> dict[str, Any] | None:
    """Render the newest version of a type."""
    if one is None:
        return None
    return {
        "version": one.version,
        "hash": one.sha256,
        "hash_hex": one.sha256,
        "created_at": _seconds(one.created_unix_us),
    }


def matrix(found: Matrix, settings: PayloadSettings) -> dict[str, Any]:
    """Render what every drone has, and, which no other client asks for, where payloads go there."""
    types = sorted({*SHIPPED, *settings.payload_destinations, *found.newest})
    return {
        "payload_types": sorted(found.newest),
        "latest_versions": {name: latest(one) for name, one in found.newest.items()},
        "drones": {
            drone.name: {row.payload_type: _has(row, is_current=found.is_current(row)) for row in rows}
            for drone, rows in found.drones
        },
        "outdated_count": found.outdated_count,
        "destinations": {name: destination(settings, name).path for name in types},
        "payload_folder": settings.payload_folder,
    }


def _has(row: DronePayload, *, is_current: bool) -> dict[str, Any]:
    return {
        "version": row.version,
        "status": row.status.value,
        "is_current": is_current,
        "hash": row.sha256,
        "hash_hex": row.sha256,
        "deployed_at": _seconds(row.changed_unix_us),
        "deployed_by": plain(row.changed_by),
        "error_message": plain(row.error) or None,
    }


def entry(one: LogEntry) -> dict[str, Any]:
    """Render an entry of the deploy log."""
    return {
        "id": one.entry_id,
        "drone_id": one.drone_id,
        "drone_name": one.drone_name,
        "payload_type": one.payload_type,
        "version": one.version,
        "action": one.action.value,
        "status": one.status,
        "duration_ms": one.duration_ms,
        "error_message": plain(one.error) or None,
        "deployed_at": _seconds(one.at_unix_us),
        "deployed_by": plain(one.by),
    }


def deployed(made: Installed) -> dict[str, Any]:
    """Render a deploy that went well."""
    return {
        "status": "ok",
        "drone": made.drone.name,
        "payload_type": made.version.payload_type,
        "version": made.version.version,
        "message": made.message,
    }


def not_deployed(error: DeployFailed, drone: str, payload_type: str, name: str) -> dict[str, Any]:
    """Render a deploy that failed: the error shape of this API, with what upstream clients read."""
    return {
        "status": "error",
        "drone": drone,
        "payload_type": payload_type,
        "version": name,
        "message": plain(error.message),
        "error": plain(error.message),
        "hint": error.hint or "the deploy log has all attempts",
    }


def rolled(payload_type: str, name: str, results: Sequence[RollResult]) -> dict[str, Any]:
    """Render a roll: ``ok`` where every drone has the version, else ``partial``, as the upstream server says."""
    good = sum(one.success for one in results)
    bad = len(results) - good
    return {
        "status": "partial" if bad else "ok",
        "payload_type": payload_type,
        "version": name,
        "success_count": good,
        "fail_count": bad,
        "results": {one.drone: result(one) for one in results},
    }


def result(one: RollResult) -> dict[str, Any]:
    """Render how it went with one drone of a roll."""
    found: dict[str, Any] = {"success": one.success, "message": plain(one.message)}
    if one.hint:
        found["hint"] = one.hint
    return found


def verified(found: Verified) -> dict[str, Any]:
    """Render a comparison."""
    return {
        "drone": found.drone,
        "payload_type": found.payload_type,
        "matches": found.matches,
        "remote_hash": found.sha256,
        "message": plain(found.message),
        "version": found.expected.version,
        "hash": found.expected.sha256,
        "hash_hex": found.expected.sha256,
    }


def _seconds(unix_us: int) -> int:
    return unix_us // 1_000_000
