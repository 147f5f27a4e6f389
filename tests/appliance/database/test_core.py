"""`Database`: durable writes in groups, failures that stay with their caller, reads, cancellation, closing."""

import math
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import structlog
import structlog.testing
import trio
import trio.testing

from appliance.database import AliveWriter, Database, went_down_at
from appliance.database.connections import check_sqlite
from appliance.database.writer import PENDING_MAX
from appliance.errors import BadInput, Busy, NotAvailable, StorageFailed
from appliance.migrations import Migration

TABLE = Migration(
    version=1, name="rows", sql="CREATE TABLE test_row (id INTEGER PRIMARY KEY, value REAL, text TEXT NOT NULL) STRICT;"
)


@pytest.fixture(params=["threads", "inline"])
async def database(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    async with opened(tmp_path, inline=request.param == "inline") as database:
        yield database


def opened(folder: Path, *, inline: bool = False) -> Any:
    return Database.open(folder / "appliance.db", inline=inline, migrations={"test": [TABLE]})


def insert(number: int, *, value: float | None = None, text: str = "") -> Callable[[sqlite3.Connection], int]:
    def write(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO test_row (id, value, text) VALUES (?, ?, ?)", (number, value, text))
        return number

    return write


def ids(database: Database) -> list[int]:
    return database.read_now(lambda read: [row[0] for row in read.execute("SELECT id FROM test_row ORDER BY id")])


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110  another thread makes it true
            await trio.sleep(0.001)


class Gate:
    """Holds the writer in a write of its own until it is opened, so that others form one group behind it."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def write(self, connection: sqlite3.Connection) -> None:
        self.entered.set()
        assert self.open.wait(10)

    async def until_entered(self) -> None:
        await until(self.entered.is_set)


async def grouped(database: Database, *writes: Callable[[sqlite3.Connection], Any]) -> list[Any]:
    """Run writes in one group; return the result or the exception of each."""
    gate, results = Gate(), dict[int, Any]()

    async def one(number: int) -> None:
        try:
            results[number] = await database.write(writes[number])
        except Exception as error:
            results[number] = error

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.write, gate.write)
        await gate.until_entered()
        for number in range(len(writes)):
            nursery.start_soon(one, number)
            await trio.testing.wait_all_tasks_blocked()
        gate.open.set()
    return [results[number] for number in range(len(writes))]


async def test_write_returns_its_result_and_is_seen_by_both_kinds_of_read(database: Database) -> None:
    assert await database.write(insert(7)) == 7
    assert ids(database) == [7]
    assert await database.read(lambda read: read.execute("SELECT COUNT(*) FROM test_row").fetchone()) == (1,)


async def test_write_is_there_after_opening_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await database.write(insert(1))
    async with opened(tmp_path) as database:
        assert ids(database) == [1]


async def test_database_has_large_pages_a_log_and_full_sync(database: Database) -> None:
    def settings(connection: sqlite3.Connection) -> list[Any]:
        names = ("page_size", "journal_mode", "synchronous", "foreign_keys")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await database.maintain(settings) == [8192, "wal", 2, 1]


async def test_waiting_writes_share_one_commit(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        before = database.commits
        assert await grouped(database, *(insert(number) for number in range(20))) == list(range(20))
        assert database.commits - before == 2  # the gate's own and the group's


async def test_failed_write_fails_its_own_caller_only(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        results = await grouped(database, insert(1), insert(1), insert(2))
        assert results[0] == 1
        assert isinstance(results[1], sqlite3.IntegrityError)
        assert results[2] == 2
        assert ids(database) == [1, 2]


async def test_failed_write_keeps_nothing_of_its_work(database: Database) -> None:
    def write(connection: sqlite3.Connection) -> None:
        insert(1)(connection)
        raise LookupError("no")

    with pytest.raises(LookupError):
        await database.write(write)
    assert ids(database) == []


@pytest.mark.parametrize("word", ["ROLLBACK", "COMMIT", "END", "BEGIN"])
async def test_write_that_would_end_the_transaction_fails_alone(tmp_path: Path, word: str) -> None:
    def rogue(connection: sqlite3.Connection) -> None:
        connection.execute(word)

    async with opened(tmp_path) as database:
        results = await grouped(database, insert(1), rogue, insert(2))
        assert results[0] == 1
        assert isinstance(results[1], sqlite3.DatabaseError)
        assert results[2] == 2
        assert ids(database) == [1, 2]


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**400])
async def test_integer_beyond_64_bits_is_bad_input_for_its_caller_only(tmp_path: Path, number: int) -> None:
    async with opened(tmp_path) as database:
        results = await grouped(database, insert(1), insert(number), insert(2))
        assert isinstance(results[1], BadInput)
        assert ids(database) == [1, 2]


async def test_half_a_surrogate_pair_is_bad_input_for_its_caller_only(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        results = await grouped(database, insert(1), insert(2, text="\ud800"), insert(3))
        assert isinstance(results[1], BadInput)
        assert ids(database) == [1, 3]


async def test_not_a_number_and_infinity_leave_the_group_whole(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        assert await grouped(database, insert(1, value=math.nan), insert(2, value=math.inf), insert(3)) == [1, 2, 3]
        values = database.read_now(lambda read: read.execute("SELECT value FROM test_row ORDER BY id").fetchall())
        assert values == [(None,), (math.inf,), (None,)]


async def test_write_through_a_read_connection_is_refused(database: Database) -> None:
    with pytest.raises(StorageFailed, match="readonly"):
        database.read_now(insert(1))
    with pytest.raises(StorageFailed, match="readonly"):
        await database.read(insert(1))


async def test_read_that_would_leave_its_cursor_open_is_refused(database: Database) -> None:
    with pytest.raises(TypeError, match="not the cursor"):
        database.read_now(lambda read: read.execute("SELECT id FROM test_row"))


async def test_log_is_folded_into_the_file_and_stays_small_under_load(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        for round_number in range(60):
            async with trio.open_nursery() as nursery:
                for number in range(40):
                    nursery.start_soon(database.write, insert(round_number * 100 + number, text="x" * 20_000))
            ids(database)
        log_bytes = (tmp_path / "appliance.db-wal").stat().st_size
        file_bytes = (tmp_path / "appliance.db").stat().st_size
        assert file_bytes > 30 * 2**20
        assert log_bytes < 24 * 2**20


async def test_on_commit_runs_in_the_trio_thread(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    async with opened(tmp_path) as database, trio.open_nursery() as nursery:

        async def one(number: int) -> None:
            await database.write(insert(number), on_commit=lambda got: told.append((got, threading.get_ident())))

        for number in range(50):
            nursery.start_soon(one, number)
    here = threading.get_ident()
    assert sorted(told) == [(number, here) for number in range(50)]


async def test_on_commit_order_is_the_order_of_the_rows(tmp_path: Path) -> None:
    told: list[int] = []

    def write(connection: sqlite3.Connection) -> int:
        connection.execute("INSERT INTO test_row (text) VALUES ('')")
        return int(connection.execute("SELECT last_insert_rowid()").fetchone()[0])

    async def one(database: Database) -> None:
        await database.write(write, on_commit=told.append)

    async with opened(tmp_path) as database, trio.open_nursery() as nursery:
        for _ in range(200):
            nursery.start_soon(one, database)
    assert told == list(range(1, 201))


async def test_on_commit_is_not_called_when_the_write_failed(database: Database) -> None:
    told: list[int] = []
    await database.write(insert(1))
    with pytest.raises(sqlite3.IntegrityError):
        await database.write(insert(1), on_commit=told.append)
    assert told == []


async def test_on_commit_that_raises_fails_its_caller_and_nobody_else(database: Database) -> None:
    def raising(_: int) -> None:
        raise LookupError("after")

    with pytest.raises(LookupError):
        await database.write(insert(1), on_commit=raising)
    assert await database.write(insert(2)) == 2
    assert ids(database) == [1, 2]


async def test_on_commit_runs_for_a_caller_cancelled_while_its_write_ran(tmp_path: Path) -> None:
    gate, told = Gate(), list[str]()

    def write(connection: sqlite3.Connection) -> str:
        gate.write(connection)
        return "done"

    async with opened(tmp_path) as database:
        async with trio.open_nursery() as nursery:

            async def caller() -> None:
                await database.write(write, on_commit=told.append)

            nursery.start_soon(caller)
            await gate.until_entered()
            nursery.cancel_scope.cancel()
        assert told == []
        gate.open.set()
        await database.write(insert(1))
        assert told == ["done"]


async def test_write_whose_caller_is_cancelled_while_it_waits_never_runs(tmp_path: Path) -> None:
    gate = Gate()
    async with opened(tmp_path) as database:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(database.write, gate.write)
            await gate.until_entered()
            with trio.move_on_after(0.01) as scope:
                await database.write(insert(1))
            assert scope.cancelled_caught
            gate.open.set()
        await database.write(insert(2))
        assert ids(database) == [2]


async def test_write_is_busy_when_too_many_wait(tmp_path: Path) -> None:
    gate = Gate()
    async with opened(tmp_path) as database, trio.open_nursery() as nursery:
        nursery.start_soon(database.write, gate.write)
        await gate.until_entered()
        for number in range(PENDING_MAX - 1):
            nursery.start_soon(database.write, insert(number))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Busy):
            await database.write(insert(PENDING_MAX))
        gate.open.set()
    async with opened(tmp_path) as database:
        assert len(ids(database)) == PENDING_MAX - 1


async def test_writes_taken_are_flushed_when_everything_is_cancelled_at_once(tmp_path: Path) -> None:
    gate, told = Gate(), list[int]()

    async def whole() -> None:
        async with opened(tmp_path) as database, trio.open_nursery() as nursery:

            async def caller() -> None:
                def write(connection: sqlite3.Connection) -> int:
                    gate.write(connection)
                    return insert(1)(connection)

                await database.write(write, on_commit=told.append)

            nursery.start_soon(caller)
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(whole)
        await gate.until_entered()
        nursery.cancel_scope.cancel()
        gate.open.set()
    assert told == [1]
    async with opened(tmp_path) as database:
        assert ids(database) == [1]


async def test_write_after_closing_is_refused(tmp_path: Path) -> None:
    for inline in (True, False):
        async with opened(tmp_path, inline=inline) as database:
            pass
        with pytest.raises(Busy):
            await database.write(insert(1))


async def test_dead_writer_fails_everybody_and_says_so(tmp_path: Path) -> None:
    gate = Gate()
    async with opened(tmp_path) as database:
        assert database.problem is None
        results: list[Exception] = []

        async def waiting() -> None:
            try:
                await database.write(insert(1))
            except StorageFailed as error:
                results.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(database.write, gate.write)
            await gate.until_entered()
            poison: Any = "not a job"
            assert database._writer is not None
            database._writer._queue.put(poison)  # nothing public can kill it
            nursery.start_soon(waiting)
            await trio.testing.wait_all_tasks_blocked()
            gate.open.set()
            await until(lambda: bool(results))
        with pytest.raises(StorageFailed, match="has died"):
            await database.write(insert(2))
        assert "has died" in str(database.problem)


async def test_log_that_hangs_keeps_nobody_waiting_for_a_dead_writer(tmp_path: Path) -> None:
    told, heard_first = threading.Event(), []

    def hanging(_logger: Any, _method: str, _event: Any) -> Any:
        heard_first.append(told.wait(5))
        raise structlog.DropEvent

    async def refused(database: Database) -> None:
        with pytest.raises(StorageFailed, match="has died"):
            await database.write(insert(1))
        told.set()

    before = structlog.get_config()
    structlog.configure(processors=[hanging])
    gate = Gate()
    try:
        async with opened(tmp_path) as database, trio.open_nursery() as nursery:
            nursery.start_soon(database.write, gate.write)
            await gate.until_entered()
            poison: Any = "not a job"
            assert database._writer is not None
            database._writer._queue.put(poison)  # nothing public can kill it
            nursery.start_soon(refused, database)
            await trio.testing.wait_all_tasks_blocked()
            gate.open.set()
    finally:
        structlog.configure(**before)
    assert heard_first == [True]


async def test_write_that_nobody_waits_for_is_stored_in_order_and_its_failure_logged(database: Database) -> None:
    told: list[int] = []
    with structlog.testing.capture_logs() as logs:
        database.write_soon(insert(1), on_commit=told.append)
        database.write_soon(insert(1), on_commit=told.append)
        database.write_soon(insert(2), on_commit=told.append)
        await database.write(insert(3), on_commit=told.append)
    assert told == [1, 2, 3]
    assert ids(database) == [1, 2, 3]
    assert [line["event"] for line in logs] == ["database.write_failed"]


async def test_write_that_nobody_waits_for_is_flushed_at_closing_and_refused_after(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        for number in range(100):
            database.write_soon(insert(number))
    with pytest.raises(Busy):
        database.write_soon(insert(100))
    async with opened(tmp_path) as database:
        assert ids(database) == list(range(100))


async def test_maintenance_runs_outside_a_transaction_between_groups(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await database.write(insert(1))
        await database.maintain(lambda write: write.execute("VACUUM").close())
        assert await database.maintain(lambda write: write.in_transaction) is False
        await database.maintain(lambda write: write.execute("BEGIN").close())
        await database.write(insert(2))
        assert ids(database) == [1, 2]


async def test_scan_is_interrupted_when_its_caller_is_cancelled(tmp_path: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n"
    async with opened(tmp_path) as database:
        for _ in range(8):  # twice the number of readers: an abandoned one would block the pool
            with trio.move_on_after(0.02):
                await database.read(lambda read: read.execute(endless).fetchone())
        with trio.fail_after(30):
            assert await database.read(lambda read: read.execute("SELECT 1").fetchone()) == (1,)


async def test_scan_sees_one_snapshot_while_others_write(tmp_path: Path) -> None:
    async with opened(tmp_path) as database:
        await database.write(insert(1))
        counted, go_on = threading.Event(), threading.Event()

        def scan(connection: sqlite3.Connection) -> tuple[int, int]:
            (first,) = connection.execute("SELECT COUNT(*) FROM test_row").fetchone()
            counted.set()
            assert go_on.wait(10)
            (second,) = connection.execute("SELECT COUNT(*) FROM test_row").fetchone()
            return first, second

        results: list[tuple[int, int]] = []
        async with trio.open_nursery() as nursery:

            async def reader() -> None:
                results.append(await database.read(scan))

            nursery.start_soon(reader)
            await until(counted.is_set)
            await database.write(insert(2))
            go_on.set()
        assert results == [(1, 1)]


def test_old_sqlite_is_refused_in_one_clear_line() -> None:
    with pytest.raises(NotAvailable, match=r"SQLite 3\.31\.1 is too old: 3\.37\.0 or newer"):
        check_sqlite((3, 31, 1))


async def test_time_of_going_down_is_known_at_the_next_start(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    start = trio.current_time()

    def now() -> int:
        return int((trio.current_time() - start) * 1_000_000) + 1_000_000_000

    async with opened(tmp_path, inline=True) as database:
        assert went_down_at(database) is None
        with trio.move_on_after(12.5):
            await AliveWriter(database, now).run()
    async with opened(tmp_path, inline=True) as database:
        assert went_down_at(database) == 1_000_000_000 + 12_500_000
