"""The tables of the series."""

from typing import Final

from appliance.migrations import Migration

OWNER: Final = "series"

_HOST_COLUMNS: Final = """
    at_unix_us INTEGER NOT NULL,
    layout_id INTEGER NOT NULL,
    cpu_percent REAL,
    cpu_user_percent REAL,
    cpu_system_percent REAL,
    cpu_iowait_percent REAL,
    cpu_load_1 REAL,
    cpu_load_5 REAL,
    cpu_load_15 REAL,
    cpu_frequency_mhz REAL,
    cpu_temperature_celsius REAL,
    cpu_count_logical REAL,
    cpu_count_physical REAL,
    memory_total_bytes REAL,
    memory_used_bytes REAL,
    memory_available_bytes REAL,
    memory_percent REAL,
    swap_total_bytes REAL,
    swap_used_bytes REAL,
    swap_percent REAL,
    process_count REAL,
    network_rx_bytes_total INTEGER,
    network_tx_bytes_total INTEGER,
    devices BLOB NOT NULL"""

# New samples are appended to the tail and moved in bulk: half the work and a quarter of the bytes written of
# inserting each into its place. Buckets have one integer key (tier, series, second) because rows of a table by rowid
# may fill a page, where those of a WITHOUT ROWID table beyond a quarter of it would spill to a page of their own.
_TABLES: Final = f"""
CREATE TABLE series_key (
    series_id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE
);
CREATE TABLE series_layout (
    layout_id INTEGER PRIMARY KEY,
    content BLOB NOT NULL,
    used_until_unix_us INTEGER NOT NULL
);
CREATE TABLE series_raw (
    series_id INTEGER NOT NULL,{_HOST_COLUMNS},
    PRIMARY KEY (series_id, at_unix_us)
) WITHOUT ROWID;
CREATE TABLE series_tail (
    tail_id INTEGER PRIMARY KEY,
    series_id INTEGER NOT NULL,{_HOST_COLUMNS}
);
CREATE UNIQUE INDEX series_tail_time ON series_tail (series_id, at_unix_us);
CREATE TABLE series_rollup (
    bucket_key INTEGER PRIMARY KEY,
    layout_id INTEGER NOT NULL,
    sample_count INTEGER NOT NULL,
    data BLOB NOT NULL
);
CREATE TABLE series_dirty (
    series_id INTEGER NOT NULL,
    bucket_unix_us INTEGER NOT NULL,
    PRIMARY KEY (series_id, bucket_unix_us)
) WITHOUT ROWID;
CREATE TABLE series_pruned (
    tier INTEGER PRIMARY KEY,
    until_unix_us INTEGER NOT NULL
);
CREATE TABLE series_value_name (
    name_id INTEGER PRIMARY KEY,
    series TEXT NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (series, name)
);
CREATE TABLE series_value (
    name_id INTEGER NOT NULL,
    at_unix_us INTEGER NOT NULL,
    value REAL NOT NULL,
    PRIMARY KEY (name_id, at_unix_us)
) WITHOUT ROWID;
CREATE TABLE series_value_rollup (
    tier INTEGER NOT NULL,
    name_id INTEGER NOT NULL,
    at_unix_us INTEGER NOT NULL,
    value_count INTEGER NOT NULL,
    minimum REAL NOT NULL,
    maximum REAL NOT NULL,
    mean REAL NOT NULL,
    PRIMARY KEY (tier, name_id, at_unix_us)
) WITHOUT ROWID;
"""

MIGRATIONS: Final[tuple[Migration, ...]] = (Migration(version=1, name="tables of the series", sql=_TABLES),)
