"""The audit log in a database: append-only, and every way of tampering with it is found and named."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
from attrs import define

from appliance.audit import MIGRATIONS, OWNER, Audit, AuditKeeper, verify
from appliance.database import Database
from appliance.errors import BadInput, StorageFailed

TRIGGERS = ("audit_entry_no_update", "audit_entry_no_delete", "audit_entry_append")


@define
class Log:
    """An audit log with its files, and ways to do it harm from outside."""

    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / "appliance.db"

    @property
    def keys(self) -> Path:
        return self.folder

    def opened(self) -> Any:
        return Database.open(self.path, inline=True, migrations={OWNER: MIGRATIONS})

    async def write(self, count: int, *, anchored: bool = True) -> None:
        async with self.opened() as database:
            audit = Audit(database, self.keys, lambda: 7)
            for number in range(count):
                await audit.record("token.create", who_kind="session", who_name="ann", object=f"t{number}")
            if anchored:
                audit.write_anchor()

    def harm(self, *statements: str) -> None:
        """Change the file as somebody who knows SQLite would, the triggers being in nobody's way."""
        connection = sqlite3.connect(self.path)
        for name in TRIGGERS:
            connection.execute(f"DROP TRIGGER IF EXISTS {name}")
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    def problem(self) -> str | None:
        connection = sqlite3.connect(self.path)
        try:
            found = verify(connection, keys=self.keys)
        finally:
            connection.close()
        return None if found is None else f"{found.kind} {found.entry_id}"


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


@pytest.fixture
async def audit(log: Log) -> AsyncIterator[Audit]:
    async with log.opened() as database:
        yield Audit(database, log.keys, lambda: 7)


async def test_entries_are_read_back_as_recorded_in_pages(audit: Audit) -> None:
    entry = await audit.record(
        "token.create",
        who_kind="session",
        who_subject="p1",
        who_name="Ännchen",
        object="t1",
        detail={"kind": "pat", "scopes": []},
        request_id="r1",
        address="::1",
    )
    assert (entry.entry_id, entry.at_unix_us, entry.detail) == (1, 7, '{"kind":"pat","scopes":[]}')
    second = await audit.record("person.login")
    assert await audit.page() == [entry, second]
    assert await audit.page(after=1) == [second]
    assert await audit.page(limit=0) == [entry]
    assert await audit.page(after=2**99) == []
    assert await audit.newest(limit=1) == [second]
    assert await audit.verify() is None


async def test_many_at_once_make_one_chain(tmp_path: Path) -> None:
    async with Database.open(tmp_path / "a.db", migrations={OWNER: MIGRATIONS}) as database:
        audit = Audit(database, tmp_path, lambda: 7)
        async with trio.open_nursery() as nursery:
            for number in range(60):
                nursery.start_soon(audit.record, f"a.{number}")
        assert [entry.entry_id for entry in await audit.page()] == list(range(1, 61))
        assert audit.head.entry_id == 60
        assert await audit.verify() is None


async def test_entry_that_nobody_waits_for_takes_its_place_in_the_chain(audit: Audit) -> None:
    audit.record_soon("endpoint.post", who_name="ann", object="/api/x")
    await audit.record("person.login")
    assert [entry.action for entry in await audit.page()] == ["endpoint.post", "person.login"]
    assert await audit.verify() is None


async def test_long_and_broken_texts_are_cut_and_still_recorded(audit: Audit) -> None:
    entry = await audit.record("person.login_failed", who_name="x" * 10_000, object="\ud800")
    assert len(entry.who_name) == 400
    assert entry.who_name.endswith("…")
    assert entry.object == "\\ud800"
    assert await audit.verify() is None


@pytest.mark.parametrize("detail", [{"a": float("nan")}, {"a": object()}, {"a": "x" * 9000}])
async def test_detail_that_is_no_json_or_too_long_is_bad_input(audit: Audit, detail: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        await audit.record("a.b", detail=detail)
    assert await audit.page() == []


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit_entry SET who_name = 'eve' WHERE entry_id = 1",
        "DELETE FROM audit_entry WHERE entry_id = 2",
        "INSERT OR REPLACE INTO audit_entry SELECT * FROM audit_entry WHERE entry_id = 1",
        "INSERT INTO audit_entry SELECT 9, at_unix_us, 'a', 'a', 'a', 'a', 'a', 'a', 'a', 'a', hash, hash"
        " FROM audit_entry WHERE entry_id = 2",
    ],
)
async def test_log_cannot_be_changed_by_a_plain_statement(log: Log, sql: str) -> None:
    await log.write(2)
    async with log.opened() as database:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            await database.write(lambda write: write.execute(sql).close())
    assert log.problem() is None


@pytest.mark.parametrize(
    ("found", "statements"),
    [
        ("changed 2", ["UPDATE audit_entry SET who_name = 'eve' WHERE entry_id = 2"]),
        ("changed 3", ["UPDATE audit_entry SET hash = zeroblob(32) WHERE entry_id = 3"]),
        ("removed 2", ["DELETE FROM audit_entry WHERE entry_id = 2"]),
        ("removed 1", ["DELETE FROM audit_entry WHERE entry_id = 1"]),
        ("truncated 5", ["DELETE FROM audit_entry WHERE entry_id = 5"]),
        ("truncated 1", ["DELETE FROM audit_entry"]),
        ("truncated 1", ["DELETE FROM audit_entry", "DELETE FROM audit_head"]),
        ("unsealed 5", ["DELETE FROM audit_head"]),
        ("unsealed 5", ["UPDATE audit_head SET seal = zeroblob(32)"]),
        (
            "truncated 4",
            [
                "DELETE FROM audit_entry WHERE entry_id > 3",
                "UPDATE audit_head SET entry_id = 3, hash = (SELECT hash FROM audit_entry WHERE entry_id = 3)",
            ],
        ),
    ],
)
async def test_tampering_is_found_and_named(log: Log, found: str, statements: list[str]) -> None:
    await log.write(5)
    assert log.problem() is None
    log.harm(*statements)
    assert log.problem() == found


async def test_head_moved_back_without_the_key_is_found_also_without_an_anchor(log: Log) -> None:
    await log.write(5, anchored=False)
    log.harm(
        "DELETE FROM audit_entry WHERE entry_id > 3",
        "UPDATE audit_head SET entry_id = 3, hash = (SELECT hash FROM audit_entry WHERE entry_id = 3)",
    )
    assert log.problem() == "unsealed 3"


async def test_later_entries_do_not_make_good_what_was_done_before(log: Log) -> None:
    await log.write(5)
    log.harm(
        "DELETE FROM audit_entry WHERE entry_id > 3",
        "UPDATE audit_head SET entry_id = 3, hash = (SELECT hash FROM audit_entry WHERE entry_id = 3)",
    )
    with structlog.testing.capture_logs() as logs:
        await log.write(10)
    assert "audit.anchor_broken" in [line["event"] for line in logs]
    assert log.problem() == "changed 5"
    (log.keys / "audit.head").unlink()
    assert log.problem() == "unsealed 13"


async def test_older_copy_of_the_database_is_betrayed_by_the_anchor(log: Log) -> None:
    await log.write(3)
    old = log.path.read_bytes()
    await log.write(2)
    log.path.write_bytes(old)
    assert log.problem() == "truncated 4"


async def test_lost_key_is_named_and_a_damaged_one_refused(log: Log) -> None:
    await log.write(2)
    key = log.keys / "audit.key"
    assert key.stat().st_mode & 0o777 == 0o600
    content = key.read_bytes()
    key.unlink()
    assert log.problem() == "unsealed 2"
    key.write_bytes(content[:5])
    with pytest.raises(StorageFailed, match="audit key is damaged"):
        await log.write(1)


async def test_empty_log_is_whole(log: Log) -> None:
    await log.write(0)
    assert log.problem() is None


async def test_keeper_writes_the_anchor_behind_and_logs_the_head_at_start_daily_and_at_the_end(log: Log) -> None:
    with structlog.testing.capture_logs() as logs:
        async with log.opened() as database, trio.open_nursery() as nursery:
            audit = Audit(database, log.keys, lambda: 7)
            await nursery.start(AuditKeeper(audit, anchor_seconds=0.01, head_seconds=0.05).run)
            await audit.record("a.b")
            with trio.fail_after(30):
                while not (log.keys / "audit.head").exists():  # noqa: ASYNC110  another thread writes it
                    await trio.sleep(0.01)
                while len(logs) < 2:  # noqa: ASYNC110  the keeper's own clock
                    await trio.sleep(0.01)
            await audit.record("a.c")
            nursery.cancel_scope.cancel()
    heads = [line["entry_id"] for line in logs if line["event"] == "audit.head"]
    assert heads[0] == 0
    assert heads[-1] == 2
    assert (log.keys / "audit.head").read_text().startswith("2 ")
