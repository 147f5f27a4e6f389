"""Takes the logs of builds part by part, lends them to readers, and removes what is too old."""

import shutil
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Final

import structlog
import trio
from attrs import define, field

from appliance.plugin import (
    ApplianceError,
    Conflict,
    Core,
    LogBlock,
    LogChunk,
    NotFound,
    StorageFailed,
    TaskLogs,
    TooLarge,
)

from ..states import Build
from . import store
from .models import BuildLog
from .settings import LogSettings

log = structlog.get_logger(__name__)

PRUNE_SECONDS: Final = 300.0
QUIET_US: Final = 15 * 60_000_000
"""A log of which nothing came for so long ends: its drone is gone."""
REPORTED_WITHIN_US: Final = 10 * 60_000_000
"""A drone ends a log and then reports; a lost connection may come in between."""
DAY_US: Final = 86_400_000_000
OPEN_MAX: Final = 4_096
"""Logs that are written at once; a fleet has one for each drone."""
OPEN_OF_DRONE_MAX: Final = 8
"""Logs of one drone that are written at once; with one more the oldest ends, since drones build few at a time."""
PRUNED_SHARE: Final = 0.9
"""How full logs are once room was made: it is not made again for every part."""
GAVE_UP: Final = "lost"
"""The outcome of a log whose drone is gone."""


@define(eq=False)
class _Open:
    """A log that is being written."""

    about: BuildLog
    heard_unix_us: int
    lock: trio.Lock = field(factory=trio.Lock)


@define(eq=False)
class BuildLogs:
    """All logs of builds; also the service that removes the old ones."""

    core: Core
    settings: LogSettings
    name: str = "swarm-logs"
    _texts: TaskLogs = field(init=False)
    _open: dict[str, _Open] = field(factory=dict, init=False)
    _ended_bytes: int = field(default=0, init=False)
    """What is kept of the logs that have ended."""
    _pruning: trio.Lock = field(factory=trio.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        folder = self.core.folder / "build-logs"
        self._texts = TaskLogs(folder, limit_bytes=lambda: self.settings.log_limit_bytes, now=self.core.now)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Prune every five minutes until cancelled; what was being written when we went down may go on."""
        left = await self.core.database.read(lambda connection: store.unended(connection, OPEN_MAX))
        now = self.core.now()
        for known in left:
            opened = self._open.setdefault(known.log_id, _Open(known, now))
            opened.about.size_bytes = await self.end_bytes(known.log_id)
        await self._count_ended()
        task_status.started()
        while True:
            try:
                await self.prune()
            except ApplianceError as error:  # a full disk: done at the next look
                log.warning("swarm_logs.not_pruned", reason=error.message)
            await trio.sleep(PRUNE_SECONDS)

    async def append(self, about: BuildLog, offset: int, data: bytes, *, outcome: str = "") -> BuildLog:
        """Store a part of a log, and end it when the part says how the build ended; return the log as it is now.

        What is stored already is left out and what would leave a gap is not taken: the length that is returned says
        where to go on.

        :param about: what the drone says that it is, for a log that is new.
        :raises Conflict: it is another drone's, or too many are being written.
        :raises TooLarge: the logs that are being written take all the room there is.
        :raises StorageFailed: nothing was stored.
        """
        opened = await self._opened(about)
        async with opened.lock:
            known = opened.about
            if known.ended_unix_us is not None:
                return known
            await self._make_room(len(data))
            try:
                known.size_bytes = await self._written(known.log_id, offset, data)
            except OSError as error:
                raise StorageFailed(f"the log cannot be stored: {error.strerror}", hint="is the disk full?") from error
            opened.heard_unix_us = self.core.now()
            if outcome and known.size_bytes == offset + len(data):
                await self._end(known, outcome)
            return known

    async def _written(self, log_id: str, offset: int, data: bytes) -> int:
        """Append what is new of some data; return how long the text is then."""
        async with self._texts.open(log_id) as writer:
            await writer.begin(1)
            size = writer.written["stdout"]
            if offset <= size and (fresh := data[size - offset :]):
                await writer.write(LogChunk(stream="stdout", data=fresh))
                await writer.flush(with_rest=True)
            return writer.written["stdout"]

    async def _opened(self, about: BuildLog) -> _Open:
        opened = self._open.get(about.log_id)
        if opened is None:
            known = await self._stored(about.log_id)
            if known is None and len(self._open) >= OPEN_MAX:
                raise Conflict("too many logs are being written", hint="logs that nothing comes of end by themselves")
            if known is None:
                known = about
                await self._end_oldest_of(about.drone_id)
                await self._put(known)
            opened = self._open.setdefault(about.log_id, _Open(known, self.core.now()))
        if opened.about.drone_id != about.drone_id:
            raise Conflict("that log is another drone's", hint="make a new random id for each build")
        return opened

    async def _end_oldest_of(self, drone_id: str) -> None:
        """End what a drone has left open, so that it never has more open than it can be building."""
        its = [opened for opened in self._open.values() if opened.about.drone_id == drone_id]
        its.sort(key=lambda opened: opened.heard_unix_us)
        for opened in its[: max(0, len(its) - OPEN_OF_DRONE_MAX + 1)]:
            async with opened.lock:
                if opened.about.ended_unix_us is None:
                    await self._end(opened.about, GAVE_UP)

    async def _end(self, known: BuildLog, outcome: str) -> None:
        known.outcome, known.ended_unix_us = outcome, self.core.now()
        await self._put(known)
        if self._open.pop(known.log_id, None) is not None:
            self._ended_bytes += min(known.size_bytes, self.settings.log_limit_bytes)
        self._texts.changed(known.log_id)

    async def _put(self, known: BuildLog) -> None:
        await self.core.database.write(lambda connection: store.put(connection, known))

    async def _stored(self, log_id: str) -> BuildLog | None:
        return await self.core.database.read(lambda connection: store.one(connection, log_id))

    # ------------------------------------------------------------ reading

    async def get(self, log_id: str) -> BuildLog:
        """Return a log. :raises NotFound: there is none."""
        opened = self._open.get(log_id)
        found = opened.about if opened is not None else await self._stored(log_id)
        if found is None:
            raise NotFound("build log", log_id[:64], hint="it may have been removed: see log_keep_days")
        return found

    async def page(self, values: dict[str, Any]) -> list[BuildLog]:
        """Return logs, newest first; see `store.page`."""
        found = await self.core.database.read(lambda connection: store.page(connection, values))
        return [opened.about if (opened := self._open.get(one.log_id)) is not None else one for one in found]

    async def log_ids(self, builds: Sequence[Build]) -> list[str | None]:
        """Return, for each build of the history, the id of its log, ``None`` where none was streamed."""
        asked: list[dict[str, Any]] = [
            {
                "atom": build.atom,
                "drone_id": build.drone_id,
                "built_unix_us": build.built_unix_us,
                "since_unix_us": build.built_unix_us - REPORTED_WITHIN_US,
            }
            for build in builds
        ]
        return await self.core.database.read(lambda connection: store.of_builds(connection, asked))

    def is_live(self, log_id: str) -> bool:
        """Whether more may come; a log that was open when the appliance stopped is, once a part of it has come."""
        return log_id in self._open

    async def read(self, log_id: str, offset: int) -> LogBlock:
        """Return what lies at an offset; without pieces where nothing does."""
        return await self._texts.read(log_id, offset)

    async def end_bytes(self, log_id: str) -> int:
        """Return how long the text is."""
        return (await self._texts.size_bytes(log_id))[0]

    async def follow(self, log_id: str, offset: int) -> AsyncGenerator[LogBlock, None]:
        """Yield what is stored from an offset on, then what comes, until the build ends."""
        blocks = self._texts.follow(log_id, offset=offset, is_over=lambda: not self.is_live(log_id))
        async with aclosing(blocks):
            async for block in blocks:
                yield block

    # ------------------------------------------------------------ retention

    @property
    def _open_bytes(self) -> int:
        limit = self.settings.log_limit_bytes
        return sum(min(opened.about.size_bytes, limit) for opened in self._open.values())

    async def _count_ended(self) -> None:
        limit = self.settings.log_limit_bytes
        self._ended_bytes = await self.core.database.read(lambda connection: store.ended_bytes(connection, limit))

    async def _make_room(self, size_bytes: int) -> None:
        """Remove the oldest logs that have ended when all together would take more than they may."""
        total = self.settings.log_total_bytes
        async with self._pruning:
            if self._open_bytes + self._ended_bytes + size_bytes <= total:
                return
            if self._ended_bytes:
                await self._remove_old(int(total * PRUNED_SHARE) - size_bytes)
            if self._open_bytes + self._ended_bytes + size_bytes > total:
                raise TooLarge(
                    f"the logs that are being written take all of {total} bytes",
                    hint="build on without; more room: log_total_bytes in [plugins.build_swarm]",
                )

    async def prune(self) -> None:
        """End logs of drones that are gone, and remove the old ones and their texts."""
        now = self.core.now()
        for opened in list(self._open.values()):
            if now - opened.heard_unix_us > QUIET_US and opened.about.ended_unix_us is None:
                async with opened.lock:
                    await self._end(opened.about, GAVE_UP)
        async with self._pruning:
            await self._remove_old(self.settings.log_total_bytes)

    async def _remove_old(self, total_bytes: int) -> None:
        """Remove what is too old or too much, so that at most ``total_bytes`` are kept where that can be."""
        now = self.core.now()
        until = now - int(self.settings.log_keep_days * DAY_US)
        keep = self.settings.log_count_max
        limit, ended = self.settings.log_limit_bytes, total_bytes - self._open_bytes
        found = await self.core.database.read(
            lambda connection: store.old(
                connection, until_unix_us=until, keep=keep, limit_bytes=limit, ended_bytes=ended
            )
        )
        gone = [log_id for log_id in found if log_id not in self._open]
        if not gone:
            return

        def write(connection: sqlite3.Connection) -> None:
            store.forget(connection, gone)

        # The texts first: what has no row any more would never be found.
        for log_id in gone:
            await self._texts.remove(log_id)
            folder = self.core.folder / "build-logs" / log_id
            await trio.to_thread.run_sync(partial(shutil.rmtree, folder, ignore_errors=True))
        await self.core.database.write(write)
        await self._count_ended()
