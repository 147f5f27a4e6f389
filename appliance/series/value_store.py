"""All SQL of plugins' values: one number at a time, in the same tiers as the hosts' series."""

import sqlite3
from typing import Final

from appliance.errors import TooLarge
from appliance.series.rollup import TIER_US, floor
from appliance.series.store import MOVED_ROWS

MAX_NAMES: Final = 10_000
"""Names in one series: a plugin that puts ids or times into names has made a mistake."""

_PUT: Final = """
INSERT INTO series_value (name_id, at_unix_us, value) VALUES (:name, :at, :value) ON CONFLICT DO NOTHING"""

# Late values need no rebuilding: least, greatest and mean do not depend on the order in which they come.
_FOLD: Final = """
INSERT INTO series_value_rollup (tier, name_id, at_unix_us, value_count, minimum, maximum, mean)
VALUES (:tier, :name, :at, 1, :value, :value, :value)
ON CONFLICT DO UPDATE SET minimum = min(minimum, :value), maximum = max(maximum, :value),
    mean = mean + (:value - mean) / (value_count + 1), value_count = value_count + 1"""

_RAW: Final = """
SELECT at_unix_us, value, value, value, 1 FROM series_value
 WHERE name_id = :name AND at_unix_us >= :from AND at_unix_us < :to ORDER BY at_unix_us LIMIT :limit"""

_ROLLUP: Final = """
SELECT at_unix_us, minimum, maximum, mean, value_count FROM series_value_rollup
 WHERE tier = :tier AND name_id = :name AND at_unix_us >= :from AND at_unix_us < :to ORDER BY at_unix_us"""

_PRUNE_RAW: Final = """
DELETE FROM series_value WHERE name_id = :name AND at_unix_us IN
    (SELECT at_unix_us FROM series_value WHERE name_id = :name AND at_unix_us < :until LIMIT :limit)"""

_RAW_BEFORE: Final = """
SELECT name_id FROM series_value_name AS named WHERE EXISTS
    (SELECT 1 FROM series_value AS kept WHERE kept.name_id = named.name_id AND kept.at_unix_us < :until)"""
_ROLLUP_BEFORE: Final = """
SELECT name_id FROM series_value_name AS named WHERE EXISTS
    (SELECT 1 FROM series_value_rollup AS kept
      WHERE kept.tier = :tier AND kept.name_id = named.name_id AND kept.at_unix_us < :until)"""
_PRUNE_ROLLUP: Final = """
DELETE FROM series_value_rollup WHERE tier = :tier AND name_id = :name AND at_unix_us IN
    (SELECT at_unix_us FROM series_value_rollup
      WHERE tier = :tier AND name_id = :name AND at_unix_us < :until LIMIT :limit)"""

Figures = tuple[int, float, float, float, int]
"""Start, minimum, maximum, mean and count of one point."""


def name_id(conn: sqlite3.Connection, series: str, name: str) -> int | None:
    """Return the number of a value's name in its series, or ``None`` when nothing of it was ever stored."""
    sql = "SELECT name_id FROM series_value_name WHERE series = ? AND name = ?"
    found = conn.execute(sql, (series, name)).fetchone()
    return None if found is None else int(found[0])


def names_before(conn: sqlite3.Connection, tier: int, until_unix_us: int) -> list[int]:
    """Return the numbers of the names that have values before a moment; one seek each, whatever is stored."""
    sql = _RAW_BEFORE if tier < 0 else _ROLLUP_BEFORE
    return [found[0] for found in conn.execute(sql, {"tier": tier, "until": until_unix_us})]


def put_value(conn: sqlite3.Connection, series: str, name: str, at_unix_us: int, value: float) -> bool:
    """Store a value and fold it into its buckets; return False when that moment has one already (it stays)."""
    number = name_id(conn, series, name)
    if number is None:
        count = conn.execute("SELECT count(*) FROM series_value_name WHERE series = ?", (series,)).fetchone()[0]
        if count >= MAX_NAMES:
            raise TooLarge(f"series {series!r} has {MAX_NAMES} names already")
        sql = "INSERT INTO series_value_name (series, name) VALUES (?, ?)"
        number = conn.execute(sql, (series, name)).lastrowid
    values = {"name": number, "at": at_unix_us, "value": value}
    if not conn.execute(_PUT, values).rowcount:
        return False
    for tier in range(len(TIER_US)):
        conn.execute(_FOLD, {**values, "tier": tier, "at": floor(at_unix_us, tier)})
    return True


def values(
    conn: sqlite3.Connection, name: int, tier: int, from_unix_us: int, to_unix_us: int, limit: int = -1
) -> list[Figures]:
    """Return the points of a span that is open at its end; tier -1 is raw, ``limit`` bounds only that."""
    span = {"name": name, "from": from_unix_us, "to": to_unix_us}
    if tier < 0:
        return conn.execute(_RAW, {**span, "limit": limit}).fetchall()
    return conn.execute(_ROLLUP, {**span, "tier": tier}).fetchall()


def prune_values(conn: sqlite3.Connection, tier: int, name: int, until_unix_us: int) -> bool:
    """Delete up to `MOVED_ROWS` values before a moment; return whether more may be left."""
    span = {"tier": tier, "name": name, "until": until_unix_us, "limit": MOVED_ROWS}
    return conn.execute(_PRUNE_RAW if tier < 0 else _PRUNE_ROLLUP, span).rowcount == MOVED_ROWS
