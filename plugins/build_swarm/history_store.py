"""SQL that only reads the history of builds, for lists that are not kept in memory."""

import sqlite3
from typing import Any, Final

from .wire.moments import seconds

_BY_PACKAGE: Final = """
SELECT atom, count(*), sum(outcome = 'success'), group_concat(DISTINCT drone_name), max(built_unix_us)
  FROM build_swarm_build GROUP BY atom ORDER BY count(*) DESC, atom LIMIT :most"""


def by_package(connection: sqlite3.Connection, most: int) -> list[dict[str, Any]]:
    """Return the builds of each package in figures, the most tried first."""
    return [
        {
            "package": atom,
            "attempts": attempts,
            "successes": successes,
            "tried_on": drones,
            "last_attempt": seconds(last_unix_us),
        }
        for atom, attempts, successes, drones, last_unix_us in connection.execute(_BY_PACKAGE, {"most": most})
    ]
