"""What was the latest of each host when we went down: in four statements for all, not in six for each.

Each host costs a few microseconds inside SQLite; asked for one by one, ten thousand of them take most of a second.
"""

import sqlite3
from collections.abc import Iterator
from typing import Any, Final

from appliance.series.pack import Row
from appliance.series.rates import PACE_TIMES, Pace
from appliance.series.statements import COLUMNS
from appliance.series.store import SeriesStore

_TABLES: Final = ("series_raw", "series_tail")
_TWO: Final = tuple(
    f"""
SELECT known.key, {COLUMNS} FROM series_key AS known JOIN {table} AS sample ON sample.series_id = known.series_id
   AND at_unix_us < :limit AND at_unix_us >= coalesce((
       SELECT at_unix_us FROM {table} WHERE series_id = known.series_id AND at_unix_us < :limit
        ORDER BY at_unix_us DESC LIMIT 1 OFFSET 1), 0)
 WHERE known.key >= :first AND known.key < :last"""  # noqa: S608 (names of our own)
    for table in _TABLES
)
"""The last two samples of each series before a moment; those of one table, in no order."""
_TIMES: Final = tuple(
    f"""
SELECT known.key, (SELECT group_concat(at_unix_us) FROM (
       SELECT at_unix_us FROM {table} WHERE series_id = known.series_id AND at_unix_us < :limit
        ORDER BY at_unix_us DESC LIMIT {PACE_TIMES + 1}))
  FROM series_key AS known WHERE known.key >= :first AND known.key < :last"""  # noqa: S608 (names of our own)
    for table in _TABLES
)
"""When each series was sampled last before a moment, the last sample included: by it and those before, see `Pace`."""


def newest_samples(
    conn: sqlite3.Connection, store: SeriesStore, prefix: str, limit_unix_us: int
) -> Iterator[tuple[str, Row | None, Row]]:
    """Yield (key, sample before, newest sample before a moment) of the series whose key starts so.

    The sample before is ``None`` where there is none, and where it lies too far behind for rates.

    :param prefix: ends in an ASCII character.
    """
    span = {"limit": limit_unix_us, "first": prefix, "last": prefix[:-1] + chr(ord(prefix[-1]) + 1)}
    samples: dict[str, list[tuple[Any, ...]]] = {}
    for sql in _TWO:
        for key, *sample in conn.execute(sql, span):
            samples.setdefault(key, []).append(tuple(sample))
    times: dict[str, set[int]] = {}
    for sql in _TIMES:
        for key, found in conn.execute(sql, span):
            if found is not None:
                times.setdefault(key, set()).update(map(int, found.split(",")))
    for _, key in store.keys(conn):
        if key not in samples:
            continue
        every = sorted(samples[key], key=_at, reverse=True)
        newest, before = every[0], next((each for each in every if _at(each) < _at(every[0])), None)
        row = store.row(conn, newest)
        if before is None:
            yield key, None, row
            continue
        pace = Pace(sorted(times[key] - {row.at_unix_us}))
        yield key, pace.near(store.row(conn, before), row), row


def _at(sample: tuple[Any, ...]) -> int:
    return int(sample[0])
