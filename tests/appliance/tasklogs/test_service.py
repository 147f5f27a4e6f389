"""Logs of jobs, written and followed at the same time."""

from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest
import trio

from appliance.engines import LogChunk
from appliance.errors import Conflict, NotFound
from appliance.tasklogs import LogBlock, LogWriter, TaskLogs


def logs_in(folder: Path, limit_bytes: int = 10_000_000) -> TaskLogs:
    return TaskLogs(folder, limit_bytes=lambda: limit_bytes)


def out(data: bytes) -> LogChunk:
    return LogChunk(stream="stdout", data=data)


def data_of(block: LogBlock) -> bytes:
    return b"".join(piece.data for piece in block.pieces)


async def text(logs: TaskLogs, job_id: str = "task-1") -> bytes:
    found, block = b"", await logs.read(job_id)
    while block.pieces:
        found += data_of(block)
        block = await logs.read(job_id, block.next_offset)
    return found


async def write(logs: TaskLogs, *chunks: bytes, job_id: str = "task-1", attempt: int = 1) -> None:
    async with logs.open(job_id) as writer:
        await writer.begin(attempt)
        for chunk in chunks:
            await writer.write(out(chunk))


class Follower:
    """Follows a log from the moment it is made, until it is over."""

    def __init__(self, logs: TaskLogs, is_over: Callable[[], bool], offset: int = 0) -> None:
        self.logs, self.is_over, self.offset = logs, is_over, offset
        self.blocks: list[LogBlock] = []
        self.ended = trio.Event()

    @property
    def text(self) -> bytes:
        return b"".join(data_of(block) for block in self.blocks)

    async def run(self) -> None:
        async with aclosing(self.logs.follow("task-1", offset=self.offset, is_over=self.is_over)) as blocks:
            async for block in blocks:
                self.blocks.append(block)
        self.ended.set()

    async def has(self, wanted: bytes) -> None:
        with trio.fail_after(30):
            while self.text != wanted:  # noqa: ASYNC110  a list knows no events
                await trio.sleep(0.01)


async def test_log_is_stored_with_its_unfinished_last_line(tmp_path: Path) -> None:
    logs = logs_in(tmp_path)
    await write(logs, b"one\ntw", b"o")
    assert await text(logs) == b"one\ntwo"
    assert await logs.size_bytes("task-1") == (7, 0)
    assert await text(logs_in(tmp_path)) == b"one\ntwo"


async def test_attempts_of_a_job_write_one_text(tmp_path: Path) -> None:
    logs = logs_in(tmp_path)
    await write(logs, b"first\n", attempt=1)
    await write(logs, b"second\n", attempt=2)
    block = await logs.read("task-1")
    assert [(piece.attempt, piece.data) for piece in block.pieces] == [(1, b"first\n"), (2, b"second\n")]


async def test_unfinished_line_is_left_to_the_engine_when_the_writer_fails_or_is_cancelled(tmp_path: Path) -> None:
    logs = logs_in(tmp_path)
    with pytest.raises(ZeroDivisionError):
        await fail_while_writing(logs, b"one\nhal")
    with trio.CancelScope() as scope:
        async with logs.open("task-1") as writer:
            await writer.begin(1)
            assert dict(writer.written) == {"stdout": 4, "stderr": 0}
            await writer.write(out(b"half\nagain"))
            scope.cancel()
            await trio.lowlevel.checkpoint()
    async with logs.open("task-1") as writer:
        await writer.begin(1)
        assert writer.written["stdout"] == 9
    assert await text(logs) == b"one\nhalf\n"


async def fail_while_writing(logs: TaskLogs, data: bytes) -> None:
    async with logs.open("task-1") as writer:
        await writer.begin(1)
        await writer.write(out(data))
        raise ZeroDivisionError


async def test_only_one_writes_a_log(tmp_path: Path) -> None:
    logs = logs_in(tmp_path)
    async with logs.open("task-1"):
        with pytest.raises(Conflict, match="written already"):
            async with logs.open("task-1"):
                pass
        with pytest.raises(Conflict, match="being written"):
            await logs.remove("task-1")


async def test_follower_sees_what_was_and_what_comes_without_gap_or_double(tmp_path: Path) -> None:
    logs = logs_in(tmp_path)
    await write(logs, b"before\n")
    over: list[bool] = []
    early, late = Follower(logs, lambda: bool(over)), Follower(logs, lambda: bool(over))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(early.run)
        await early.has(b"before\n")
        async with logs.open("task-1") as writer:
            await writer.begin(1)
            for number in range(50):
                await writer.write(out(b"%d\n" % number))
                if number == 25:
                    nursery.start_soon(late.run)
                await trio.sleep(0.002)
        over.append(True)
        logs.changed("task-1")
        with trio.fail_after(30):
            await early.ended.wait()
            await late.ended.wait()
    whole = b"before\n" + b"".join(b"%d\n" % number for number in range(50))
    assert early.text == late.text == whole == await text(logs)


async def test_those_who_are_up_to_date_share_their_blocks(tmp_path: Path) -> None:
    logs = logs_in(tmp_path)
    followers = [Follower(logs, lambda: False) for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for follower in followers:
            nursery.start_soon(follower.run)
        async with logs.open("task-1") as writer:
            await writer.write(out(b"one\n"))
            await followers[0].has(b"one\n")
            await writer.write(out(b"two\n"))
            for follower in followers:
                await follower.has(b"one\ntwo\n")
        nursery.cancel_scope.cancel()
    newest = {id(follower.blocks[-1]) for follower in followers}
    assert len(newest) == 1
    followers[0].blocks[-1].made["frames"] = b"x"
    assert followers[1].blocks[-1].made == {"frames": b"x"}


async def test_follower_goes_on_at_an_offset_after_a_restart(tmp_path: Path) -> None:
    logs = logs_in(tmp_path)
    await write(logs, b"one\ntwo\n")
    follower = Follower(logs_in(tmp_path), lambda: True, offset=4)
    await follower.run()
    assert follower.text == b"two\n"


async def test_log_without_a_byte_ends_too(tmp_path: Path) -> None:
    logs = logs_in(tmp_path)
    never = Follower(logs, lambda: True)
    await never.run()
    assert never.blocks == []
    over: list[bool] = []
    waits = Follower(logs, lambda: bool(over))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(waits.run)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await write(logs)
        assert not waits.ended.is_set()
        over.append(True)
        logs.changed("task-1")
        with trio.fail_after(30):
            await waits.ended.wait()


async def test_slow_follower_is_told_what_was_not_kept(tmp_path: Path) -> None:
    logs = logs_in(tmp_path, limit_bytes=40_000)
    follower = Follower(logs, lambda: True)
    line = b"x" * 99 + b"\n"
    async with logs.open("task-1") as writer:
        for _ in range(20):
            for _ in range(100):
                await writer.write(out(line))
            await writer.flush()
    await follower.run()
    missing = sum(block.missing_bytes for block in follower.blocks)
    assert missing > 0
    assert len(follower.text) + missing == 20 * 100 * 100
    assert (await logs.size_bytes("task-1"))[1] == missing


async def test_writer_waits_for_a_disk_that_takes_nothing_and_loses_nothing(tmp_path: Path) -> None:
    logs = logs_in(tmp_path)
    async with logs.open("task-1") as writer:
        await write_and_flush(writer, b"one\n")
        path = next((tmp_path / "task-1" / "log").glob("*.log"))
        aside = path.rename(tmp_path / "aside")
        path.mkdir()
        await writer.write(out(b"two\n"))
        with pytest.raises(IsADirectoryError):
            await writer.flush()
        path.rmdir()
        aside.rename(path)
        await writer.write(out(b"three\n"))
    assert await text(logs) == b"one\ntwo\nthree\n"


async def write_and_flush(writer: LogWriter, data: bytes) -> None:
    await writer.write(out(data))
    await writer.flush()


async def test_removed_log_is_gone_and_can_be_written_again(tmp_path: Path) -> None:
    logs = logs_in(tmp_path)
    await write(logs, b"one\n")
    await logs.remove("task-1")
    await logs.remove("task-1")
    assert await text(logs) == b""
    await write(logs, b"two\n")
    assert await text(logs) == b"two\n"


@pytest.mark.parametrize("job_id", ["", "..", ".hidden", "a/b", "/etc", "a\0b", "x" * 201])
async def test_job_id_never_leads_out_of_the_folder(tmp_path: Path, job_id: str) -> None:
    logs = logs_in(tmp_path / "files")
    with pytest.raises(NotFound):
        await logs.read(job_id)
    with pytest.raises(NotFound):
        async with logs.open(job_id):
            pass
    assert not await trio.Path(tmp_path / "files").exists()


async def test_writer_that_is_faster_than_the_disk_holds_no_more_than_it_may(tmp_path: Path) -> None:
    logs = logs_in(tmp_path, limit_bytes=65_536)
    line = b"x" * 39_999 + b"\n"
    await write(logs, *[line] * 200)
    # All of it in one piece would be kept: what is held is one segment.
    end, missing_bytes = await logs.size_bytes("task-1")
    assert (end, missing_bytes > end // 2) == (200 * len(line), True)


async def test_reader_is_not_in_the_way_of_a_writer_that_begins_nor_it_in_the_readers(tmp_path: Path) -> None:
    logs = logs_in(tmp_path)

    async def read() -> None:
        await logs.read("task-1")

    # Each writer looks at what is there, and mends it, while others read it.
    for _ in range(60):
        async with trio.open_nursery() as nursery:
            for one in (read, lambda: write(logs, b"line\n"), read, read):
                nursery.start_soon(one)
    assert await text(logs) == b"line\n" * 60
