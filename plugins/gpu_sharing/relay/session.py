"""One connection through the relay, from its acceptance to its end."""

import errno
import select
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from attrs import define, field

from .flow import Broken, Flow, Side
from .pipes import Pipes
from .reports import PeerCounts, SessionReport

# Why a session ended (`SessionReport.reason`, `ShareReport.ended`). One that has reached no worker is refused.
FINISHED: Final = "finished"
"""Both sides have said all they had to say."""
PEER_RESET: Final = "peer_reset"
WORKER_RESET: Final = "worker_reset"
EXPIRED: Final = "expired"
REVOKED: Final = "revoked"
LIMIT: Final = "limit"
"""The limit was lowered below it; also of a connection that is refused because the limit is reached."""
ACCESS: Final = "access"
"""The rule was changed to one that does not admit it; also of a connection that is refused by the rule."""
SHUTDOWN: Final = "shutdown"
FAILED: Final = "failed"
"""The relay itself has failed at this one."""
TARGET_DOWN: Final = "target_down"
"""The worker could not be reached."""

# Why a connection was refused, besides (`ShareReport.refused`).
NO_TARGET: Final = "no_target"
"""The worker does not run."""
FULL: Final = "full"
"""The relay serves as many connections as it can, of all shares."""
OVERLOADED: Final = "overloaded"
"""This process or the system has no descriptors or no memory left for it."""

CONNECT_SECONDS: Final = 5.0
BUDGET_BYTES: Final = 1 << 20
"""What one direction may move before another session's turn."""

KEEPALIVE_IDLE_SECONDS: Final = 60
KEEPALIVE_INTERVAL_SECONDS: Final = 20
KEEPALIVE_PROBES: Final = 3

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
_RESET_SINCE: Final = frozenset({errno.ECONNRESET, errno.EPIPE})
"""What a connection that was made and then reset says; one that was never made is refused or unreachable."""
_GONE: Final = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_ROOM: Final = select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR
INTEREST: Final = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET


def prepare(sock: socket.socket) -> None:
    """Make a connection's socket pass on what it gets at once, and notice in two minutes that its peer has vanished."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Urgent data (telnet, old ftp) stays in its place in the stream instead of being lost.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)


def reset(sock: socket.socket) -> None:
    """Close a connection so that its peer sees a reset: what was cut must never look complete."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    sock.close()


class Ended(Exception):
    """A session has come to its end; ``reason`` is one of the words above."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@define(eq=False)
class Session:
    """A client's socket, its worker's, and the two flows between them."""

    share_id: str
    address: str
    port: int
    """Of the client."""
    client: Side
    worker: Side
    pipes: Pipes
    opened_at_unix_us: int
    last_active_at_unix_us: int
    give_up_at: float
    """Of the monotonic clock: when a connection to the worker that is not made by then is given up."""
    turn: Callable[["Session"], bool]
    """Calls `advance`, and deals with the end."""
    up: Flow = field(init=False)
    down: Flow = field(init=False)
    peer: PeerCounts | None = field(default=None, init=False)
    """The counters of the client's address, once the worker is reached."""
    is_connecting: bool = field(default=True, init=False)

    def __attrs_post_init__(self) -> None:
        self.up = Flow(self.client, self.worker, self.pipes)
        self.down = Flow(self.worker, self.client, self.pipes)

    def hear(self, fd: int, events: int) -> None:
        """Remember what the kernel says of one of the two sockets."""
        side = self.client if fd == self.client.fd else self.worker
        if events & _GONE:
            side.is_readable = True
        if events & _ROOM:
            side.is_writable = True
        if events & select.EPOLLERR:
            side.has_failed = True

    def serve(self) -> bool:
        """Take a turn; return whether there is more to do at once."""
        return self.turn(self)

    def advance(self) -> bool:
        """Move what can be moved; return whether there may be more to move at once.

        :raises Ended: the session is over.
        """
        if self.is_connecting and not self._is_connected():
            return False
        broken: Side | None = None
        more = False
        # Also the other direction of a broken one: what was received before a reset is handed on before the reset.
        for flow in (self.up, self.down):
            try:
                more |= flow.move(BUDGET_BYTES)
            except Broken as error:
                error.side.has_failed = True
                broken = broken or error.side
        if self.up.is_done and self.down.is_done:
            raise Ended(FINISHED)
        broken = broken or next((side for side in (self.client, self.worker) if side.has_failed), None)
        if broken is not None:
            raise Ended(PEER_RESET if broken is self.client else WORKER_RESET)
        return more

    def _is_connected(self) -> bool:
        if self.client.has_failed:
            raise Ended(PEER_RESET)
        if not self.worker.is_writable:
            return False
        error = self.worker.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error in _RESET_SINCE:
            self.worker.has_failed = True  # it was there, and what it said before is still to be read
        elif error or _is_own_echo(self.worker.sock):
            raise Ended(TARGET_DOWN)
        self.is_connecting = False
        return True

    @property
    def is_holding(self) -> bool:
        """Whether bytes are between the two sides."""
        return self.up.is_holding or self.down.is_holding

    def close(self, *, cleanly: bool) -> None:
        """Close both sockets: as their peers did where ``cleanly``, else with a reset."""
        for side in (self.client, self.worker):
            if cleanly:
                side.sock.close()
            else:
                reset(side.sock)
        self.up.drop()
        self.down.drop()

    def report(self, *, ended_at_unix_us: int | None = None, reason: str = "") -> SessionReport:
        """Return a copy of what is known of it."""
        return SessionReport(
            share_id=self.share_id,
            address=self.address,
            port=self.port,
            opened_at_unix_us=self.opened_at_unix_us,
            last_active_at_unix_us=self.last_active_at_unix_us,
            ended_at_unix_us=ended_at_unix_us,
            reason=reason,
            bytes_from_peer=self.up.carried_bytes,
            bytes_to_peer=self.down.carried_bytes,
        )


def _is_own_echo(sock: socket.socket) -> bool:
    # A connection to a free port of this host may meet itself (RFC 9293, 3.5: simultaneous open).
    try:
        return bool(sock.getsockname() == sock.getpeername())
    except OSError:
        return True  # not connected after all
