"""All SQL of build logs."""

import sqlite3
from typing import Any, Final

from .models import BuildLog

_COLUMNS: Final = (
    "log_id", "drone_id", "drone_name", "package", "session_id", "outcome", "size_bytes", "started_unix_us",
    "ended_unix_us",
)  # fmt: skip
_SELECT: Final = f"SELECT {', '.join(_COLUMNS)} FROM build_swarm_log"  # noqa: S608 (columns of our own)
_PUT: Final = f"""
INSERT INTO build_swarm_log ({", ".join(_COLUMNS)}) VALUES ({", ".join(f":{name}" for name in _COLUMNS)})
ON CONFLICT (log_id) DO UPDATE SET outcome = excluded.outcome, size_bytes = excluded.size_bytes,
    ended_unix_us = excluded.ended_unix_us"""  # noqa: S608 (columns of our own)
_PAGE: Final = f"""{_SELECT}
 WHERE (:package = '' OR package = :package) AND (:drone = '' OR drone_name = :drone OR drone_id = :drone)
   AND (:session_id = '' OR session_id = :session_id)
   AND (started_unix_us < :before_unix_us OR (started_unix_us = :before_unix_us AND log_id < :before_id))
 ORDER BY started_unix_us DESC, log_id DESC LIMIT :limit"""
_OLD: Final = """
SELECT log_id FROM build_swarm_log WHERE started_unix_us < :until_unix_us
UNION SELECT log_id FROM
    (SELECT log_id FROM build_swarm_log ORDER BY started_unix_us DESC, log_id DESC LIMIT -1 OFFSET :keep)
UNION SELECT log_id FROM
    (SELECT log_id, sum(min(size_bytes, :limit_bytes)) OVER (ORDER BY started_unix_us DESC, log_id DESC) AS bytes
       FROM build_swarm_log WHERE ended_unix_us IS NOT NULL) WHERE bytes > :ended_bytes"""
_ENDED_BYTES: Final = """
SELECT coalesce(sum(min(size_bytes, :limit_bytes)), 0) FROM build_swarm_log WHERE ended_unix_us IS NOT NULL"""

_OF_BUILD: Final = """
SELECT log_id FROM build_swarm_log
 WHERE package = :atom AND drone_id = :drone_id AND ended_unix_us BETWEEN :since_unix_us AND :built_unix_us
 ORDER BY started_unix_us DESC LIMIT 1"""


def put(connection: sqlite3.Connection, log: BuildLog) -> None:
    """Store a log, or how it is now."""
    connection.execute(_PUT, {name: getattr(log, name) for name in _COLUMNS})


def one(connection: sqlite3.Connection, log_id: str) -> BuildLog | None:
    """Return a log, or ``None``."""
    row = connection.execute(f"{_SELECT} WHERE log_id = ?", (log_id,)).fetchone()
    return None if row is None else BuildLog(**dict(zip(_COLUMNS, row, strict=True)))


def page(connection: sqlite3.Connection, values: dict[str, Any]) -> list[BuildLog]:
    """Return logs, newest first: those of a package, drone or session (empty: any), before a place in that order."""
    return [BuildLog(**dict(zip(_COLUMNS, row, strict=True))) for row in connection.execute(_PAGE, values)]


def unended(connection: sqlite3.Connection, limit: int) -> list[BuildLog]:
    """Return logs that have not ended, newest first."""
    rows = connection.execute(f"{_SELECT} WHERE ended_unix_us IS NULL ORDER BY started_unix_us DESC LIMIT ?", (limit,))
    return [BuildLog(**dict(zip(_COLUMNS, row, strict=True))) for row in rows]


def of_builds(connection: sqlite3.Connection, builds: list[dict[str, Any]]) -> list[str | None]:
    """Return, for each build, the log that ended shortly before it was reported, if there is one."""
    rows = [connection.execute(_OF_BUILD, build).fetchone() for build in builds]
    return [None if row is None else str(row[0]) for row in rows]


def old(
    connection: sqlite3.Connection, *, until_unix_us: int, keep: int, limit_bytes: int, ended_bytes: int
) -> list[str]:
    """Return the ids of logs that are to go.

    :param until_unix_us: those that began before go.
    :param keep: all but so many of the newest go.
    :param limit_bytes: what is kept of one log at most.
    :param ended_bytes: what the logs that have ended may take together; the oldest of them go.
    """
    values = {
        "until_unix_us": until_unix_us,
        "keep": keep,
        "limit_bytes": limit_bytes,
        "ended_bytes": max(0, ended_bytes),
    }
    return [row[0] for row in connection.execute(_OLD, values)]


def ended_bytes(connection: sqlite3.Connection, limit_bytes: int) -> int:
    """Return what is kept of all logs that have ended, when ``limit_bytes`` is kept of one at most."""
    return int(connection.execute(_ENDED_BYTES, {"limit_bytes": limit_bytes}).fetchone()[0])


def forget(connection: sqlite3.Connection, log_ids: list[str]) -> None:
    """Delete logs; their texts are the caller's."""
    connection.executemany("DELETE FROM build_swarm_log WHERE log_id = ?", [(one,) for one in log_ids])
