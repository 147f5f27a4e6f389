"""All SQL of profiles and snapshots. Functions that write are given the connection of a transaction."""

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from attrs import frozen

from appliance.plugin import Migration

MIGRATIONS: Final = (
    Migration(
        version=7,
        name="profiles and snapshots",
        sql="""
CREATE TABLE build_swarm_profile (
    profile_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    atoms TEXT NOT NULL,
    created_unix_us INTEGER NOT NULL,
    updated_unix_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE build_swarm_snapshot (
    snapshot_id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    profile_id TEXT,
    atoms TEXT NOT NULL,
    created_unix_us INTEGER NOT NULL,
    created_by TEXT NOT NULL
) STRICT;
""",
    ),
)
_PROFILE: Final = "profile_id, name, description, atoms, created_unix_us, updated_unix_us"
_SNAPSHOT: Final = "snapshot_id, name, profile_id, atoms, created_unix_us, created_by"
_atoms: Final = msgspec.json.Decoder(tuple[str, ...])


@frozen(kw_only=True)
class Profile:
    """A named set of packages that a kind of host wants."""

    profile_id: str
    name: str
    description: str
    atoms: tuple[str, ...]
    created_unix_us: int
    updated_unix_us: int


@frozen(kw_only=True)
class Snapshot:
    """What a profile, or the whole queue, had at some time; it never changes."""

    snapshot_id: int
    name: str
    profile_id: str | None
    """``None``: of what the swarm had built."""
    atoms: tuple[str, ...]
    created_unix_us: int
    created_by: str


def profiles(connection: sqlite3.Connection) -> list[Profile]:
    """Return every profile by id."""
    rows = connection.execute(f"SELECT {_PROFILE} FROM build_swarm_profile ORDER BY profile_id")  # noqa: S608 (ours)
    return [_profile(row) for row in rows]


def profile(connection: sqlite3.Connection, profile_id: str) -> Profile | None:
    """Return one profile."""
    statement = f"SELECT {_PROFILE} FROM build_swarm_profile WHERE profile_id = ?"  # noqa: S608 (ours)
    row = connection.execute(statement, (profile_id,)).fetchone()
    return None if row is None else _profile(row)


def count_profiles(connection: sqlite3.Connection) -> int:
    """Return how many profiles there are."""
    return int(connection.execute("SELECT count(*) FROM build_swarm_profile").fetchone()[0])


def insert(connection: sqlite3.Connection, made: Profile) -> bool:
    """Add a profile; return whether its id was free."""
    values = (
        made.profile_id,
        made.name,
        made.description,
        _text(made.atoms),
        made.created_unix_us,
        made.updated_unix_us,
    )
    statement = f"INSERT INTO build_swarm_profile ({_PROFILE}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"  # noqa: S608 (ours)
    return connection.execute(statement, values).rowcount == 1


def set_atoms(connection: sqlite3.Connection, profile_id: str, atoms: Sequence[str], now_unix_us: int) -> bool:
    """Give a profile other packages; return whether it exists."""
    statement = "UPDATE build_swarm_profile SET atoms = ?, updated_unix_us = ? WHERE profile_id = ?"
    return connection.execute(statement, (_text(atoms), now_unix_us, profile_id)).rowcount == 1


def delete(connection: sqlite3.Connection, profile_id: str) -> bool:
    """Remove a profile; its snapshots stay. Return whether it existed."""
    return connection.execute("DELETE FROM build_swarm_profile WHERE profile_id = ?", (profile_id,)).rowcount == 1


def snapshots(connection: sqlite3.Connection) -> list[Snapshot]:
    """Return every snapshot, newest first."""
    rows = connection.execute(f"SELECT {_SNAPSHOT} FROM build_swarm_snapshot ORDER BY snapshot_id DESC")  # noqa: S608 (ours)
    return [_snapshot(row) for row in rows]


def insert_snapshot(connection: sqlite3.Connection, made: Snapshot, most: int) -> Snapshot:
    """Add a snapshot under the next number; the oldest beyond ``most`` go."""
    values = (made.name, made.profile_id, _text(made.atoms), made.created_unix_us, made.created_by)
    row = connection.execute(
        "INSERT INTO build_swarm_snapshot (name, profile_id, atoms, created_unix_us, created_by)"
        " VALUES (?, ?, ?, ?, ?) RETURNING snapshot_id",
        values,
    ).fetchone()
    connection.execute(
        "DELETE FROM build_swarm_snapshot WHERE snapshot_id NOT IN"
        " (SELECT snapshot_id FROM build_swarm_snapshot ORDER BY snapshot_id DESC LIMIT ?)",
        (most,),
    )
    return Snapshot(
        snapshot_id=row[0],
        name=made.name,
        profile_id=made.profile_id,
        atoms=made.atoms,
        created_unix_us=made.created_unix_us,
        created_by=made.created_by,
    )


def _text(atoms: Sequence[str]) -> str:
    return msgspec.json.encode(tuple(atoms)).decode()


def _profile(row: Sequence[Any]) -> Profile:
    return Profile(
        profile_id=row[0],
        name=row[1],
        description=row[2],
        atoms=_atoms.decode(row[3]),
        created_unix_us=row[4],
        updated_unix_us=row[5],
    )


def _snapshot(row: Sequence[Any]) -> Snapshot:
    return Snapshot(
        snapshot_id=row[0],
        name=row[1],
        profile_id=row[2],
        atoms=_atoms.decode(row[3]),
        created_unix_us=row[4],
        created_by=row[5],
    )
