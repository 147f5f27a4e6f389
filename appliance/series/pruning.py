"""SQL of what goes away: old hours, forgotten hosts, layouts that nothing uses; in steps that never hold the writer."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from appliance.series.rollup import TIER_US
from appliance.series.store import MAX_SERIES, MOVED_ROWS, bucket_key, bucket_start

RAW: Final = -1
"""The tier number of raw samples."""

TIERS: Final = (RAW, *range(len(TIER_US)))

FORGOTTEN: Final = "forgotten:"
"""Key prefix of series whose rows are being deleted."""


def pruned_until(conn: sqlite3.Connection) -> list[int]:
    """Return until when each tier has been pruned, raw first; 0 where nothing ever was."""
    found = dict(conn.execute("SELECT tier, until_unix_us FROM series_pruned").fetchall())
    return [found.get(tier, 0) for tier in TIERS]


def set_pruned(conn: sqlite3.Connection, tier: int, until_unix_us: int) -> None:
    """Remember that a tier holds nothing reliable before a moment; before the first row of it is deleted."""
    conn.execute(
        "INSERT INTO series_pruned (tier, until_unix_us) VALUES (:tier, :until)"
        " ON CONFLICT DO UPDATE SET until_unix_us = max(until_unix_us, :until)",
        {"tier": tier, "until": until_unix_us},
    )


_OLDEST_RAW: Final = """
SELECT min((SELECT min(at_unix_us) FROM series_raw WHERE series_id = known.series_id)) FROM series_key AS known"""
_OLDEST_BUCKET: Final = """
SELECT min((SELECT min(bucket_key) FROM series_rollup
             WHERE bucket_key >= (:first + known.series_id) << 32 AND bucket_key < (:first + known.series_id + 1) << 32
           ) & 0xFFFFFFFF) FROM series_key AS known"""
_RAW_BEFORE: Final = """
SELECT series_id FROM series_key AS known
 WHERE EXISTS (SELECT 1 FROM series_raw WHERE series_id = known.series_id AND at_unix_us < :until)"""
_BUCKETS_BEFORE: Final = """
SELECT series_id FROM series_key AS known
 WHERE EXISTS (SELECT 1 FROM series_rollup WHERE bucket_key >= (:first + known.series_id) << 32
                AND bucket_key < ((:first + known.series_id) << 32) + :until)"""


def oldest(conn: sqlite3.Connection, tier: int) -> int | None:
    """Return the first moment of a tier, whatever series it is of; one statement, however many there are."""
    if tier == RAW:
        found = conn.execute(_OLDEST_RAW).fetchone()[0]
        return None if found is None else int(found)
    found = conn.execute(_OLDEST_BUCKET, {"first": tier * MAX_SERIES}).fetchone()[0]
    return None if found is None else bucket_start(found)


def series_before(conn: sqlite3.Connection, tier: int, until_unix_us: int) -> list[int]:
    """Return the series that have something in a tier before a moment."""
    if tier == RAW:
        found = conn.execute(_RAW_BEFORE, {"until": until_unix_us})
    else:
        until = bucket_key(0, tier, until_unix_us) & 0xFFFFFFFF
        found = conn.execute(_BUCKETS_BEFORE, {"first": tier * MAX_SERIES, "until": until})
    return [series_id for (series_id,) in found]


def prune_all(conn: sqlite3.Connection, tier: int, series_ids: Sequence[int], until_unix_us: int) -> Sequence[int]:
    """Delete some thousand rows before a moment of these series; return the series that are not done."""
    deleted = 0
    for number, series_id in enumerate(series_ids):
        if deleted >= MOVED_ROWS:
            return series_ids[number:]
        count = _prune(conn, tier, series_id, until_unix_us)
        if count == MOVED_ROWS:
            return series_ids[number:]
        deleted += count
    return ()


def _prune(conn: sqlite3.Connection, tier: int, series_id: int, until_unix_us: int) -> int:
    """Delete up to `MOVED_ROWS` of a series' rows before a moment; return how many: if so many, more may be left."""
    if tier == RAW:
        sql = (
            "DELETE FROM series_raw WHERE series_id = :series AND at_unix_us IN (SELECT at_unix_us FROM series_raw"
            " WHERE series_id = :series AND at_unix_us < :until ORDER BY at_unix_us LIMIT :limit)"
        )
        return conn.execute(sql, _span(series_id, until_unix_us)).rowcount
    first = (tier * MAX_SERIES + series_id) << 32
    return conn.execute(
        "DELETE FROM series_rollup WHERE bucket_key IN (SELECT bucket_key FROM series_rollup"
        " WHERE bucket_key >= ? AND bucket_key < ? LIMIT ?)",
        (first, bucket_key(series_id, tier, until_unix_us), MOVED_ROWS),
    ).rowcount


def _span(series_id: int, until_unix_us: int) -> dict[str, int]:
    return {"series": series_id, "until": until_unix_us, "limit": MOVED_ROWS}


def start_forgetting(conn: sqlite3.Connection, key: str) -> bool:
    """Take a series out of sight at once, so that a new one may begin; return whether there was one."""
    sql = "UPDATE series_key SET key = :prefix || series_id WHERE key = :key"
    return conn.execute(sql, {"prefix": FORGOTTEN, "key": key}).rowcount == 1


def forget_step(conn: sqlite3.Connection) -> bool:
    """Delete some rows of one forgotten series; return whether there is more to do."""
    found = conn.execute(
        "SELECT series_id FROM series_key WHERE key >= ? AND key < ? LIMIT 1", (FORGOTTEN, FORGOTTEN[:-1] + ";")
    ).fetchone()
    if found is None:
        return False
    series_id, end = int(found[0]), 2**62
    deleted = conn.execute(
        "DELETE FROM series_tail WHERE tail_id IN (SELECT tail_id FROM series_tail WHERE series_id = ? LIMIT ?)",
        (series_id, MOVED_ROWS),
    ).rowcount
    if MOVED_ROWS in (deleted, _prune(conn, RAW, series_id, end)):
        return True
    for tier in range(len(TIER_US)):
        if _prune(conn, tier, series_id, bucket_start(2**32 - 1)) == MOVED_ROWS:
            return True
    conn.execute("DELETE FROM series_dirty WHERE series_id = ?", (series_id,))
    conn.execute("DELETE FROM series_key WHERE series_id = ?", (series_id,))
    return True


def used_bytes(conn: sqlite3.Connection) -> int:
    """Return the size of the database's pages in use; freed ones are used again before the file grows."""
    pages, free, size = (conn.execute(f"PRAGMA {name}").fetchone()[0] for name in _PRAGMAS)
    return int((pages - free) * size)


_PRAGMAS: Final = ("page_count", "freelist_count", "page_size")
