"""All SQL of the protocol log and of the figures over time."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

from attrs import asdict, fields, frozen

from .messages import Entry

_PUT: Final = """
INSERT INTO build_swarm_protocol (unix_us, source_ip, source_node, method, path, msg_type, drone_id, package,
    session_id, status_code, request_summary, response_summary, request_body, response_body, latency_ms,
    content_length, size_bytes)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_SHOWN: Final = """
entry_id AS id, unix_us, source_ip, source_node, method, path, msg_type, drone_id, package, session_id, status_code,
request_summary, response_summary, latency_ms, content_length"""
_FILTERED: Final = f"""
SELECT {_SHOWN} FROM build_swarm_protocol
 WHERE entry_id > :after_id AND unix_us >= :since_unix_us AND latency_ms >= :min_latency_ms
   AND (:msg_type = '' OR msg_type = :msg_type)
   AND (:drone = '' OR drone_id = :drone OR source_node = :drone)
   AND (:package = '' OR instr(package, :package))"""  # noqa: S608  our own columns
_FIRST: Final = f"{_FILTERED} ORDER BY entry_id LIMIT :limit"
_NEWEST: Final = f"SELECT * FROM ({_FILTERED} ORDER BY entry_id DESC LIMIT :limit) ORDER BY id"  # noqa: S608  the same
_ONE: Final = f"SELECT {_SHOWN}, request_body, response_body FROM build_swarm_protocol WHERE entry_id = :id"  # noqa: S608
_STATISTICS: Final = """
SELECT msg_type, count(*) AS count, avg(latency_ms) AS avg_latency, max(latency_ms) AS max_latency
  FROM build_swarm_protocol WHERE unix_us >= :since_unix_us GROUP BY msg_type ORDER BY count(*) DESC, msg_type"""
_DENSITY: Final = """
SELECT min((unix_us - :start) * :buckets / (:end - :start), :buckets - 1) AS bucket, count(*)
  FROM build_swarm_protocol WHERE unix_us BETWEEN :start AND :end GROUP BY bucket"""
_SIZE: Final = "SELECT coalesce(sum(size_bytes), 0) FROM build_swarm_protocol"
_FIRST_TO_KEEP: Final = """
SELECT entry_id FROM (
    SELECT entry_id, sum(size_bytes) OVER (ORDER BY entry_id DESC) AS newer_bytes FROM build_swarm_protocol
) WHERE newer_bytes <= :most ORDER BY entry_id LIMIT 1"""
_FIRST_SINCE: Final = "SELECT coalesce(max(entry_id), 0) + 1 FROM build_swarm_protocol WHERE unix_us < :before"
_DROP: Final = """
DELETE FROM build_swarm_protocol WHERE entry_id IN (
    SELECT entry_id FROM build_swarm_protocol WHERE entry_id < :first_id ORDER BY entry_id LIMIT :limit
) RETURNING size_bytes"""

_PUT_METRIC: Final = """
INSERT INTO build_swarm_metric (unix_us, drone_id, drone, status, current_task, cpu_percent, ram_percent, load_1m,
    needed, delegated, received, blocked)
VALUES (:unix_us, :drone_id, :drone, :status, :current_task, :cpu_percent, :ram_percent, :load_1m, :needed, :delegated,
    :received, :blocked) ON CONFLICT DO NOTHING"""
_METRICS: Final = """
SELECT max(unix_us) AS unix_us, drone_id, max(drone) AS drone, avg(cpu_percent) AS cpu_percent,
    avg(ram_percent) AS ram_percent, avg(load_1m) AS load_1m, max(needed) AS needed, max(delegated) AS delegated,
    max(received) AS received, max(blocked) AS blocked
  FROM build_swarm_metric WHERE drone_id = :drone_id AND unix_us >= :since
 GROUP BY unix_us / :bucket_us ORDER BY unix_us DESC LIMIT :limit"""
_AT: Final = """
SELECT * FROM build_swarm_metric
 WHERE unix_us = (SELECT max(unix_us) FROM build_swarm_metric WHERE unix_us <= :at AND unix_us > :oldest)"""
_DROP_METRICS: Final = """
DELETE FROM build_swarm_metric WHERE unix_us < :before AND unix_us <= (
    SELECT max(unix_us) FROM (SELECT unix_us FROM build_swarm_metric ORDER BY unix_us LIMIT :limit))"""


@frozen(kw_only=True)
class Filter:
    """Which entries of the protocol log."""

    after_id: int = 0
    since_unix_us: int = 0
    msg_type: str = ""
    drone: str = ""
    """Id or name."""
    package: str = ""
    """A part of the atom."""
    min_latency_ms: float = 0.0
    limit: int = 200


def put(connection: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    """Add entries to the protocol log."""
    connection.executemany(_PUT, map(_values, entries))


_fields: Final = attrgetter(*(each.name for each in fields(Entry)), "size_bytes")
"""Of an entry, in the order of `_PUT`: by place, since there are hundreds a second where there is a flood."""


def _values(entry: Entry) -> tuple[Any, ...]:
    found: tuple[Any, ...] = _fields(entry)
    return found


def entries(connection: sqlite3.Connection, wanted: Filter) -> list[dict[str, Any]]:
    """Return entries, oldest first: from a place on the first, else the newest."""
    is_from = wanted.after_id or wanted.since_unix_us
    return _rows(connection, _FIRST if is_from else _NEWEST, asdict(wanted))


def entry(connection: sqlite3.Connection, entry_id: int) -> dict[str, Any] | None:
    """Return one entry with its bodies."""
    found = _rows(connection, _ONE, {"id": entry_id})
    return found[0] if found else None


def statistics(connection: sqlite3.Connection, since_unix_us: int) -> list[dict[str, Any]]:
    """Return how many entries there are of each kind, and how long they took."""
    return _rows(connection, _STATISTICS, {"since_unix_us": since_unix_us})


def density(connection: sqlite3.Connection, start_unix_us: int, end_unix_us: int, buckets: int) -> list[int]:
    """Return how many entries fall into each of so many equal parts of a time."""
    counts = [0] * buckets
    values = {"start": start_unix_us, "end": end_unix_us, "buckets": buckets}
    for bucket, count in connection.execute(_DENSITY, values):
        counts[int(bucket)] = int(count)
    return counts


def size_bytes(connection: sqlite3.Connection) -> int:
    """Return about what the protocol log takes."""
    return int(connection.execute(_SIZE).fetchone()[0])


def first_to_keep(connection: sqlite3.Connection, most_bytes: int) -> int:
    """Return the id from which on the entries take at most so much; 0 when nothing can be kept."""
    found = connection.execute(_FIRST_TO_KEEP, {"most": most_bytes}).fetchone()
    return int(found[0]) if found else 0


def first_since(connection: sqlite3.Connection, unix_us: int) -> int:
    """Return the id from which on no entry is older than a time."""
    return int(connection.execute(_FIRST_SINCE, {"before": unix_us}).fetchone()[0])


def drop(connection: sqlite3.Connection, first_id: int, limit: int) -> list[int]:
    """Delete at most so many entries before an id; return their sizes."""
    return [size for (size,) in connection.execute(_DROP, {"first_id": first_id, "limit": limit}).fetchall()]


def put_metrics(connection: sqlite3.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add figures of one moment."""
    connection.executemany(_PUT_METRIC, rows)


def metrics(
    connection: sqlite3.Connection, *, drone_id: str, since_unix_us: int, bucket_us: int, limit: int
) -> list[dict[str, Any]]:
    """Return figures, oldest first, those of each part of time as one row: means, and the most of counts.

    :param drone_id: empty: of the queue.
    """
    values = {"drone_id": drone_id, "since": since_unix_us, "bucket_us": bucket_us, "limit": limit}
    return _rows(connection, _METRICS, values)[::-1]


def at(connection: sqlite3.Connection, unix_us: int, oldest_unix_us: int) -> list[dict[str, Any]]:
    """Return the figures of the newest moment that is not after a time, and not before another."""
    return _rows(connection, _AT, {"at": unix_us, "oldest": oldest_unix_us})


def drop_metrics(connection: sqlite3.Connection, before_unix_us: int, limit: int) -> int:
    """Delete figures older than a time, at most about so many; return how many."""
    return connection.execute(_DROP_METRICS, {"before": before_unix_us, "limit": limit}).rowcount


def _rows(connection: sqlite3.Connection, query: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    cursor = connection.execute(query, values)
    names = [each[0] for each in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
