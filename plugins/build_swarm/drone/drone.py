"""The drone: tells the server that it is here, asks for work, builds, uploads, reports, and obeys.

Three rules keep it honest. What it owes is in the spool before it begins, so that a kill loses nothing. It reports
until it gets an answer, and drops what the server does not count. It builds one package at a time and asks for the
next only when it owes nothing, so a report that is sent twice can never be taken for a later build.
"""

import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import trio
from attrs import define, evolve, field

from ..models import VERSION
from . import binaries, leftovers
from .building import argv_of, build, environment_of
from .host import Figures, portage_timestamp
from .judging import judged
from .models import ATOM, Options, Orders, Outcome, Refused, Server, Unreachable, plain
from .output import LogEnd, LogFile, LogSender
from .spool import Owed, Spool
from .waits import Waits, jittered

SYNC_SECONDS: Final = 3_600.0
SYNC_AGAIN_SECONDS: Final = 900.0
"""After this a tree that was brought up to date and is not yet what the server wants is tried again: mirrors lag, and
shut out who asks too often."""
NO_UPLOADS: Final = frozenset({404, 405, 410})
"""A server that has no such endpoint gets its binaries in another way."""
THERE_ALREADY: Final = 409
KEYLESS: Final = frozenset({401, 403})
"""Somebody may mend our credential: what is owed is kept meanwhile."""
LOG_TRIES: Final = 3
"""A server that answers but does not take the rest of a log is told the result after so many tries."""
DROPPED: Final = "dropped"
"""How a log ends whose build was taken from us."""
FAILED, OK = 1, 0


@define(eq=False)
class Drone:
    """One drone, for as long as its process runs."""

    options: Options
    server: Server
    spool: Spool
    figures: Figures
    tell: Callable[[str], None]
    """Called with a line for people whenever something happens."""
    claimed_ip: str = ""
    _owed: Owed | None = field(default=None, init=False)
    _paused: bool = field(default=False, init=False)
    _is_away: bool = field(default=False, init=False)
    _beats: int = field(default=0, init=False)
    """Heartbeats that were answered."""
    _status: int = field(default=OK, init=False)
    _dropped: str = field(default="", init=False)
    _beat_now: trio.Event = field(factory=trio.Event, init=False)
    _registered: trio.Event = field(factory=trio.Event, init=False)
    _synced: tuple[str, float] | None = field(default=None, init=False)
    """Which tree was wanted, and when it was tried to get it."""
    _working: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    _job: trio.CancelScope = field(factory=trio.CancelScope, init=False)

    async def run(self) -> int:
        """Work until stopped, or through one package with ``once``; return the exit status."""
        owed = await self._left_by_the_last()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._beat)
            with self._working:
                if await self._is_registered():
                    if owed is not None:
                        await self._settle(owed)
                    await self._work()
            await self._hand_back()
            nursery.cancel_scope.cancel()
        return self._status

    def stop(self) -> None:
        """End what is built and hand it back; `run` then returns."""
        self._working.cancel()

    # What was before.

    async def _left_by_the_last(self) -> Owed | None:
        """Return what a drone before us owed; end what it was building."""
        owed = self.spool.read()
        if owed is None:
            return None
        count = await leftovers.end(owed.log_id, grace_seconds=self.options.stop_seconds)
        if owed.state == "building":
            owed = owed.ended(Outcome.RETURNED, error="the drone was killed while it built this")
            self._remembered(owed)
        self.tell(f"{owed.package}: left by a drone before ({owed.outcome.value}; {count} processes ended)")
        return owed

    # Who we are.

    async def _beat(self) -> None:
        waits = Waits(1.0, min(self.options.heartbeat_seconds, self.options.retry_seconds))
        while True:
            try:
                self.obey(await self.server.register(self.about()))
            except (Unreachable, Refused) as error:
                self._lost(error)
                wait = waits.next()
            else:
                self._reached()
                self._beats += 1
                self._registered.set()
                waits.reset()
                wait = jittered(self.options.heartbeat_seconds)
            with trio.move_on_after(wait):
                await self._beat_now.wait()
            self._beat_now = trio.Event()

    def about(self) -> Mapping[str, Any]:
        """Return the heartbeat as it would be now."""
        options, owed = self.options, self._owed
        capabilities = {"cores": options.cores, "ram_gb": options.ram_gb, "auto_reboot": options.auto_reboot}
        timestamp = portage_timestamp(options.tree)
        return {
            "id": options.drone_id,
            "name": options.name,
            "ip": self.claimed_ip,
            "type": options.kind,
            "capabilities": capabilities | ({"portage_timestamp": timestamp} if timestamp else {}),
            "metrics": self.figures.read(),
            "current_task": owed.package if owed is not None and owed.state != "done" else None,
            "version": VERSION,
        }

    async def _is_registered(self) -> bool:
        seconds = self.options.retry_seconds if self.options.once else float("inf")
        with trio.move_on_after(seconds):
            await self._registered.wait()
            return True
        self._status = FAILED
        return False

    def obey(self, orders: Orders) -> None:
        """Do what an answer of the server orders."""
        if orders.paused is not None and orders.paused != self._paused:
            self._paused = orders.paused
            self.tell("paused: no new work" if orders.paused else "no longer paused")
        owed = self._owed
        if owed is None:
            return
        mine = plain(owed.package)
        if orders.stop is not None and plain(orders.stop.package) == mine:
            self._drop(orders.stop.reason or "the server says stop")
        elif mine in map(plain, orders.revoked):
            self._drop("revoked")

    def _drop(self, reason: str) -> None:
        self._dropped = reason
        self._job.cancel()

    # What we do.

    async def _work(self) -> None:
        waits = Waits(1.0, self.options.poll_seconds)
        while True:
            package, session_id = None, None
            try:
                if not self._paused:
                    assigned = await self.server.work()
                    self._reached()
                    self.obey(assigned.orders)
                    package, session_id = assigned.package, assigned.session_id
                    if assigned.orders.sync_to is not None:
                        await self._sync(assigned.orders.sync_to)
            except (Unreachable, Refused) as error:
                self._lost(error)
                self._status = FAILED if self.options.once else OK
            is_built = package is not None and await self._take(package, session_id)
            if self.options.once:
                return
            if is_built:
                waits.reset()
            else:
                await trio.sleep(waits.next())

    async def _take(self, package: str, session_id: str | None) -> bool:
        """Build a package; return whether it was, and is not just given back."""
        owed = Owed(package=package, session_id=session_id, log_id=secrets.token_hex(16))
        if not ATOM.fullmatch(package):
            owed = owed.ended(Outcome.FAILED, error="that is no package atom")
        elif self._remembered(owed):
            self.tell(f"{package}: building")
        else:
            owed = owed.ended(Outcome.RETURNED, error=f"the drone cannot write to {self.options.state_dir}")
        await self._settle(owed)
        return owed.state == "building"

    def _remembered(self, owed: Owed) -> bool:
        """Write down what is owed; what cannot be is still done, and told if we live."""
        try:
            self.spool.write(owed)
        except OSError as error:
            self.tell(f"{owed.package}: cannot be written to {self.options.state_dir}: {error.strerror}")
            return False
        return True

    async def _settle(self, owed: Owed) -> None:
        """Build, upload and report, as far as that is still to be done; then owe nothing.

        When we are stopped, what is owed stays: for `_hand_back`, or for the drone after us.
        """
        self._owed, self._dropped = owed, ""
        with trio.CancelScope() as self._job:
            self._beat_now.set()
            if owed.state == "building":
                owed = self._owed = await self._built(owed)
                self._remembered(owed)
            if owed.state == "built":
                owed = self._owed = await self._uploaded(owed)
                self._remembered(owed)
            await self._reported(owed)
        if self._job.cancelled_caught:
            self.tell(f"{owed.package}: dropped ({self._dropped})")
            await self._end_log(owed)
        try:
            self.spool.clear()
        except OSError as error:
            self.tell(f"{self.options.state_dir} cannot be cleared: {error.strerror}")
        self._owed = None
        self._beat_now.set()

    async def _built(self, owed: Owed) -> Owed:
        options = self.options
        log = LogFile(self.spool.log_file(owed.log_id))
        before = await trio.to_thread.run_sync(binaries.packages, options.pkgdir)
        async with trio.open_nursery() as nursery:
            if options.sends_logs:
                nursery.start_soon(self._sender(owed).follow)
            ended = await build(
                argv_of(options.build_argv, owed.package),
                environment=environment_of(options.environment, owed.log_id),
                log=log,
                most_seconds=options.build_seconds,
                grace_seconds=options.stop_seconds,
            )
            nursery.cancel_scope.cancel()
        outcome, error = judged(ended, log.tail())
        self.tell(f"{owed.package}: {outcome.value} after {ended.duration_s:.1f} s")
        files: tuple[str, ...] = ()
        if outcome is Outcome.SUCCESS and options.uploads:
            after = await trio.to_thread.run_sync(binaries.packages, options.pkgdir)
            files = binaries.to_upload(before, after, owed.package)
            if not files:
                self.tell(f"{owed.package}: no binary package in {options.pkgdir}: is that PKGDIR?")
        state: Any = "built" if files else "done"
        return evolve(owed, state=state, outcome=outcome, duration_s=ended.duration_s, error=error, files=files)

    async def _uploaded(self, owed: Owed) -> Owed:
        own = binaries.own_package(dict.fromkeys(owed.files, (0, 0, 0)), owed.package)
        for path in owed.files:
            try:
                await self._upload(path)
            except Refused as refused:
                if refused.status in NO_UPLOADS:
                    self.tell(f"{self.options.name}: the server takes no uploads ({refused.status})")
                    break
                self.tell(f"{path}: not uploaded: {refused}")
                if path == own and refused.status != THERE_ALREADY:
                    return owed.ended(Outcome.UPLOAD_FAILED, error=f"{path}: {refused}")
            except OSError as error:
                self.tell(f"{path}: {error}")
                if path == own:
                    return owed.ended(Outcome.UPLOAD_FAILED, error=f"{path}: {error.strerror or error}")
        return evolve(owed, state="done")

    async def _upload(self, path: str) -> None:
        file = self.options.pkgdir / path
        waits = Waits(1.0, self.options.retry_seconds)
        while True:
            sha256 = await trio.to_thread.run_sync(binaries.sha256_of, file)
            try:
                await self.server.upload(path, file, sha256)
            except Unreachable as error:
                self._lost(error)
                await trio.sleep(waits.next())
            else:
                self._reached()
                return

    async def _reported(self, owed: Owed) -> None:
        """Send the rest of the log, then the report, until there is an answer."""
        ending = LogEnd(self._sender(owed), owed.outcome.value, tries=LOG_TRIES if self.options.sends_logs else 0)
        waits = Waits(1.0, self.options.retry_seconds)
        while True:
            try:
                await ending.send(self._beats)
                verdict = await self.server.complete(self._report(owed))
            except Unreachable as error:
                self._lost(error)
            except Refused as refused:
                self._lost(refused)
                if refused.status not in KEYLESS:
                    self.tell(f"{owed.package}: the report is refused: {refused}")
                    return
            else:
                self._reached()
                if verdict.is_stale:
                    self.tell(f"{owed.package}: not counted: {verdict.reason or 'it is not ours any more'}")
                return
            if self.options.once:
                self._status = FAILED
            await trio.sleep(waits.next())

    async def _end_log(self, owed: Owed) -> None:
        """Tell those who follow a build that was dropped that nothing more comes; once, and within a bound."""
        if self.options.sends_logs:
            with trio.move_on_after(self.options.stop_seconds), suppress(Unreachable):
                await self._sender(owed).finish(DROPPED)

    def _report(self, owed: Owed) -> dict[str, Any]:
        return {
            "id": self.options.drone_id,
            "name": self.options.name,
            "package": owed.package,
            "status": owed.outcome.value,
            "build_duration_s": round(owed.duration_s, 3),
            "error_detail": owed.error,
        }

    def _sender(self, owed: Owed) -> LogSender:
        file = LogFile(self.spool.log_file(owed.log_id))
        return LogSender(server=self.server, file=file, log_id=owed.log_id, package=owed.package)

    async def _sync(self, wanted: str) -> None:
        """Bring the tree up to date, as the server asks, but not for the same again and again."""
        now = trio.current_time()
        if self._synced is not None and self._synced[0] == wanted and now < self._synced[1] + SYNC_AGAIN_SECONDS:
            return
        self._synced = (wanted, now)
        if not self.options.sync_argv:
            self.tell(f"the server wants the tree of {wanted or 'another day'}: no --sync-command")
            return
        self.tell(f"bringing the tree to {wanted or 'its newest'}")
        log = LogFile(self.spool.folder / "sync.log", most_bytes=1_048_576)
        ended = await build(
            list(self.options.sync_argv),
            environment=environment_of(self.options.environment, f"sync-{secrets.token_hex(16)}"),
            log=log,
            most_seconds=SYNC_SECONDS,
            grace_seconds=self.options.stop_seconds,
        )
        if ended.status != 0:
            self.tell(f"the tree could not be brought up to date: {judged(ended, log.tail())[1]}")
        log.path.unlink(missing_ok=True)
        self._beat_now.set()

    # How we end.

    async def _hand_back(self) -> None:
        """Return what was being built, and tell what else is owed, within a bound; the rest stays in the spool."""
        owed = self._owed
        if owed is None:
            return
        if owed.state == "building":
            owed = owed.ended(Outcome.RETURNED, error="the drone was stopped")
            self._remembered(owed)
        with trio.move_on_after(self.options.stop_seconds) as limit:
            await self._settle(owed)
        if limit.cancelled_caught:
            self.tell(f"{owed.package}: {owed.outcome.value}, to be told at the next start")
        else:
            self.tell(f"{owed.package}: {owed.outcome.value}, told")

    def _lost(self, error: Exception) -> None:
        if not self._is_away:
            self._is_away = True
            self.tell(f"no good answer from the server: {error}; trying again")

    def _reached(self) -> None:
        if self._is_away:
            self._is_away = False
            self.tell("the server answers again")
