"""The usage ledger on disk: sums are exact, spans have an end that is not in them, and people see their own."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.database import Database
from plugins.gpu_sharing import usage_store
from plugins.gpu_sharing.usage import HOUR_US, Account, Usage
from tests.plugins.gpu_sharing.parts import opened

HOUR = 400_000 * HOUR_US


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with opened(tmp_path) as parts:
        yield parts.database


def account(hour: int = 0, owner: str = "ana", worker: str = "w1", share: str = "s1") -> Account:
    return Account(hour_unix_us=HOUR + hour * HOUR_US, owner=owner, worker_id=worker, share_id=share)


async def add(database: Database, *sums: tuple[Account, Usage]) -> None:
    await database.write(lambda connection: usage_store.add(connection, dict(sums)))


def rows(database: Database, **given: Any) -> list[tuple[Account, Usage]]:
    wanted = {"owners": None, "from_unix_us": 0, "to_unix_us": 2**62, "limit": 100} | given
    return database.read_now(lambda connection: usage_store.rows(connection, **wanted))


def totals(database: Database, by: str, **given: Any) -> list[tuple[str, int]]:
    wanted = {"owners": None, "from_unix_us": 0, "to_unix_us": 2**62} | given
    found = database.read_now(lambda connection: usage_store.totals(connection, by, **wanted))
    return [(name, used.gpu_ms) for name, used in found]


async def test_what_is_added_adds_up_exactly(database: Database) -> None:
    part = Usage(gpu_ms=1, vram_mib_ms=2**50, energy_mj=3, bytes_from_guests=2**40 + 1, bytes_to_guests=5)
    for _ in range(3):
        await add(database, (account(), part), (account(hour=1), part))
    assert rows(database) == [(account(), part + part + part), (account(hour=1), part + part + part)]


async def test_rows_are_by_hour_owner_worker_and_share_and_limited(database: Database) -> None:
    some = Usage(gpu_ms=1)
    accounts = [account(1), account(0, "bob"), account(0, "ana", "w2"), account(0, "ana", "w1", "s2"), account()]
    await add(database, *((one, some) for one in accounts))
    last, ordered = accounts[0], [accounts[4], accounts[3], accounts[2], accounts[1]]
    assert [one for one, _ in rows(database)] == [*ordered, last]
    assert len(rows(database, limit=2)) == 2


async def test_span_holds_its_beginning_and_not_its_end(database: Database) -> None:
    await add(database, *((account(hour), Usage(gpu_ms=10**hour)) for hour in range(3)))
    first, second = HOUR + HOUR_US, HOUR + 2 * HOUR_US
    assert [used.gpu_ms for _, used in rows(database, from_unix_us=first, to_unix_us=second)] == [10]
    assert totals(database, "person", to_unix_us=second) == [("ana", 11)]
    assert totals(database, "person", from_unix_us=second, to_unix_us=second) == []


async def test_totals_are_by_person_worker_or_share_and_the_most_comes_first(database: Database) -> None:
    await add(
        database,
        (account(0, "ana", "w1", "s1"), Usage(gpu_ms=1)),
        (account(1, "ana", "w1", ""), Usage(gpu_ms=2)),
        (account(0, "bob", "w2", "s2"), Usage(gpu_ms=4)),
        (account(0, "", "w3", ""), Usage(gpu_ms=8)),
    )
    assert totals(database, "person") == [("", 8), ("bob", 4), ("ana", 3)]
    assert totals(database, "worker") == [("w3", 8), ("w2", 4), ("w1", 3)]
    assert totals(database, "share") == [("", 10), ("s2", 4), ("s1", 1)]


async def test_only_those_asked_for_are_shown(database: Database) -> None:
    await add(database, *((account(owner=owner), Usage(gpu_ms=1)) for owner in ("ana", "bob", "", 'an"a')))
    for owners in (("ana",), ("ana", ""), ('an"a',), ("nobody",), ()):
        known = sorted(set(owners) & {"ana", "bob", "", 'an"a'})
        assert sorted(one.owner for one, _ in rows(database, owners=owners)) == known
        assert sorted(name for name, _ in totals(database, "person", owners=owners)) == known
