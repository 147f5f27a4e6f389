"""The logs of all jobs: one writer each, any number of readers and followers."""

import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from shutil import rmtree
from types import MappingProxyType
from typing import Final

import structlog
import trio
from attrs import define, field

from appliance.clock import Now, unix_now_us
from appliance.engines import LogChunk
from appliance.errors import Conflict, NotFound
from appliance.tasklogs.blocks import LineBuffer, LogBlock, Stream
from appliance.tasklogs.segments import READ_BYTES, Run, SegmentedLog

log = structlog.get_logger(__name__)

FLUSH_SECONDS: Final = 0.05
"""At most so often is a log written to disk and its followers woken; the first line after a pause goes at once."""
HELD_BYTES_MAX: Final = 1_048_576
"""How much a writer takes before it waits for the disk."""
RECENT_BYTES_MAX: Final = 524_288
"""How much of its end a log that is being written keeps in memory for followers."""
RETRY_SECONDS: Final = 1.0
_JOB_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@define(eq=False)
class _Channel:
    """A log and those who wait for more of it."""

    stored: SegmentedLog
    more: trio.Event = field(factory=trio.Event)
    recent: deque[LogBlock] = field(factory=deque)
    recent_bytes: int = 0
    writers: int = 0
    followers: int = 0

    def add(self, block: LogBlock) -> None:
        self.recent.append(block)
        self.recent_bytes += block.next_offset - block.offset
        while self.recent_bytes > RECENT_BYTES_MAX and len(self.recent) > 1:
            gone = self.recent.popleft()
            self.recent_bytes -= gone.next_offset - gone.offset

    def at(self, offset: int) -> LogBlock | None:
        """Return the block in memory that begins at ``offset``."""
        # Those who are up to date want the newest.
        return next((block for block in reversed(self.recent) if block.offset == offset), None)

    def wake(self) -> None:
        self.more.set()
        self.more = trio.Event()


class LogWriter:
    """Writes the log of one job; made by `TaskLogs.open`."""

    def __init__(self, channel: _Channel, job_id: str, now: Now) -> None:
        self._channel = channel
        self._job_id = job_id
        self._now = now
        self._lines = LineBuffer()
        self._runs: list[Run] = []
        self._held_bytes = 0
        self._dirty = trio.Event()
        self._room = trio.Event()
        self._lock = trio.Lock()

    @property
    def written(self) -> Mapping[Stream, int]:
        """How many bytes of each stream of the attempt are stored: what its engine need not tell again."""
        return MappingProxyType(self._channel.stored.written)

    async def begin(self, attempt: int) -> None:
        """Say which attempt writes from now on; the same once more goes on where its stored text ends."""
        await self.flush(with_rest=True)
        async with self._lock:
            await trio.to_thread.run_sync(self._channel.stored.begin, attempt, self._now())

    async def write(self, chunk: LogChunk) -> None:
        """Take what an attempt wrote; wait while the disk does not keep up.

        What is not a whole line yet waits for its end, so it is stored late, never lost: it is not in `written`.
        """
        whole = self._lines.feed(chunk.stream, chunk.data)
        if whole:
            self._take(chunk.stream, whole)
        while self._held_bytes > HELD_BYTES_MAX:
            await self._room.wait()
        if not whole:
            await trio.lowlevel.checkpoint()

    async def flush(self, *, with_rest: bool = False) -> None:
        """Store what was taken; with ``with_rest`` also lines that have not ended.

        :raises OSError: it could not be stored and is still held.
        """
        async with self._lock:
            if with_rest:
                for stream, rest in self._lines.rest():
                    self._take(stream, rest)
            if not self._runs:
                return
            runs, self._runs = self._runs, []
            try:
                with trio.CancelScope(shield=True):
                    block = await trio.to_thread.run_sync(self._channel.stored.append, runs, self._now())
            except OSError:
                self._runs = runs + self._runs
                raise
            self._held_bytes -= sum(len(run.data) for run in runs)
            self._room.set()
            self._room = trio.Event()
            self._channel.add(block)
            self._channel.wake()

    async def run(self) -> None:
        """Store what comes, soon after it came, until cancelled."""
        while True:
            await self._dirty.wait()
            self._dirty = trio.Event()
            try:
                await self.flush()
            except OSError as error:
                log.warning("task_log.not_stored", job=self._job_id, error=str(error), effect="its output waits")
                self._dirty.set()
                await trio.sleep(RETRY_SECONDS)
            else:
                await trio.sleep(FLUSH_SECONDS)

    def _take(self, stream: Stream, data: bytes) -> None:
        if self._runs and self._runs[-1].stream == stream and len(self._runs[-1].data) < READ_BYTES:
            before = self._runs.pop().data
            self._held_bytes -= len(before)
            data = before + data
        self._runs.append(Run(stream=stream, data=data))
        self._held_bytes += len(data)
        self._dirty.set()


class TaskLogs:
    """The logs of all jobs, each in ``<folder>/<job id>/log``."""

    def __init__(self, folder: Path, *, limit_bytes: Callable[[], int], now: Now = unix_now_us) -> None:
        """Nothing is read before it is asked for.

        :param limit_bytes: how much of a job's log is kept: its start, and as much as there is room for of its end.
        """
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._now = now
        self._channels: dict[str, _Channel] = {}
        self._looking = trio.Lock()

    @asynccontextmanager
    async def open(self, job_id: str) -> AsyncIterator[LogWriter]:
        """Write a job's log: on where it ends, whatever ended the last writer.

        On the way out what was taken is stored, also when cancelled. Unfinished lines are stored only at the end of
        the body: after a cancellation or an exception the engine tells them again.

        :raises Conflict: somebody writes it already.
        """
        async with self._channel(job_id) as channel:
            if channel.writers:
                raise Conflict(f"the log of {job_id!r} is being written already")
            channel.writers += 1
            writer = LogWriter(channel, job_id, self._now)
            is_over, raised = False, None
            try:
                await trio.to_thread.run_sync(channel.stored.prepare)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(writer.run)
                    try:
                        yield writer
                        is_over = True
                    except Exception as error:  # comes out as it is, not in a group
                        raised = error
                    nursery.cancel_scope.cancel()
            finally:
                with trio.CancelScope(shield=True):
                    await self._last(writer, job_id, with_rest=is_over)
                channel.writers -= 1
                channel.wake()
            if raised is not None:
                raise raised

    async def read(self, job_id: str, offset: int = 0, most_bytes: int = READ_BYTES) -> LogBlock:
        """Return what lies at ``offset``; a block without pieces where nothing does, or nothing yet."""
        async with self._channel(job_id) as channel:
            return await trio.to_thread.run_sync(channel.stored.read, offset, most_bytes)

    async def size_bytes(self, job_id: str) -> tuple[int, int]:
        """Return how long the text is, and how much of it is not kept any more."""
        async with self._channel(job_id) as channel:
            return channel.stored.end, channel.stored.missing_bytes

    async def follow(
        self, job_id: str, *, offset: int = 0, is_over: Callable[[], bool]
    ) -> AsyncGenerator[LogBlock, None]:
        """Yield all that is stored from ``offset`` on, then what comes, without a gap that is not told, or a double.

        A slow reader is not waited for and costs no memory: it reads from disk, where ``missing_bytes`` of a block
        tell what was not kept until then.

        To be closed with `contextlib.aclosing` by who leaves it early.

        :param is_over: whether the job writes no more; asked when all that is stored was read. `changed` asks again.
        """
        async with self._channel(
            job_id,
        ) as channel:
            while True:
                more, is_last = channel.more, is_over() and not channel.writers
                block = channel.at(offset)
                if block is None and (offset < channel.stored.end or channel.stored.end == 0):
                    block = await trio.to_thread.run_sync(channel.stored.read, offset)
                if block is not None and block.pieces:
                    yield block
                    offset = block.next_offset
                elif is_last:
                    return
                else:
                    await more.wait()

    def changed(self, job_id: str) -> None:
        """Have those who follow a log ask again whether it is over."""
        if job_id in self._channels:
            self._channels[job_id].wake()

    async def remove(self, job_id: str) -> None:
        """Delete a job's log; nothing happens when there is none.

        :raises Conflict: it is being written.
        """
        async with self._channel(job_id) as channel:
            if channel.writers:
                raise Conflict(f"the log of {job_id!r} is being written")
            await trio.to_thread.run_sync(partial(rmtree, self._log_folder(job_id), ignore_errors=True))
            channel.stored = SegmentedLog(self._log_folder(job_id), self._limit_bytes)
            channel.recent.clear()
            channel.recent_bytes = 0
            channel.wake()

    def _log_folder(self, job_id: str) -> Path:
        if not _JOB_ID.fullmatch(job_id):
            raise NotFound("task", job_id)
        return self._folder / job_id / "log"

    @asynccontextmanager
    async def _channel(self, job_id: str) -> AsyncIterator[_Channel]:
        """Lend the job's channel; it lives as long as somebody has it."""
        folder = self._log_folder(job_id)
        if job_id not in self._channels:
            # One at a time: what is looked at must not be mended meanwhile, by a writer that looked at it too.
            async with self._looking:
                if job_id not in self._channels:
                    stored = await trio.to_thread.run_sync(SegmentedLog, folder, self._limit_bytes)
                    self._channels[job_id] = _Channel(stored)
        channel = self._channels[job_id]
        channel.followers += 1
        try:
            yield channel
        finally:
            channel.followers -= 1
            if not channel.followers:
                self._channels.pop(job_id, None)

    async def _last(self, writer: LogWriter, job_id: str, *, with_rest: bool) -> None:
        try:
            await writer.flush(with_rest=with_rest)
        except OSError as error:
            log.warning("task_log.lost", job=job_id, error=str(error), effect="the end of its output is not stored")
