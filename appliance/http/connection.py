"""One accepted connection: its reads, writes and deadlines, and the guard that keeps its failure to itself.

A connection has one cancel scope around its read loop whose deadline is moved, never a timer task. It *rests* between
requests (keep-alive time), has a *head* under way (a total, not re-armed), a *body* under way (a total from the
endpoint's limit), or is *busy* answering (no deadline: writes have their own).
"""

import os
import socket
import ssl
import struct
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any

import structlog
import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.task_group import TaskGroup
from hypercorn.typing import ConnectionState

if TYPE_CHECKING:
    from appliance.http.server import Listening, Server

log = structlog.get_logger("appliance.http")

RECEIVE_BYTES = 65_536
QUICK_WRITES = 16
APP_GRACE_SECONDS = 5.0
USE_HTTPS = b"This port speaks TLS: use https:// in place of http://\n"
"""What a client that speaks plain HTTP to a TLS listener is told."""


class ConnectionTasks(TaskGroup):
    """hypercorn's task group, whose side tasks (WebSocket pings) end with the connection, not at their next turn."""

    def __init__(self) -> None:
        super().__init__()
        self._scopes: set[trio.CancelScope] = set()

    def spawn(self, func: Any, *args: Any) -> None:
        """Start a side task."""
        assert self._nursery is not None
        self._nursery.start_soon(self._scoped, func, *args)

    async def _scoped(self, func: Any, *args: Any) -> None:
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                await func(*args)
            finally:
                self._scopes.discard(scope)

    def finish(self) -> None:
        """End side tasks now; applications have been told that the client is gone and get a moment."""
        assert self._nursery is not None
        for scope in self._scopes:
            scope.cancel()
        self._nursery.cancel_scope.deadline = trio.current_time() + APP_GRACE_SECONDS


class Connection:
    """One connection of a `Listening` socket."""

    def __init__(self, server: "Server", listening: "Listening", stream: trio.SocketStream) -> None:
        self.server = server
        self.limits = server.limits
        self.listener = listening.listener
        self.table = listening.table
        self.edge = server.edge
        self.scheme = "http" if listening.tls is None else "https"
        self.memory: dict[str, Any] = {}
        """What authentication learns about this connection."""
        self.peer, self.local, self.peer_uid = _addresses(stream.socket)
        self.scope = trio.CancelScope()
        self.handshake = trio.CancelScope()
        """Around the TLS handshake alone, which comes before there is anything to read."""
        self.resting = True
        """Between requests, with nothing of the next one here yet."""
        self.ending = False
        self.broken = False
        self._transport = stream
        self._stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] = stream
        if listening.tls is not None:
            self._stream = trio.SSLStream(stream, listening.tls, server_side=True, https_compatible=True)
        self._send_lock = trio.Lock()
        self._quick_writes = 0
        self._protocol: Any = None

    # ------------------------------------------------------------ states

    @property
    def stopping(self) -> bool:
        """Whether the server is draining: answers say ``Connection: close``."""
        return self.server.context.terminated.is_set()

    def rest(self) -> None:
        """Wait for the next request."""
        self.resting = True
        deadline = trio.current_time() + self.limits.keep_alive_seconds
        # To the second: moving a deadline costs more than all else here.
        if not deadline - 1 <= self.scope.deadline <= deadline:
            self.scope.deadline = deadline
        if self.stopping:
            self.scope.cancel()

    def expect_head(self) -> None:
        """A head has begun; the rest of it has this long."""
        self.resting = False
        self.scope.deadline = trio.current_time() + self.limits.head_seconds

    def expect_body(self, expected_bytes: int) -> None:
        """A head is complete; its body has this long as a whole."""
        self.resting = False
        self.scope.deadline = trio.current_time() + self.limits.body_budget_seconds(expected_bytes)

    def work_briefly(self) -> None:
        """A hot request is being answered, which came whole: the time to the next one is far more than it may take."""
        if self.resting:
            self.resting = False
        else:
            self.work()

    def work(self) -> None:
        """A request is being answered."""
        self.resting = False
        if not self.ending:
            self.scope.deadline = inf

    # ------------------------------------------------------------ running

    async def run(self) -> None:
        """Serve until either side is done; a failure ends this connection and is logged, nothing else."""
        metrics = self.edge.metrics
        metrics.connections += 1
        self.server.connections.add(self)
        try:
            await self._serve()
        except trio.Cancelled:
            raise
        except BaseExceptionGroup as group:
            cancelled, rest = group.split(trio.Cancelled)
            if rest is not None:
                if rest.split(Exception)[1] is not None:
                    raise
                self._failed(rest)
            if cancelled is not None:
                raise cancelled from None
        except Exception as failure:
            self._failed(failure)
        finally:
            metrics.connections -= 1
            self.server.connections.discard(self)
            await self._close()

    def _failed(self, failure: BaseException) -> None:
        self.edge.metrics.failed_connections += 1
        log.error("connection failed", peer=self.peer, listener=self.listener.name, exc_info=failure)

    async def _serve(self) -> None:
        if isinstance(self._stream, trio.SSLStream) and not await self._shake_hands(self._stream):
            return
        group = ConnectionTasks()
        async with group:
            self._protocol = self.server.protocol(
                self.server.app,
                self.server.config,
                self.server.context,
                group,
                ConnectionState({"link": self}),
                self.scheme == "https",
                self.peer,
                self.local if isinstance(self.local, tuple) else None,
                self.send,
            )
            self._protocol.link = self
            self.rest()
            await self._read()
            group.finish()

    async def _shake_hands(self, stream: "trio.SSLStream[trio.SocketStream]") -> bool:
        """Whether TLS is up within the time of a head; whatever else the other side does ends the connection.

        Who speaks plain HTTP is told so. It begins with the name of a method, TLS with the byte 0x16; that byte is
        looked at, not taken.
        """
        is_plain_http = False
        try:
            with self.handshake:
                self.handshake.deadline = trio.current_time() + self.limits.head_seconds
                is_plain_http = (await self._transport.socket.recv(1, socket.MSG_PEEK)).isalpha()
                if not is_plain_http:
                    await stream.do_handshake()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):  # ssl.SSLError is an OSError
            return False
        if is_plain_http:
            await self._refuse_plain_http()
            return False
        return not self.handshake.cancelled_caught

    async def _refuse_plain_http(self) -> None:
        """Say what to do in plain HTTP, and drop what comes until the other side has read it."""
        self._stream = self._transport
        headers = [
            *self.server.config.response_headers("h11"),
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(USE_HTTPS)),
            (b"connection", b"close"),
        ]
        head = b"".join(b"%b: %b\r\n" % header for header in headers)
        await self._write(b"HTTP/1.1 400 Bad Request\r\n" + head + b"\r\n" + USE_HTTPS)
        await self._end()
        dropped = 0
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError), self.scope:
            while dropped <= self.limits.linger_bytes:
                data = await self._transport.receive_some(RECEIVE_BYTES)
                if not data:
                    break
                dropped += len(data)

    async def _read(self) -> None:
        protocol, dropped = self._protocol, 0
        try:
            with self.scope:
                while True:
                    data = bytes(await self._stream.receive_some(RECEIVE_BYTES))
                    self._quick_writes = 0
                    if self.server.faults is not None:
                        self.server.faults.on_read(data)
                    if not data:
                        break
                    if self.ending:
                        dropped += len(data)
                        if dropped > self.limits.linger_bytes:
                            break
                        continue
                    await protocol.handle(RawData(data))
        except (trio.ClosedResourceError, trio.BrokenResourceError, ssl.SSLError):
            pass
        self.ending = True
        await protocol.handle(Closed())

    # ------------------------------------------------------------ writing

    async def send(self, event: Event) -> None:
        """Take what the protocol sends: bytes, or the wish to end."""
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Closed):
            await self._end()
        elif isinstance(event, Updated) and event.idle:
            self.rest()

    async def send_frames(self, frames: bytes) -> bool:
        """Send prepared WebSocket frames; ``False`` where a close frame was sent, which nothing may follow."""
        sent: bool = await self._protocol.send_frames(frames)
        return sent

    async def _write(self, data: bytes) -> None:
        if not data:
            return
        try:
            self._send_lock.acquire_nowait()  # free, as nearly always: no turn of the loop for it
        except trio.WouldBlock:
            await self._send_lock.acquire()
        try:
            if self.broken:
                return
            if self.server.faults is not None:
                self.server.faults.on_send(data)
            data = self._write_now(data)
            if not data:
                return
            deadline = trio.current_time() + self.limits.send_seconds
            # Shielded: an answer half sent is worse than one late; the deadline bounds it.
            with trio.CancelScope(shield=True, deadline=deadline) as scope:
                try:
                    await self._stream.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError):
                    self.broken = True
            if scope.cancelled_caught:
                self.broken = True
        finally:
            self._send_lock.release()
        if self.broken:
            self.scope.cancel()

    def _write_now(self, data: bytes) -> bytes:
        """Send what the kernel takes at once and return the rest: most answers need neither a deadline nor a turn.

        At most `QUICK_WRITES` between two reads, so that neither pipelined requests nor a stream that always has a next
        piece keep everybody else waiting.
        """
        self._quick_writes += 1
        if self._stream is not self._transport or self._quick_writes > QUICK_WRITES:
            self._quick_writes = 0
            return data
        try:
            sent = os.write(self._transport.socket.fileno(), data)
        except OSError:
            return data  # full, or gone: the way that waits tells which
        return data[sent:] if sent < len(data) else b""

    async def _end(self) -> None:
        """Close our side; what the other side still has under way is read and dropped for a moment.

        Closing with unread bytes would reset the connection and take the answer with it.
        """
        if self.ending:
            return
        self.ending = True
        self.resting = False
        self.scope.deadline = trio.current_time() + self.limits.linger_seconds
        if self.broken or isinstance(self._stream, trio.SSLStream):
            self.scope.cancel()
            return
        try:
            await self._transport.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            self.scope.cancel()

    async def _close(self) -> None:
        if self._stream is self._transport:
            self._transport.socket.close()  # nothing to say first, and so nothing to wait for
            return
        deadline = trio.current_time() + self.limits.linger_seconds
        gone = suppress(trio.BrokenResourceError, trio.BusyResourceError, ssl.SSLError)
        with trio.CancelScope(shield=True, deadline=deadline), gone:
            await self._stream.aclose()
        await trio.aclose_forcefully(self._transport)


def _addresses(sock: trio.socket.SocketType) -> tuple[tuple[str, int] | None, tuple[str, int] | str, int | None]:
    """Return peer, local address and, on a unix socket, the peer's uid; raises `OSError` when it is gone already."""
    if sock.family == socket.AF_UNIX:
        packed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _pid, uid, _gid = struct.unpack("3i", packed)
        return None, str(sock.getsockname() or ""), uid
    peer, local = sock.getpeername(), sock.getsockname()
    return (peer[0], peer[1]), (local[0], local[1]), None
