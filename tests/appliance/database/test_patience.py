"""Writes whose callers are in no hurry share a commit: in order, durable, and none waits longer than it said."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from appliance.database import Database
from appliance.database.writer import PATIENT_MAX

LONG = 3600.0


@pytest.fixture
async def database(tmp_path: Path, mock_clock: trio.testing.MockClock) -> AsyncIterator[Database]:
    async with Database.open(tmp_path / "appliance.db") as one:
        await one.write(lambda conn: conn.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, name TEXT)"))
        yield one


def insert(name: str) -> Callable[[sqlite3.Connection], str]:
    def write(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO entry (name) VALUES (?)", (name,))
        return name

    return write


def names(database: Database) -> list[str]:
    return [name for (name,) in database.read_now(lambda conn: conn.execute("SELECT name FROM entry").fetchall())]


class Writers:
    """Tasks that write, and what they have got."""

    def __init__(self, database: Database, nursery: trio.Nursery) -> None:
        self.database, self.nursery, self.done = database, nursery, list[str]()

    async def start(self, name: str, patience_seconds: float = LONG) -> None:
        self.nursery.start_soon(self._write, name, patience_seconds)
        await trio.testing.wait_all_tasks_blocked()

    async def _write(self, name: str, patience_seconds: float) -> None:
        self.done.append(await self.database.write(insert(name), patience_seconds=patience_seconds))


async def test_patient_writes_go_with_the_next_that_is_not_before_it_and_in_one_commit(database: Database) -> None:
    before = database.commits
    async with trio.open_nursery() as nursery:
        writers = Writers(database, nursery)
        await writers.start("one")
        await writers.start("two")
        assert (database.commits, names(database), writers.done) == (before, [], [])
        await database.write(insert("three"))
    assert sorted(writers.done) == ["one", "two"]
    assert names(database) == ["one", "two", "three"]
    assert database.commits == before + 1


async def test_patience_ends_with_that_of_whoever_has_least(
    database: Database, mock_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        writers = Writers(database, nursery)
        await writers.start("long", 50)
        await writers.start("short", 5)
        mock_clock.jump(4)
        await trio.testing.wait_all_tasks_blocked()
        assert (names(database), writers.done) == ([], [])
        mock_clock.jump(1)
    assert names(database) == sorted(writers.done) == ["long", "short"]


async def test_patience_ends_once_enough_wait(database: Database) -> None:
    before = database.commits
    async with trio.open_nursery() as nursery:
        writers = Writers(database, nursery)
        for number in range(PATIENT_MAX):
            assert writers.done == []
            await writers.start(str(number))
    assert names(database) == [str(number) for number in range(PATIENT_MAX)]
    assert sorted(writers.done) == sorted(names(database))
    assert database.commits == before + 1


async def test_patience_begins_anew_after_a_commit(database: Database, mock_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        writers = Writers(database, nursery)
        await writers.start("first", 5)
        await database.write(insert("second"))
        await writers.start("third", 5)
        mock_clock.jump(4)
        await trio.testing.wait_all_tasks_blocked()
        assert "third" not in names(database)
        mock_clock.jump(1)
    assert names(database) == ["first", "second", "third"]


async def test_patient_write_whose_caller_is_cancelled_never_runs(database: Database) -> None:
    async with trio.open_nursery() as nursery:
        await Writers(database, nursery).start("gone")
        nursery.cancel_scope.cancel()
    await database.write(insert("kept"))
    assert names(database) == ["kept"]


async def test_patient_writes_are_stored_when_the_database_closes(
    tmp_path: Path, mock_clock: trio.testing.MockClock
) -> None:
    done: list[Any] = []
    async with trio.open_nursery() as nursery, Database.open(tmp_path / "closing.db") as database:
        await database.write(lambda conn: conn.execute("CREATE TABLE entry (id INTEGER PRIMARY KEY, name TEXT)"))
        writers = Writers(database, nursery)
        await writers.start("last")
        done = writers.done
    assert done == ["last"]


async def test_patience_means_nothing_where_everything_runs_inline(tmp_path: Path) -> None:
    async with Database.open(tmp_path / "inline.db", inline=True) as database:
        await database.write(lambda conn: conn.execute("CREATE TABLE entry (name TEXT)"))
        assert await database.write(insert("now"), patience_seconds=LONG) == "now"
