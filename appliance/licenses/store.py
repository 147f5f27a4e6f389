"""Keys and the time of the last licence in the database; private halves never are."""

import sqlite3
from collections.abc import Iterable
from typing import Final

from attrs import asdict

from appliance.licenses.rotation import KeyState, LicenseKey
from appliance.migrations import Migration

OWNER: Final = "licenses"

MIGRATIONS: Final = (
    Migration(
        version=1,
        name="keys and the time of the last licence",
        sql="""
CREATE TABLE licenses_key (
    kid TEXT PRIMARY KEY,
    public BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('next', 'active', 'retiring', 'gone')),
    published_unix_us INTEGER NOT NULL,
    wanted_unix_us INTEGER,
    activated_unix_us INTEGER,
    retired_unix_us INTEGER,
    gone_unix_us INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX licenses_key_one_of_each ON licenses_key (state) WHERE state IN ('next', 'active');
CREATE TABLE licenses_issued (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    last_unix_ms INTEGER NOT NULL
) STRICT;
INSERT INTO licenses_issued (only, last_unix_ms) VALUES (1, 0);
""",
    ),
)

_COLUMNS = "kid, public, state, published_unix_us, wanted_unix_us, activated_unix_us, retired_unix_us, gone_unix_us"
# Oldest first; of those made in one step, as they came to sign.
_ALL = f"""
SELECT {_COLUMNS} FROM licenses_key
 ORDER BY published_unix_us, COALESCE(activated_unix_us, {2**63 - 1}), kid"""  # noqa: S608  fixed
_PUT = f"""
INSERT INTO licenses_key ({_COLUMNS})
VALUES (:kid, :public, :state, :published_unix_us, :wanted_unix_us, :activated_unix_us, :retired_unix_us, :gone_unix_us)
ON CONFLICT (kid) DO UPDATE SET
    state = excluded.state, wanted_unix_us = excluded.wanted_unix_us, activated_unix_us = excluded.activated_unix_us,
    retired_unix_us = excluded.retired_unix_us, gone_unix_us = excluded.gone_unix_us"""  # noqa: S608  fixed
_LAST = "SELECT last_unix_ms FROM licenses_issued"
_RAISE_LAST = "UPDATE licenses_issued SET last_unix_ms = MAX(last_unix_ms, :last_unix_ms)"
_RESET_LAST = "UPDATE licenses_issued SET last_unix_ms = :last_unix_ms"

# A state has one key at most at any moment: who leaves it must leave it first.
_ORDER: Final = (KeyState.GONE, KeyState.RETIRING, KeyState.ACTIVE, KeyState.NEXT)


def load(connection: sqlite3.Connection) -> tuple[LicenseKey, ...]:
    """Return every key there ever was, oldest first."""
    names = _COLUMNS.split(", ")
    rows = [dict(zip(names, row, strict=True)) for row in connection.execute(_ALL).fetchall()]
    return tuple(LicenseKey(**(row | {"state": KeyState(row["state"])})) for row in rows)


def put(connection: sqlite3.Connection, keys: Iterable[LicenseKey]) -> None:
    """Store keys as they are now."""
    for key in sorted(keys, key=lambda one: _ORDER.index(one.state)):
        connection.execute(_PUT, asdict(key) | {"state": key.state.value})


def last_issued(connection: sqlite3.Connection) -> int:
    """Return the time of issue of the newest licence that is remembered, in milliseconds since the epoch; or 0."""
    return int(connection.execute(_LAST).fetchone()[0])


def raise_last_issued(connection: sqlite3.Connection, last_unix_ms: int) -> None:
    """Remember the time of the newest licence; an older one changes nothing."""
    connection.execute(_RAISE_LAST, {"last_unix_ms": last_unix_ms})


def reset_last_issued(connection: sqlite3.Connection, last_unix_ms: int) -> None:
    """Begin anew from this time: no licence from before holds any more."""
    connection.execute(_RESET_LAST, {"last_unix_ms": last_unix_ms})
