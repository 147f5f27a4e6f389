"""All SQL of what operators set for single drones, of the configuration by key, and of the allowlist."""

import json
import sqlite3
from typing import Any, Final

from attrs import asdict, frozen

from .drone_config import DroneConfig

_CONFIGS: Final = "SELECT drone, fields, created_unix_us, updated_unix_us FROM build_swarm_drone_config ORDER BY drone"
_PUT_CONFIG: Final = """
INSERT INTO build_swarm_drone_config (drone, fields, created_unix_us, updated_unix_us)
VALUES (:drone, :fields, :created_unix_us, :updated_unix_us)
ON CONFLICT (drone) DO UPDATE SET fields = excluded.fields, updated_unix_us = excluded.updated_unix_us"""
_DROP_CONFIG: Final = "DELETE FROM build_swarm_drone_config WHERE drone = :drone"
_VALUES: Final = "SELECT key, value, updated_unix_us FROM build_swarm_config ORDER BY key"
_COUNT_OTHERS: Final = "SELECT count(*) FROM build_swarm_config WHERE key <> :key"
_PUT_VALUE: Final = """
INSERT INTO build_swarm_config (key, value, updated_unix_us) VALUES (:key, :value, :updated_unix_us)
ON CONFLICT (key) DO UPDATE SET value = excluded.value, updated_unix_us = excluded.updated_unix_us"""
_ALLOWED: Final = """
SELECT entry_id, drone, package, reason, protected, added_unix_us, added_by FROM build_swarm_allowlist
 WHERE :drone IS NULL OR drone IS NULL OR drone = :drone ORDER BY drone IS NOT NULL, drone, package, entry_id"""
_COUNT_ALLOWED: Final = "SELECT count(*) FROM build_swarm_allowlist"
_SAME_ALLOWED: Final = "SELECT entry_id FROM build_swarm_allowlist WHERE package = :package AND drone IS :drone"
_ALLOW: Final = """
INSERT INTO build_swarm_allowlist (drone, package, reason, protected, added_unix_us, added_by)
VALUES (:drone, :package, :reason, 0, :added_unix_us, :added_by)"""
_IS_PROTECTED: Final = "SELECT protected FROM build_swarm_allowlist WHERE entry_id = :entry_id"
_DENY: Final = "DELETE FROM build_swarm_allowlist WHERE entry_id = :entry_id AND NOT protected"


@frozen(kw_only=True)
class Value:
    """One entry of the configuration by key."""

    key: str
    value: str
    updated_unix_us: int


@frozen(kw_only=True)
class Allowed:
    """A package that drones may have in their world set."""

    entry_id: int
    drone: str | None
    """A name; ``None``: every drone."""
    package: str
    reason: str
    protected: int
    added_unix_us: int
    added_by: str


def configs(connection: sqlite3.Connection) -> list[DroneConfig]:
    """Return what is set for drones, by name."""
    return [
        DroneConfig(drone=drone, fields=json.loads(fields), created_unix_us=created, updated_unix_us=updated)
        for drone, fields, created, updated in connection.execute(_CONFIGS)
    ]


def put_config(connection: sqlite3.Connection, config: DroneConfig) -> None:
    """Store what is set for a drone."""
    connection.execute(_PUT_CONFIG, asdict(config) | {"fields": json.dumps(dict(config.fields))})


def drop_config(connection: sqlite3.Connection, drone: str) -> bool:
    """Forget what is set for a drone; return whether anything was."""
    return connection.execute(_DROP_CONFIG, {"drone": drone}).rowcount > 0


def values(connection: sqlite3.Connection) -> list[Value]:
    """Return the configuration by key."""
    return [Value(key=key, value=value, updated_unix_us=at) for key, value, at in connection.execute(_VALUES)]


def put_value(connection: sqlite3.Connection, value: Value, most: int) -> bool:
    """Store one entry; return whether there was room for it."""
    if connection.execute(_COUNT_OTHERS, {"key": value.key}).fetchone()[0] >= most:
        return False
    connection.execute(_PUT_VALUE, asdict(value))
    return True


def allowed(connection: sqlite3.Connection, drone: str | None) -> list[Allowed]:
    """Return what every drone may have, and what one may have besides (``None``: what any may)."""
    names = ("entry_id", "drone", "package", "reason", "protected", "added_unix_us", "added_by")
    rows = connection.execute(_ALLOWED, {"drone": drone}).fetchall()
    return [Allowed(**dict(zip(names, row, strict=True))) for row in rows]


def allow(connection: sqlite3.Connection, given: dict[str, Any], most: int) -> int:
    """Add a package; return its id, that of the same entry where there is one, and 0 where there is no room."""
    same = connection.execute(_SAME_ALLOWED, given).fetchone()
    if same is not None:
        return int(same[0])
    if connection.execute(_COUNT_ALLOWED).fetchone()[0] >= most:
        return 0
    return int(connection.execute(_ALLOW, given).lastrowid or 0)


def deny(connection: sqlite3.Connection, entry_id: int) -> bool | None:
    """Take a package out; return whether it was there, ``None`` where it is protected."""
    found = connection.execute(_IS_PROTECTED, {"entry_id": entry_id}).fetchone()
    if found is not None and found[0]:
        return None
    return connection.execute(_DENY, {"entry_id": entry_id}).rowcount > 0
