"""The SQL of samples, whose columns are those of the host's fields."""

from typing import Final

from appliance.series.fields import HOST
from appliance.series.rates import PACE_TIMES

COLUMNS: Final = ", ".join(("at_unix_us", "layout_id", *HOST.gauges, *HOST.counters, "devices"))
INSERT: Final = (
    f"INSERT INTO series_tail (series_id, {COLUMNS}) VALUES (?{', ?' * (len(HOST.gauges) + len(HOST.counters) + 3)})"  # noqa: S608 (column names of our own)
    " ON CONFLICT DO NOTHING"
)
SPAN: Final = " UNION ALL ".join(
    f"SELECT {COLUMNS} FROM {table} WHERE series_id = :series AND at_unix_us >= :from AND at_unix_us < :to"  # noqa: S608
    for table in ("series_raw", "series_tail")
)
BEFORE: Final = tuple(
    f"SELECT {COLUMNS} FROM {table} WHERE series_id = ? AND at_unix_us < ? ORDER BY at_unix_us DESC LIMIT 1"  # noqa: S608
    for table in ("series_tail", "series_raw")
)
NEWEST: Final = tuple(
    f"SELECT at_unix_us FROM {table} WHERE series_id = ? ORDER BY at_unix_us DESC LIMIT 1"  # noqa: S608
    for table in ("series_tail", "series_raw")
)
AFTER: Final = tuple(
    f"SELECT at_unix_us FROM {table} WHERE series_id = ? AND at_unix_us > ? ORDER BY at_unix_us LIMIT {PACE_TIMES}"  # noqa: S608
    for table in ("series_tail", "series_raw")
)
TIMES: Final = tuple(
    f"SELECT at_unix_us FROM {table} WHERE series_id = ? AND at_unix_us < ? ORDER BY at_unix_us DESC LIMIT {PACE_TIMES}"  # noqa: S608
    for table in ("series_tail", "series_raw")
)
MOVE: Final = (
    f"INSERT OR IGNORE INTO series_raw (series_id, {COLUMNS}) SELECT series_id, {COLUMNS} FROM series_tail"  # noqa: S608
    " WHERE (series_id, at_unix_us) <= (:series, :at) ORDER BY series_id, at_unix_us"
)
SILENT: Final = """
SELECT series_id, newest FROM (
    SELECT series_id, max(
        coalesce((SELECT max(at_unix_us) FROM series_tail WHERE series_id = known.series_id), -1),
        coalesce((SELECT max(at_unix_us) FROM series_raw WHERE series_id = known.series_id), -1)) AS newest
      FROM series_key AS known)
 WHERE newest >= 0 AND newest < ?"""
