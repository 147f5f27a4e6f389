"""Stored events: a table that rises, and never grows beyond its age and its bytes."""

import sqlite3
from typing import Any, Final

import msgspec

from appliance.events.model import Event
from appliance.migrations import Migration

OWNER: Final = "events"

KEPT_SECONDS: Final = 7 * 86_400
KEPT_BYTES: Final = 64 * 2**20
PRUNED_AT_ONCE: Final = 64  # a publish never waits for a large clean-up; 64 times as fast as events come in is enough

MIGRATIONS: Final = (
    Migration(
        version=1,
        name="events",
        sql="""
-- AUTOINCREMENT: an id is never used again, also after all events are gone, for readers continue after an id.
CREATE TABLE events_event (
    event_id INTEGER PRIMARY KEY AUTOINCREMENT,
    at_unix_us INTEGER NOT NULL,
    kind TEXT NOT NULL,
    level TEXT NOT NULL,
    subject TEXT NOT NULL,
    source TEXT NOT NULL,
    message TEXT NOT NULL,
    data TEXT NOT NULL,
    size_bytes INTEGER NOT NULL
) STRICT;
CREATE TABLE events_total (only INTEGER PRIMARY KEY CHECK (only = 1), size_bytes INTEGER NOT NULL) STRICT;
INSERT INTO events_total (only, size_bytes) VALUES (1, 0);
""",
    ),
)

_INSERT = """
INSERT INTO events_event (at_unix_us, kind, level, subject, source, message, data, size_bytes)
VALUES (:at_unix_us, :kind, :level, :subject, :source, :message, :data, :size_bytes)
RETURNING event_id"""
_ADD = "UPDATE events_total SET size_bytes = size_bytes + :change RETURNING size_bytes"
_OLDEST = "SELECT event_id, at_unix_us, size_bytes FROM events_event ORDER BY event_id LIMIT :limit"
_PRUNE = "DELETE FROM events_event WHERE event_id <= :event_id"
_COLUMNS = "event_id, at_unix_us, kind, level, subject, source, message, data"
_AFTER = f"SELECT {_COLUMNS} FROM events_event WHERE event_id > :after_id{{kinds}} ORDER BY event_id LIMIT :limit"  # noqa: S608  fixed columns
_NEWEST = f"SELECT {_COLUMNS} FROM events_event WHERE TRUE{{kinds}} ORDER BY event_id DESC LIMIT :limit"  # noqa: S608  fixed columns


def insert(connection: sqlite3.Connection, event: Event, data: str, *, kept_seconds: float, kept_bytes: int) -> int:
    """Store ``event`` with its encoded ``data``, drop what is too old or too much, and return its id."""
    size_bytes = 64 + sum(len(text.encode()) for text in (event.kind, event.subject, event.source, event.message, data))
    values = {
        "at_unix_us": event.at_unix_us,
        "kind": event.kind,
        "level": event.level,
        "subject": event.subject,
        "source": event.source,
        "message": event.message,
        "data": data,
        "size_bytes": size_bytes,
    }
    (event_id,) = connection.execute(_INSERT, values).fetchone()
    (total,) = connection.execute(_ADD, {"change": size_bytes}).fetchone()
    oldest = connection.execute(_OLDEST, {"limit": PRUNED_AT_ONCE}).fetchall()
    _prune(connection, oldest, event.at_unix_us - int(kept_seconds * 1_000_000), total - kept_bytes, int(event_id))
    return int(event_id)


def _prune(
    connection: sqlite3.Connection,
    oldest: list[tuple[int, int, int]],
    cutoff_unix_us: int,
    surplus: int,
    newest_id: int,
) -> None:
    last_id, freed = 0, 0
    for event_id, at_unix_us, size_bytes in oldest:
        if event_id == newest_id or (at_unix_us >= cutoff_unix_us and freed >= surplus):
            break
        last_id, freed = event_id, freed + size_bytes
    if last_id:
        connection.execute(_PRUNE, {"event_id": last_id})
        connection.execute(_ADD, {"change": -freed})


def totals(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return how many events were ever stored, and the size in bytes of those that are kept."""
    (size_bytes,) = connection.execute("SELECT size_bytes FROM events_total").fetchone()
    stored = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events_event'").fetchone()
    return (int(stored[0]) if stored else 0), int(size_bytes)


def after(connection: sqlite3.Connection, after_id: int, limit: int, kinds: tuple[str, ...]) -> list[Event]:
    """Return events with a greater id, oldest first."""
    clause, values = _by_kind(kinds)
    rows = connection.execute(_AFTER.format(kinds=clause), values | {"after_id": after_id, "limit": limit})
    return [_event(row) for row in rows]


def newest(connection: sqlite3.Connection, limit: int, kinds: tuple[str, ...]) -> list[Event]:
    """Return the newest events, oldest first."""
    clause, values = _by_kind(kinds)
    rows = connection.execute(_NEWEST.format(kinds=clause), values | {"limit": limit}).fetchall()
    return [_event(row) for row in reversed(rows)]


def _by_kind(kinds: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    if not kinds:
        return "", {}
    tests = [f"substr(kind, 1, length(:kind{number})) = :kind{number}" for number in range(len(kinds))]
    return f" AND ({' OR '.join(tests)})", {f"kind{number}": kind for number, kind in enumerate(kinds)}


def _event(row: tuple[int, int, str, str, str, str, str, str]) -> Event:
    event_id, at_unix_us, kind, level, subject, source, message, data = row
    return Event(
        event_id=event_id,
        at_unix_us=at_unix_us,
        kind=kind,
        level=level,
        subject=subject,
        source=source,
        message=message,
        data=msgspec.json.decode(data),
    )
