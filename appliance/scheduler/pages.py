"""Lists of jobs, as people look at them: page by page, and how many there are."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from appliance.jobs import JobState
from appliance.scheduler import rows
from appliance.scheduler.records import JobRecord

_PAGE: Final = f"""
{rows.SELECT_JOBS}
 WHERE number < :before AND (:owner IS NULL OR owner = :owner){{states}}
   AND (:tag IS NULL OR COALESCE(json_extract(spec, '$.tag'), '') = :tag)
 ORDER BY number DESC LIMIT :limit"""
_TALLY: Final = """
SELECT state, COUNT(*) FROM scheduler_job WHERE :owner IS NULL OR owner = :owner GROUP BY state"""
_NUMBER_MAX: Final = 2**63 - 1


def page(
    connection: sqlite3.Connection,
    *,
    states: Sequence[JobState] | None,
    owner: str | None,
    before: int | None,
    limit: int,
    tag: str | None = None,
) -> list[JobRecord]:
    """Return jobs, newest first.

    :param before: only those with a smaller number.
    :param tag: of this tag only.
    """
    wanted = list(JobState) if states is None else list(states)
    # The states are ours, never somebody's text.
    among = "" if states is None else f" AND state IN ({', '.join(repr(one.value) for one in wanted)})"
    if states is not None and not wanted:
        return []
    before = _NUMBER_MAX if before is None else before
    values = {"before": before, "owner": owner, "tag": tag, "limit": limit}
    return rows.records(connection, connection.execute(_PAGE.format(states=among), values).fetchall())


def tally(connection: sqlite3.Connection, *, owner: str | None) -> dict[JobState, int]:
    """Return how many jobs there are in each state, of one owner or of all."""
    found = dict(connection.execute(_TALLY, {"owner": owner}).fetchall())
    return {state: int(found.get(state.value, 0)) for state in JobState}
