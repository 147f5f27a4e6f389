"""All live connections: let in or refused, given turns, ended and counted."""

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog
from attrs import define, field

from appliance.plugin import Now

from . import session as words
from .access import address_of
from .door import EXHAUSTED
from .farewell import INTEREST as FAREWELL_INTEREST
from .farewell import LINGER_SECONDS, Farewell
from .flow import Side
from .pipes import Pipes
from .pump import Pump
from .reports import SessionReport
from .session import INTEREST, Ended, Session, prepare, reset
from .share import LiveShare

log = structlog.get_logger(__name__)

QUIET_US: Final = 500_000
"""A session through which nothing has passed for so long is in the middle of nothing."""
FAREWELLS_MAX: Final = 256


@define(eq=False)
class Sessions:
    """Every session of every share."""

    pump: Pump
    pipes: Pipes
    now: Now
    monotonic: Callable[[], float]
    on_ended: Callable[[SessionReport], object]
    sessions_max: int = 0
    live: dict[Session, LiveShare] = field(factory=dict)
    _connecting: dict[Session, None] = field(factory=dict, init=False)
    _farewells: dict[Farewell, None] = field(factory=dict, init=False)

    def welcome(self, share: LiveShare, client: socket.socket, host: str, port: int) -> None:
        """Take over an accepted connection: refuse it, or connect it to the worker."""
        try:
            self._welcome(share, client, str(address_of(host)), port)
        except Exception:
            # One connection's failure is never another's.
            log.exception("relay_connection_failed", share_id=share.terms.share_id, address=host)
            share.counts.refused[words.FAILED] += 1
            reset(client)

    def _welcome(self, share: LiveShare, client: socket.socket, address: str, port: int) -> None:
        now = self.now()
        reason = words.FULL if len(self.live) >= self.sessions_max else share.refuse(address, now_unix_us=now)
        if reason:
            share.counts.refused[reason] += 1
            if reason == words.NO_TARGET:
                self._see_off(client)
            else:
                reset(client)  # nothing is kept for those who may not be here
            return
        assert share.terms.target is not None, "refused otherwise"
        try:
            worker = _dial(*share.terms.target)
        except OSError as error:
            share.counts.refused[words.OVERLOADED if error.errno in EXHAUSTED else words.TARGET_DOWN] += 1
            self._see_off(client)
            return
        one = Session(
            share_id=share.terms.share_id,
            address=address,
            port=port,
            client=Side(client),
            worker=Side(worker),
            pipes=self.pipes,
            opened_at_unix_us=now,
            last_active_at_unix_us=now,
            give_up_at=self.monotonic() + words.CONNECT_SECONDS,
            turn=self.turn,
        )
        try:
            prepare(client)
            self.pump.watch(one.worker.fd, one, INTEREST)
            self.pump.watch(one.client.fd, one, INTEREST)
        except OSError:
            # The client has gone already, or the kernel has no memory left to watch it.
            self.pump.forget(one.worker.fd, one.client.fd)
            one.close(cleanly=False)
            share.counts.refused[words.OVERLOADED] += 1
            return
        self.live[one] = share
        share.sessions[one] = None
        self._connecting[one] = None

    def turn(self, one: Session) -> bool:
        """Let a session move its bytes; return whether it has more to move at once."""
        up, down = one.up.carried_bytes, one.down.carried_bytes
        reason, more = "", False
        try:
            more = one.advance()
        except Ended as end:
            reason = end.reason
        except Exception:
            # One connection's failure is never another's.
            log.exception("relay_connection_failed", share_id=one.share_id, address=one.address)
            reason = words.FAILED
        self._count(one, up, down)
        if reason:
            self.end(one, reason)
        return more

    def _count(self, one: Session, up: int, down: int) -> None:
        if one.is_connecting:
            return
        counts, now = self.live[one].counts, self.now()
        if one.peer is None:
            one.peer = counts.admit(one.address, now_unix_us=now)
            del self._connecting[one]
        up, down = one.up.carried_bytes - up, one.down.carried_bytes - down
        if up or down:
            counts.carried(one.peer, from_peer=up, to_peer=down, now_unix_us=now)
            one.last_active_at_unix_us = now

    def end(self, one: Session, reason: str) -> None:
        """End a session and count it; unless both sides had finished they see a reset."""
        share = self.live.pop(one, None)
        if share is None:
            return
        share.sessions.pop(one, None)
        self._connecting.pop(one, None)
        self.pump.forget(one.client.fd, one.worker.fd)
        if one.peer is None:
            share.counts.refused[reason] += 1
            if reason == words.TARGET_DOWN:
                reset(one.worker.sock)
                self._see_off(one.client.sock)
                return
            one.close(cleanly=False)
            return
        one.close(cleanly=reason == words.FINISHED)
        one.peer.connections_live -= 1
        share.counts.ended[reason] += 1
        self._tell(one.report(ended_at_unix_us=self.now(), reason=reason))

    def tick(self) -> None:
        """Give up workers that do not answer, and clients that do not leave."""
        now = self.monotonic()
        for one in [one for one in self._connecting if now >= one.give_up_at]:
            self.end(one, words.TARGET_DOWN)
        for farewell in [one for one in self._farewells if now >= one.ends_at]:
            self._leave(farewell)

    @property
    def is_empty(self) -> bool:
        """Whether there is nobody, not even one who is being seen off."""
        return not self.live and not self._farewells

    @property
    def is_busy(self) -> bool:
        """Whether some session is in the middle of something."""
        since = self.now() - QUIET_US
        return any(one.is_holding or one.last_active_at_unix_us > since for one in self.live)

    def close(self, reason: str) -> None:
        """End all of them."""
        for one in list(self.live):
            self.end(one, reason)
        for farewell in list(self._farewells):
            self._leave(farewell)

    def _see_off(self, client: socket.socket) -> None:
        if len(self._farewells) >= FAREWELLS_MAX:
            client.close()
            return
        client.setblocking(False)
        farewell = Farewell(client, self.monotonic() + LINGER_SECONDS, self._leave)
        try:
            self.pump.watch(farewell.fd, farewell, FAREWELL_INTEREST)
        except OSError:
            client.close()
            return
        self._farewells[farewell] = None

    def _leave(self, farewell: Farewell) -> None:
        self._farewells.pop(farewell, None)
        self.pump.forget(farewell.fd)
        farewell.sock.close()

    def _tell(self, report: SessionReport) -> None:
        try:
            self.on_ended(report)
        except Exception:
            # Whoever listens must not cost other people their connections.
            log.exception("relay_listener_failed", share_id=report.share_id)


def _dial(host: str, port: int) -> socket.socket:
    """Begin to connect to a worker; raise `OSError` when that fails at once."""
    family = socket.AF_INET6 if address_of(host).version == 6 else socket.AF_INET
    worker = socket.socket(family, socket.SOCK_STREAM)
    try:
        prepare(worker)
        with suppress(BlockingIOError):  # EINPROGRESS: the pump hears of the rest
            worker.connect((host, port))
    except BaseException:
        worker.close()
        raise
    return worker
