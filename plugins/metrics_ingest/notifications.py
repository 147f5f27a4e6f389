"""Raises notices of servers: of what their samples say, and of those that send none any more.

Looking at a sample must cost next to nothing, so cool-downs are held in memory and what is due is queued; the service
writes it. After a restart core's own check holds the cool-downs.
"""

from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

import structlog
import trio
from attrs import define, field, frozen

from appliance.plugin import ApplianceError, Notices, Now, Reading

from .findings import BACK, SILENT, Facts, Finding, back, due, facts_of, silent
from .models import SURFACE, Server

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 5.0
"""How often silent servers are looked for."""
LATE_SECONDS: Final = 10.0
"""A look that comes so much too late says that we stood still, not that others are silent."""
SILENT_INTERVALS: Final = 10
KEPT_GAPS: Final = 10
QUEUE: Final = 1000
RECALLED: Final = 1000
RETRY_SECONDS: Final = 60.0
"""After what core counted up, or could not store: it is asked again then."""
GRACE_SECONDS: Final = 2.0
FOREVER_US: Final = 2**63


@define(eq=False)
class Watch:
    """What is remembered of one server while we run."""

    heard_at: float
    """When a look last found that it had reported, by trio's clock."""
    looked_unix_us: int | None
    """Its last sign of life at that look."""
    reading: Reading | None = None
    facts: Facts | None = None
    """Of ``reading``."""
    seen_unix_us: int | None = None
    gaps_us: deque[int] = field(factory=lambda: deque(maxlen=KEPT_GAPS))
    """Between the last times it reported."""
    is_silent: bool = False
    """Whether its silence was the last that was told of it."""
    cooling: dict[str, tuple[int, int]] = field(factory=dict)
    """By code: from when until when nothing is raised; times before the first are of a clock that was set back."""

    def heard(self, seen_unix_us: int | None) -> None:
        """Note that it reported just now."""
        if seen_unix_us is not None:
            if self.seen_unix_us is not None:
                self.gaps_us.append(seen_unix_us - self.seen_unix_us)
            self.seen_unix_us = seen_unix_us


@frozen(kw_only=True)
class Due:
    """A finding on its way to be stored."""

    server_id: int
    slug: str
    finding: Finding


@define(eq=False)
class Notifier:
    """Told of every newest sample by `check`; a service that writes what is due."""

    notices: Notices
    now: Now
    servers: Callable[[], Iterable[Server]] = field(kw_only=True)
    """Returns every registered server, to look for silent ones."""
    latest: Callable[[str], Reading | None] = field(kw_only=True)
    """Returns the newest reading by series id; tells a server's usual interval until it was heard of twice."""
    silent_seconds: float = field(kw_only=True)
    """The shortest silence that is told; one of ten usual intervals is needed too."""
    name: str = field(default="notifier", init=False)
    _watches: dict[int, Watch] = field(factory=dict, init=False)
    _send: trio.MemorySendChannel[Due] = field(init=False)
    _receive: trio.MemoryReceiveChannel[Due] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[Due](QUEUE)

    # ------------------------------------------------------------ samples

    def check(self, server: Server, before: Reading | None, reading: Reading) -> None:
        """Queue what a server's newest sample gives reason to tell; quick, and never waits.

        :param before: the newest until now; ``None`` on a server's first. The local server's first since the start
            has none either, and nobody needs to be told what the host has that they have just installed this on.
        """
        watch = self._watch(server)
        watch.heard(server.last_seen_unix_us)
        if not server.is_active:
            return
        facts = facts_of(reading, server.name)
        previous = watch.facts if before is watch.reading else None
        if previous is None:
            is_first = before is None and not server.is_local
            previous = None if is_first else facts if before is None else facts_of(before, server.name)
        watch.reading, watch.facts = reading, facts
        if not reading.is_recovered:  # of that one people were told when it came
            for finding in due(previous, facts):
                self._offer(server, watch, finding)

    def _watch(self, server: Server) -> Watch:
        watch = self._watches.get(server.server_id)
        if watch is None:
            watch = Watch(trio.current_time(), server.last_seen_unix_us)
            self._watches[server.server_id] = watch
        return watch

    def _offer(self, server: Server, watch: Watch, finding: Finding) -> bool:
        """Queue a finding unless it is cooling down or the queue is full."""
        start, end = watch.cooling.get(finding.code, (0, 0))
        if start <= self.now() < end:
            return False
        try:
            self._send.send_nowait(Due(server_id=server.server_id, slug=server.slug, finding=finding))
        except trio.WouldBlock:  # the next sample, or the next look, brings it again
            return False
        watch.cooling[finding.code] = 0, FOREVER_US
        return True

    # ------------------------------------------------------------ the service

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write what is due and look for silent servers, until cancelled; then write the rest."""
        await self._recall()
        task_status.started()
        look_at = trio.current_time() + LOOK_SECONDS
        one: Due | None = None
        try:
            while True:
                with trio.move_on_at(look_at):
                    one = await self._receive.receive()
                if one is not None:
                    await self._write(one)
                    one = None
                late = trio.current_time() - look_at
                if late >= 0:
                    self.look(stood_still=late > LATE_SECONDS)
                    look_at = trio.current_time() + LOOK_SECONDS
        except trio.Cancelled:
            with trio.move_on_after(GRACE_SECONDS, shield=True):
                if one is not None:  # nobody knows whether it was stored; if so, core counts it up
                    await self._write(one)
                await self._write_rest()
            raise

    async def _write(self, one: Due) -> None:
        finding = one.finding
        wait = RETRY_SECONDS
        stored = False
        try:
            is_new = await self.notices.raise_one(
                finding.code,
                finding.message,
                title=finding.title,
                level=finding.level,
                subject=one.slug,
                source=SURFACE,
                cool_down_seconds=finding.cool_down_seconds,
            )
            stored = True
            wait = finding.cool_down_seconds if is_new else min(wait, finding.cool_down_seconds)
        except ApplianceError as error:  # the disk is full
            log.warning("notice.not_stored", kind=finding.code, server=one.slug, reason=error.message)
        finally:
            watch = self._watches.get(one.server_id)
            if watch is not None:
                now = self.now()  # after core's, so that core agrees when the time is over
                watch.cooling[finding.code] = now, now + int(wait * 1_000_000)
                if not stored and finding.code in {SILENT, BACK}:
                    watch.is_silent = finding.code == BACK

    async def _write_rest(self) -> None:
        while True:
            try:
                one = self._receive.receive_nowait()
            except trio.WouldBlock:
                return
            await self._write(one)

    # ------------------------------------------------------------ silence

    def silent_after_seconds(self, server: Server) -> float:
        """Return how long a server may be quiet: `silent_seconds`, and ten of its usual intervals."""
        return max(self.silent_seconds, SILENT_INTERVALS * self._usual_interval_seconds(server))

    def _usual_interval_seconds(self, server: Server) -> float:
        watch = self._watches.get(server.server_id)
        if watch is not None and watch.gaps_us:
            gaps = sorted(watch.gaps_us)
            return gaps[(len(gaps) - 1) // 2] / 1_000_000  # of two the shorter: the other may have been a silence
        known = self.latest(server.series_id)
        return 0.0 if known is None else known.interval_seconds or 0.0

    def look(self, *, stood_still: bool = False) -> None:
        """Tell of servers that have fallen silent, and of those that are back.

        :param stood_still: this process was stopped, so that nobody's silence counts.
        """
        present = {server.server_id: server for server in self.servers() if server.is_active}
        for server_id in [each for each in self._watches if each not in present]:
            del self._watches[server_id]
        now = trio.current_time()
        for server in present.values():
            watch = self._watch(server)
            if server.last_seen_unix_us != watch.looked_unix_us:
                watch.heard_at, watch.looked_unix_us = now, server.last_seen_unix_us
                if watch.is_silent and self._offer(server, watch, back(server.name)):
                    watch.is_silent = False
            elif stood_still:
                watch.heard_at = now
            elif not watch.is_silent and server.last_seen_unix_us is not None:
                is_over = now - watch.heard_at > self.silent_after_seconds(server)
                if is_over and self._offer(server, watch, silent(server.name, _moment(server.last_seen_unix_us))):
                    watch.is_silent = True

    async def _recall(self) -> None:
        """Take up of whom silence was told before we were started."""
        by_slug = {server.slug: server for server in self.servers() if server.is_active}
        for notice in await self.notices.newest(RECALLED, SURFACE):
            if notice.kind in {SILENT, BACK}:
                server = by_slug.pop(notice.subject, None)  # the newest of each counts
                if server is not None and notice.first_unix_us >= server.created_unix_us:
                    self._watch(server).is_silent = notice.kind == SILENT


def _moment(unix_us: int) -> str:
    return f"{datetime.fromtimestamp(unix_us // 1_000_000, UTC):%Y-%m-%d %H:%M:%S} UTC"
