"""All SQL of payloads. Functions that write are given the connection of a transaction."""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from attrs import asdict, frozen

from appliance.plugin import Conflict, TooLarge

from .models import (
    LOG_ROWS_MAX,
    SUCCESS,
    VERSIONS_MAX,
    Action,
    DeployStatus,
    DronePayload,
    LogEntry,
    NewVersion,
    PayloadVersion,
)

_VERSION: Final = """
SELECT version_id, payload_type, version, sha256, size_bytes, file, description, notes, created_unix_us, created_by
  FROM build_swarm_payload"""
_ALL: Final = f"{_VERSION} ORDER BY version_id DESC"
_ONE: Final = f"{_VERSION} WHERE payload_type = :payload_type AND version = :version"
_PUT: Final = """
INSERT INTO build_swarm_payload (payload_type, version, sha256, size_bytes, file, description, notes, created_unix_us,
    created_by)
VALUES (:payload_type, :version, :sha256, :size_bytes, :file, :description, :notes, :created_unix_us, :created_by)"""
_DROP: Final = "DELETE FROM build_swarm_payload WHERE version_id = :version_id"
_TOTALS: Final = "SELECT count(*), coalesce(sum(size_bytes), 0) FROM build_swarm_payload"
_DRONES: Final = """
SELECT drone_id, payload_type, version, sha256, status, error, changed_unix_us, changed_by
  FROM build_swarm_payload_drone ORDER BY drone_id, payload_type"""
_PUT_DRONE: Final = """
INSERT INTO build_swarm_payload_drone (drone_id, payload_type, version, sha256, status, error, changed_unix_us,
    changed_by)
VALUES (:drone_id, :payload_type, :version, :sha256, :status, :error, :changed_unix_us, :changed_by)
ON CONFLICT (drone_id, payload_type) DO UPDATE SET version = excluded.version, sha256 = excluded.sha256,
    status = excluded.status, error = excluded.error, changed_unix_us = excluded.changed_unix_us,
    changed_by = excluded.changed_by"""
_DROP_DRONE: Final = """
DELETE FROM build_swarm_payload_drone WHERE drone_id = :drone_id AND payload_type = :payload_type"""
_INTERRUPT_DRONES: Final = """
UPDATE build_swarm_payload_drone SET status = 'failed', error = :error WHERE status = 'deploying'"""
_INTERRUPT_LOG: Final = """
UPDATE build_swarm_payload_log SET status = 'failed', error = :error WHERE status = 'deploying'"""
_LOG: Final = """
INSERT INTO build_swarm_payload_log (drone_id, drone_name, payload_type, version, action, status, duration_ms, error,
    at_unix_us, by)
VALUES (:drone_id, :drone_name, :payload_type, :version, :action, :status, :duration_ms, :error, :at_unix_us, :by)"""
_LOG_END: Final = """
UPDATE build_swarm_payload_log SET status = :status, duration_ms = :duration_ms, error = :error
 WHERE entry_id = :entry_id"""
_LOG_CUT: Final = "DELETE FROM build_swarm_payload_log WHERE entry_id <= :entry_id"
_LOG_PAGE: Final = """
SELECT entry_id, drone_id, drone_name, payload_type, version, action, status, duration_ms, error, at_unix_us, by
  FROM build_swarm_payload_log
 WHERE payload_type = :payload_type AND (:drone = '' OR drone_name = :drone OR drone_id = :drone)
 ORDER BY entry_id DESC LIMIT :limit"""


@frozen(kw_only=True)
class Added:
    """A version that is there now, and whether it was not before."""

    version: PayloadVersion
    is_new: bool


def versions(connection: sqlite3.Connection) -> list[PayloadVersion]:
    """Return every version, newest first: by the order in which they were made."""
    return [_version(row) for row in connection.execute(_ALL)]


def version(connection: sqlite3.Connection, payload_type: str, name: str) -> PayloadVersion | None:
    """Return one version."""
    row = connection.execute(_ONE, {"payload_type": payload_type, "version": name}).fetchone()
    return None if row is None else _version(row)


def add(
    connection: sqlite3.Connection,
    new: NewVersion,
    *,
    sha256: str,
    size_bytes: int,
    file: str,
    now_unix_us: int,
    bytes_max: int,
) -> Added:
    """Store a version, or return the one of that name where it has the same content.

    :param bytes_max: of all versions together.
    :raises Conflict: it has another content.
    :raises TooLarge: there would be too many, or too much.
    """
    found = version(connection, new.payload_type, new.version)
    if found is not None:
        if found.sha256 != sha256:
            raise Conflict(
                f"{found.label} exists already with other content (sha256 {found.sha256})",
                hint="a version never changes: give this content another one",
            )
        return Added(version=found, is_new=False)
    count, total = connection.execute(_TOTALS).fetchone()
    if count >= VERSIONS_MAX or total + size_bytes > bytes_max:
        raise TooLarge(
            f"there are {count} versions of {total} bytes already, and may be {VERSIONS_MAX} of {bytes_max} bytes",
            hint="appliance swarm payload remove TYPE VERSION, or raise payload_bytes_max",
        )
    values = {**asdict(new), "sha256": sha256, "size_bytes": size_bytes, "file": file, "created_unix_us": now_unix_us}
    connection.execute(_PUT, values)
    made = version(connection, new.payload_type, new.version)
    assert made is not None
    return Added(version=made, is_new=True)


def remove(connection: sqlite3.Connection, wanted: PayloadVersion) -> None:
    """Delete a version."""
    connection.execute(_DROP, {"version_id": wanted.version_id})


# ---------------------------------------------------------------- what drones have


def drone_payloads(connection: sqlite3.Connection) -> list[DronePayload]:
    """Return what every drone has."""
    return [
        DronePayload(
            drone_id=drone_id,
            payload_type=payload_type,
            version=name,
            sha256=sha256,
            status=DeployStatus(status),
            error=error,
            changed_unix_us=at,
            changed_by=by,
        )
        for drone_id, payload_type, name, sha256, status, error, at, by in connection.execute(_DRONES)
    ]


def put_drone(connection: sqlite3.Connection, has: DronePayload) -> None:
    """Store what a drone has of one type."""
    connection.execute(_PUT_DRONE, {**asdict(has), "status": has.status.value})


def drop_drone(connection: sqlite3.Connection, drone_id: str, payload_type: str) -> None:
    """Forget what a drone has of one type: it has nothing."""
    connection.execute(_DROP_DRONE, {"drone_id": drone_id, "payload_type": payload_type})


def interrupted(connection: sqlite3.Connection, error: str) -> int:
    """Call failed what was under way when the appliance ended; return how many attempts that were."""
    connection.execute(_INTERRUPT_DRONES, {"error": error})
    return connection.execute(_INTERRUPT_LOG, {"error": error}).rowcount


# ---------------------------------------------------------------- the deploy log


def log_start(connection: sqlite3.Connection, entry: LogEntry) -> int:
    """Store an entry, and return its number; the oldest go when there are too many."""
    entry_id = int(connection.execute(_LOG, {**asdict(entry), "action": entry.action.value}).lastrowid or 0)
    connection.execute(_LOG_CUT, {"entry_id": entry_id - LOG_ROWS_MAX})
    return entry_id


def log_end(connection: sqlite3.Connection, entry_id: int, *, error: str, duration_ms: float) -> None:
    """Say how an attempt ended; without an error, well."""
    status = DeployStatus.FAILED.value if error else SUCCESS
    values = {"entry_id": entry_id, "status": status, "error": error, "duration_ms": round(duration_ms, 1)}
    connection.execute(_LOG_END, values)


def log_page(connection: sqlite3.Connection, payload_type: str, *, drone: str, limit: int) -> list[LogEntry]:
    """Return entries of one type, newest first.

    :param drone: name or id; empty for every drone.
    """
    rows = connection.execute(_LOG_PAGE, {"payload_type": payload_type, "drone": drone, "limit": limit})
    return [
        LogEntry(
            entry_id=entry_id,
            drone_id=drone_id,
            drone_name=drone_name,
            payload_type=kind,
            version=name,
            action=Action(action),
            status=status,
            duration_ms=duration_ms,
            error=error,
            at_unix_us=at,
            by=by,
        )
        for entry_id, drone_id, drone_name, kind, name, action, status, duration_ms, error, at, by in rows
    ]


def _version(row: Sequence[Any]) -> PayloadVersion:
    version_id, payload_type, name, sha256, size_bytes, file, description, notes, created_unix_us, created_by = row
    return PayloadVersion(
        version_id=version_id,
        payload_type=payload_type,
        version=name,
        sha256=sha256,
        size_bytes=size_bytes,
        file=file,
        description=description,
        notes=notes,
        created_unix_us=created_unix_us,
        created_by=created_by,
    )
