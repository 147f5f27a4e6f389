"""The relay itself: shares come and go, each with a port of its own."""

import resource
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog
import trio
from attrs import define, field
from attrs.validators import min_len

from appliance.plugin import Now, unix_now_us

from . import ports as places
from .door import EXHAUSTED, INTEREST, Door
from .pipes import Pipes
from .pump import Pump
from .reports import SessionReport, ShareReport
from .session import EXPIRED, REVOKED, SHUTDOWN
from .sessions import Sessions
from .share import LiveShare
from .terms import Terms

log = structlog.get_logger(__name__)

TICK_SECONDS: Final = 0.2
"""How often ends and deadlines are looked at; well within the second that a cut may take."""
RETRY_SECONDS: Final = 1.0
"""Between two looks for a free port, for whichever share has none."""
LOG_EVERY_SECONDS: Final = 10.0
SESSIONS_MAX: Final = 4096
DEFAULT_PORTS: Final = range(20_000, 30_000)


def _descriptors() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 20 if soft == resource.RLIM_INFINITY else soft


@define(eq=False)
class Relay:
    """Serves shares on this host. All calls come from the task tree that runs it; none of them waits.

    It can be told of shares before it runs and between two runs: they listen at once, and those who connect wait.
    """

    ports: Sequence[int] = field(default=DEFAULT_PORTS, validator=min_len(1))
    hosts: Sequence[str] = ()
    """IP addresses to listen on; none: every one."""
    now: Now = unix_now_us
    monotonic: Callable[[], float] = time.monotonic
    drain_seconds: float = 2.0
    """How long sessions may go on at shutdown while bytes pass through them."""
    sessions_max: int = SESSIONS_MAX
    """Of all shares; never more than a quarter of the descriptors that this process may have (each takes two)."""
    on_ended: Callable[[SessionReport], object] | None = None
    """Is told of every session that had reached its worker, when it ends; must not block."""
    pipes: Pipes = field(factory=Pipes)
    name: str = "relay"
    accept_errors: int = field(default=0, init=False)
    """How often a connection could not be accepted, because this process or the system was full."""
    _shares: dict[str, LiveShare] = field(factory=dict, init=False)
    _doors: dict[Door, None] = field(factory=dict, init=False)
    _paused: dict[Door, None] = field(factory=dict, init=False)
    _homeless: dict[LiveShare, None] = field(factory=dict, init=False)
    """Shares that should listen and have found no port."""
    _pump: Pump = field(init=False)
    _sessions: Sessions = field(init=False)
    _retry_at: float = field(default=0.0, init=False)
    _logged_at: float = field(default=float("-inf"), init=False)
    _needless: trio.lowlevel.ParkingLot = field(factory=trio.lowlevel.ParkingLot, init=False)
    """Where the ticks wait while there is nothing to look at."""

    def __attrs_post_init__(self) -> None:
        self._begin()

    def put(self, terms: Terms) -> int | None:
        """Serve a share, or serve it on new terms, which also hold for its live sessions.

        :return: the port it listens on; ``None`` when it is over, or when no port is free: it gets one as soon as one
            is (`report` says which, and why none).
        """
        share = self._shares.get(terms.share_id)
        if share is None:
            share = self._shares[terms.share_id] = LiveShare(terms, port=terms.port)
            self._needless.unpark_all()
        else:
            for one, reason in share.supersede(terms, now_unix_us=self.now()).items():
                self._sessions.end(one, reason)
        if terms.is_over(self.now()):
            self._shut(share)
        elif share.listening is None:
            self._open(share)
        return share.listening.port if share.listening else None

    def remove(self, share_id: str, *, reason: str = REVOKED) -> ShareReport | None:
        """Cut a share's sessions, close its port and forget it; return its last report, ``None`` if there is none."""
        share = self._shares.pop(share_id, None)
        if share is None:
            return None
        self._shut(share)
        for one in list(share.sessions):
            self._sessions.end(one, reason)
        return share.report()

    def report(self, share_id: str) -> ShareReport | None:
        """Return what has passed through a share; ``None`` if it is not served."""
        share = self._shares.get(share_id)
        return share.report() if share else None

    def reports(self) -> list[ShareReport]:
        """Return the reports of all shares."""
        return [share.report() for share in list(self._shares.values())]

    def sessions(self, share_id: str) -> list[SessionReport]:
        """Return a share's live sessions that have reached the worker, in the order they were opened."""
        share = self._shares.get(share_id)
        return [one.report() for one in list(share.sessions) if not one.is_connecting] if share else []

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; then let go on what is in motion, at most for ``drain_seconds``, and cut the rest."""
        self._sessions.sessions_max = min(self.sessions_max, _descriptors() // 4)
        for share in self._shares.values():
            if share.listening is None and not share.terms.is_over(self.now()):
                self._open(share)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump.run)
                nursery.start_soon(self._tick)
                task_status.started()
        finally:
            try:
                with trio.CancelScope(shield=True):
                    await self._drain()
            finally:
                self._end()

    async def _drain(self) -> None:
        for share in self._shares.values():
            self._shut(share)
        with trio.move_on_after(self.drain_seconds):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump.run)
                while self._sessions.is_busy:
                    await trio.sleep(TICK_SECONDS / 4)
                    self._cut_expired()
                nursery.cancel_scope.cancel()

    def _begin(self) -> None:
        """Make what lasts for one run; shares and their counts outlast it."""
        self._pump = Pump(self.monotonic)
        self._sessions = Sessions(
            pump=self._pump, pipes=self.pipes, now=self.now, monotonic=self.monotonic, on_ended=self._tell
        )

    def _end(self) -> None:
        self._sessions.close(SHUTDOWN)
        for share in self._shares.values():
            self._shut(share)
        self._pump.close()
        self.pipes.close()
        self._begin()

    def _tell(self, report: SessionReport) -> None:
        if self.on_ended is not None:
            self.on_ended(report)

    async def _tick(self) -> None:
        while True:
            if not self._shares and self._sessions.is_empty:
                await self._needless.park()
            await trio.sleep(TICK_SECONDS)
            self._cut_expired()
            self._sessions.tick()
            self._resume()
            self._retry()

    def _cut_expired(self) -> None:
        now = self.now()
        for share in list(self._shares.values()):
            if share.terms.is_over(now):
                self._shut(share)
                for one in list(share.sessions):
                    self._sessions.end(one, EXPIRED)

    def _retry(self) -> None:
        """Look for a port for one share that has none, so that many of them keep nobody else waiting."""
        if self._homeless and self.monotonic() >= self._retry_at:
            self._retry_at = self.monotonic() + RETRY_SECONDS
            share = next(iter(self._homeless))
            self._open(share)

    def _open(self, share: LiveShare) -> None:
        """Give a share a port, if there is one."""
        self._homeless.pop(share, None)
        try:
            share.listening = self._find_port(share)
            share.problem = "" if share.listening else f"no free port in {self.ports[0]}-{self.ports[-1]}"
        except OSError as error:
            share.problem = f"cannot listen: {error.strerror or error}"
        if share.listening is None:
            self._homeless[share] = None
            self._warn("relay_share_has_no_port", share_id=share.terms.share_id, problem=share.problem)
            return
        share.port, share.tried_ports = share.listening.port, 0
        for sock in share.listening.sockets:
            door = Door(sock, share, self._sessions.welcome, self._on_door_error)
            self._doors[door] = None
            self._watch(door)

    def _find_port(self, share: LiveShare) -> places.Listening | None:
        for port in places.choices(share.terms.share_id, self.ports, before=share.port, skip=share.tried_ports):
            found = places.listen(self.hosts, port)
            if found is not None:
                return found
        # The rest of a long range comes next time.
        share.tried_ports += places.TRIES_MAX
        if share.tried_ports >= len(self.ports):
            share.tried_ports = 0
        return None

    def _shut(self, share: LiveShare) -> None:
        """Stop a share's listening; its sessions go on."""
        self._homeless.pop(share, None)
        share.problem = ""
        if share.listening is None:
            return
        for door in [one for one in self._doors if one.share is share]:
            del self._doors[door]
            self._paused.pop(door, None)
            self._pump.forget(door.sock.fileno())
        share.listening.close()
        share.listening = None

    def _on_door_error(self, door: Door, error: OSError) -> None:
        self.accept_errors += 1
        self._warn("relay_cannot_accept", share_id=door.share.terms.share_id, problem=error.strerror)
        if error.errno in EXHAUSTED:
            # Those who wait stay in the queue; to be told of them over and over would use up the processor.
            self._pump.forget(door.sock.fileno())
            self._paused[door] = None
        else:
            self._shut(door.share)
            self._open(door.share)

    def _resume(self) -> None:
        paused, self._paused = self._paused, {}
        for door in paused:
            self._watch(door)

    def _watch(self, door: Door) -> None:
        try:
            self._pump.watch(door.sock.fileno(), door, INTEREST)
        except OSError:
            self._paused[door] = None  # no memory left to watch it: again at the next tick

    def _warn(self, event: str, **facts: object) -> None:
        if self.monotonic() - self._logged_at >= LOG_EVERY_SECONDS:
            self._logged_at = self.monotonic()
            log.warning(event, **facts)
