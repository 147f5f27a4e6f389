"""All SQL of the usage ledger."""

import sqlite3
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from attrs import asdict

from .usage import NAMES, Account, Usage

_ACCOUNT: Final = ("hour_unix_us", "owner", "worker_id", "share_id")
_ADD: Final = f"""
INSERT INTO gpu_sharing_usage ({", ".join((*_ACCOUNT, *NAMES))})
VALUES ({", ".join(f":{name}" for name in (*_ACCOUNT, *NAMES))})
ON CONFLICT DO UPDATE SET {", ".join(f"{name} = {name} + excluded.{name}" for name in NAMES)}"""  # noqa: S608
_WITHIN: Final = """
 WHERE hour_unix_us >= :from AND hour_unix_us < :to
   AND (:owners IS NULL OR owner IN (SELECT value FROM json_each(:owners)))"""
BY: Final[Mapping[str, str]] = {"person": "owner", "worker": "worker_id", "share": "share_id"}


def add(connection: sqlite3.Connection, sums: Mapping[Account, Usage]) -> None:
    """Add what was used to what is there."""
    connection.executemany(_ADD, [asdict(account) | asdict(usage) for account, usage in sums.items()])


def rows(
    connection: sqlite3.Connection, *, owners: tuple[str, ...] | None, from_unix_us: int, to_unix_us: int, limit: int
) -> list[tuple[Account, Usage]]:
    """Return what was used by hour, worker and share, oldest first; of some people, or of all."""
    sql = f"SELECT {', '.join((*_ACCOUNT, *NAMES))} FROM gpu_sharing_usage {_WITHIN} ORDER BY 1, 2, 3, 4 LIMIT :limit"  # noqa: S608
    found = connection.execute(sql, _span(owners, from_unix_us, to_unix_us) | {"limit": limit})
    return [
        (
            Account(**dict(zip(_ACCOUNT, row[:4], strict=True))),
            Usage(**dict(zip(NAMES, row[4:], strict=True))),
        )
        for row in found
    ]


def totals(
    connection: sqlite3.Connection, by: str, *, owners: tuple[str, ...] | None, from_unix_us: int, to_unix_us: int
) -> list[tuple[str, Usage]]:
    """Return what was used in all by each person, worker or share (empty: by no share), most GPU time first."""
    sums = ", ".join(f"sum({name})" for name in NAMES)
    sql = f"SELECT {BY[by]}, {sums} FROM gpu_sharing_usage {_WITHIN} GROUP BY 1 ORDER BY 2 DESC, 1"  # noqa: S608
    found = connection.execute(sql, _span(owners, from_unix_us, to_unix_us))
    return [(str(name), Usage(**dict(zip(NAMES, values, strict=True)))) for name, *values in found]


def total(connection: sqlite3.Connection) -> Usage:
    """Return everything that was ever used."""
    sums = ", ".join(f"coalesce(sum({name}), 0)" for name in NAMES)
    found = connection.execute(f"SELECT {sums} FROM gpu_sharing_usage").fetchone()  # noqa: S608 (columns of our own)
    return Usage(**dict(zip(NAMES, found, strict=True)))


def _span(owners: tuple[str, ...] | None, from_unix_us: int, to_unix_us: int) -> dict[str, Any]:
    listed = None if owners is None else msgspec.json.encode(owners).decode()
    return {"owners": listed, "from": from_unix_us, "to": to_unix_us}
