"""What is acknowledged is on disk; what could not be stored has not happened, in memory neither."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio
from attrs import define, field

from appliance.plugin import Database, StorageFailed
from plugins.build_swarm.journal import Journal
from tests.plugins.build_swarm.queue_kit import atom, opened


@define(eq=False)
class Numbers:
    """Numbers that are decided in memory, and what the disk has of them."""

    database: Database
    memory: list[int] = field(factory=list)
    unsaved: list[int] = field(factory=list)
    refuses: set[int] = field(factory=set)
    batches: list[list[int]] = field(factory=list)
    restores_badly: bool = False
    journal: Journal[list[int]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.journal = Journal(
            self.database,
            take=self.take,
            store=self.store,
            follow=self.batches.append,
            restore=self.restore,
            restore_all=lambda: self.restore([]),
            is_clean=lambda: not self.unsaved,
        )

    def take(self) -> list[int] | None:
        taken, self.unsaved = self.unsaved, []
        return taken or None

    def store(self, batch: list[int]) -> Callable[[sqlite3.Connection], None]:
        def write(connection: sqlite3.Connection) -> None:
            if self.refuses & set(batch):
                raise StorageFailed("full")
            connection.executemany("INSERT INTO number VALUES (?)", [(each,) for each in batch])

        return write

    def restore(self, batch: list[int]) -> None:
        if self.restores_badly:
            raise StorageFailed("cannot be read")
        self.unsaved = []
        self.memory = self.stored()

    def stored(self) -> list[int]:
        rows = self.database.read_now(lambda connection: connection.execute("SELECT n FROM number").fetchall())
        return [number for (number,) in rows]

    async def add(self, number: int) -> None:
        self.memory.append(number)
        self.unsaved.append(number)
        await self.journal.settle()
        assert number in self.stored()


@contextlib.asynccontextmanager
async def opened_numbers(folder: Path) -> AsyncIterator[Numbers]:
    async with Database.open(folder / "n.db") as database:
        await database.write(lambda connection: connection.execute("CREATE TABLE number (n INTEGER)").rowcount)
        yield Numbers(database)


async def test_everybody_returns_after_the_commit_of_what_they_decided(tmp_path: Path) -> None:
    async with opened_numbers(tmp_path) as numbers:
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(numbers.add, number)
        assert sorted(numbers.stored()) == list(range(100))
        assert len(numbers.batches) < 20  # they share commits
        assert numbers.journal.is_settled


async def test_failed_write_undoes_what_was_decided_after_it_too_and_tells_everybody(tmp_path: Path) -> None:
    async with opened_numbers(tmp_path) as numbers:
        await numbers.add(1)
        numbers.refuses = {2}
        failed = []

        async def add(number: int) -> None:
            try:
                await numbers.add(number)
            except StorageFailed as failure:
                failed.append((number, failure))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(add, 2)
            for _ in range(3):
                await trio.lowlevel.checkpoint()  # the write of 2 is under way
            for number in (3, 4):
                nursery.start_soon(add, number)
        told = {number for number, _ in failed}
        assert 2 in told
        assert numbers.memory == numbers.stored()
        assert {1, 2, 3, 4} - told == set(numbers.stored())
        assert len({id(failure) for _, failure in failed}) == len(failed)  # each has its own
        await numbers.add(5)
        assert numbers.memory == numbers.stored()


async def test_cancelled_callers_keep_nobody_waiting(tmp_path: Path) -> None:
    async with opened_numbers(tmp_path) as numbers:
        for start in range(0, 60, 6):
            async with trio.open_nursery() as nursery:
                for number in range(start, start + 6):
                    scope = trio.CancelScope()

                    async def add(number: int = number, scope: trio.CancelScope = scope) -> None:
                        with scope:
                            await numbers.add(number)

                    nursery.start_soon(add)
                    if number % 2:
                        scope.cancel()
        with trio.fail_after(30):
            await numbers.journal.settle()
        assert set(numbers.memory) == set(numbers.stored())


async def test_memory_that_could_not_be_read_back_is_read_before_anything_else_is_stored(tmp_path: Path) -> None:
    async with opened_numbers(tmp_path) as numbers:
        await numbers.add(1)
        numbers.refuses, numbers.restores_badly = {2}, True
        for number in (2, 3):
            with pytest.raises(StorageFailed):
                await numbers.add(number)
        assert not numbers.journal.is_settled
        numbers.restores_badly = False
        with pytest.raises(StorageFailed, match="read from the disk again"):
            await numbers.add(4)
        assert numbers.memory == numbers.stored() == [1]
        await numbers.add(5)
        assert numbers.stored() == [1, 5]


async def test_swarm_is_what_the_disk_is_after_every_kind_of_failed_write(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.queue("one", "two")
        await bench.built("a")
        before = bench.stored("SELECT * FROM build_swarm_package"), bench.stored("SELECT * FROM build_swarm_drone")
        bench.disk.fails = True
        for work in (
            lambda: bench.beat("new"),
            lambda: bench.beat("a", drone_id="again"),
            lambda: bench.queue("three"),
            lambda: bench.report("a", "two"),
            lambda: bench.report("a", "two", "failed"),
            lambda: bench.swarm.control("reset"),
            lambda: bench.swarm.control("pause"),
            lambda: bench.swarm.delete_drone("a"),
            lambda: bench.swarm.pause_drone("a", True),
        ):
            with pytest.raises(StorageFailed):
                await work()
        bench.disk.fails = False
        drone = bench.swarm.drone("a")
        assert [each.name for each in bench.swarm.drones()] == ["a"]
        assert drone.assigned_atoms == [atom("two")]
        assert not drone.paused
        assert not bench.swarm.is_paused
        assert bench.state("two") == "delegated"
        assert atom("three") not in bench.swarm.desk.book.newest
        assert (drone.builds_completed, drone.builds_failed) == (1, 0)
        assert bench.swarm.build_statistics().timing.total_builds == 1
        assert before == (
            bench.stored("SELECT * FROM build_swarm_package"),
            bench.stored("SELECT * FROM build_swarm_drone"),
        )
        assert bench.events("complete") == ["a completed app-test/one-1 in 0s"]
        assert await bench.built("a") == "two"


async def test_queueing_that_failed_leaves_the_last_session_as_it_was(tmp_path: Path) -> None:
    async with opened(tmp_path) as bench:
        await bench.beat("a")
        await bench.queue("one")
        await bench.built("a")
        bench.disk.fails = True
        with pytest.raises(StorageFailed):
            await bench.queue("two")
        bench.disk.fails = False
        assert bench.swarm.active_session() is None
        assert [package.atom for package in bench.swarm.packages()] == [atom("one")]
        assert (await bench.queue("two")).session is not None
