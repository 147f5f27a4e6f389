"""HTTP/1.1 by h11: hypercorn's protocol with its gaps closed.

One write for head and first body chunk, our own framing errors, no h2c, no Content-Length beside Transfer-Encoding, a
WebSocket handshake refused in the shape of whoever owns the path, and an early answer never leaves a connection that
looks open and is dead.
"""

import time
from http import HTTPStatus
from itertools import chain
from typing import TYPE_CHECKING, Any
from wsgiref.handlers import format_date_time

import h11
import msgspec
import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, Data, EndBody, Response
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import ASGIWebsocketState, WSStream
from wsproto.connection import ConnectionState

from appliance.errors import BadInput
from appliance.http.paths import split_target
from appliance.http.pipeline import head_of
from appliance.http.problems import FRAMING
from appliance.http.routing import Match

if TYPE_CHECKING:
    from appliance.http.connection import Connection


REASONS = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
"""What stands behind the status on the first line: many programs show that line to people, and nothing else."""


class BadHandshake(BadInput):
    """A request to become a WebSocket that RFC 6455 (4.2.1) does not allow."""

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        return (("Sec-WebSocket-Version", "13"),)


class _DateHeader:
    second = -1
    headers: list[tuple[bytes, bytes]] = []  # noqa: RUF012


def date_headers() -> list[tuple[bytes, bytes]]:
    """Return the Date header, made once a second."""
    now = int(time.time())
    if now != _DateHeader.second:
        _DateHeader.second = now
        _DateHeader.headers = [(b"date", format_date_time(now).encode("ascii"))]
    return _DateHeader.headers


class HardenedH11(H11Protocol):
    """hypercorn's HTTP/1.1 protocol, hardened; declared endpoints go through ASGI like everything else."""

    link: "Connection"
    _head = b""
    _early = b""
    _opened = False
    _is_websocket = False
    _headers: list[tuple[bytes, bytes]]

    async def handle(self, event: Event) -> None:
        if isinstance(event, Closed):
            await self._close_stream()
            await self.can_read.set()
            return
        assert isinstance(event, RawData)
        if self.connection.their_state is h11.MUST_CLOSE:
            return  # they announced their last request: what follows is nobody's
        self.connection.receive_data(event.data)
        await self._handle_events()
        if self.link.resting and self.stream is None and self.connection.trailing_data[0]:
            self.link.expect_head()

    async def _handle_events(self) -> None:
        while not self.link.ending and self.connection.their_state is not h11.MUST_CLOSE:
            if self.connection.they_are_waiting_for_100_continue:
                await self.send(RawData(self.connection.send(_continue())))
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as error:
                await self._refuse(error.error_status_hint)
                return
            if isinstance(event, h11.Request):
                await self._begin(event)
            elif event is h11.PAUSED:
                await self.can_read.clear()
                await self.can_read.wait()
            elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed) or self.stream is None:
                return
            elif isinstance(event, h11.Data):
                await self.stream.handle(Body(stream_id=STREAM_ID, data=bytes(event.data)))
            elif isinstance(event, h11.EndOfMessage):
                self.link.work()
                await self.stream.handle(EndBody(stream_id=STREAM_ID))
            elif isinstance(event, Data):
                if self._opened:
                    await self._take(event)
                else:
                    await self._keep_early(event.data)

    async def _take(self, data: Data) -> None:
        """Hand on what a WebSocket client sends; end the connection when hypercorn refuses it.

        It says 1009 for too large a message, and would let the handler go on sending after that.
        """
        stream = self.stream
        if stream is None:
            return
        await stream.handle(data)
        if (
            isinstance(stream, WSStream)
            and stream.state is ASGIWebsocketState.CONNECTED
            and stream.connection.state is ConnectionState.LOCAL_CLOSING
        ):
            await self.send(Closed())

    async def send_frames(self, frames: bytes) -> bool:
        """Send prepared WebSocket frames; ``False`` where a close frame was sent, which nothing may follow.

        See RFC 6455, 5.5.1. Hypercorn may still be writing that close frame.
        """
        stream = self.stream
        if not isinstance(stream, WSStream) or stream.connection.state is not ConnectionState.OPEN:
            return False
        await self.send(RawData(frames))
        return True

    async def _keep_early(self, data: bytes) -> None:
        """Hold what a WebSocket client sends before it has our 101; hypercorn would end in an exception."""
        self._early += data
        if len(self._early) > self.link.limits.head_bytes:
            await self.send(Closed())

    async def _begin(self, request: h11.Request) -> None:
        # h11's headers are a sequence in Python: looked through once.
        self._headers = list(request.headers)
        names = {name for name, _ in self._headers}
        self._is_websocket = b"upgrade" in names and request.method == b"GET" and is_websocket_upgrade(self._headers)
        if request.http_version not in (b"1.1", b"1.0"):
            await self._refuse(505)
        elif b"content-length" in names and b"transfer-encoding" in names:
            # Two readers of one such request may disagree on where it ends; h11 takes it.
            await self._refuse(400)
        elif self._is_websocket and (failure := handshake_failure(request, self._headers)) is not None:
            await self._refuse_handshake(request, failure)
        else:
            await self._create_stream(request)

    async def _create_stream(self, request: h11.Request) -> None:
        # Bodies that go to ASGI are bounded there too; the time they may take is bounded here.
        match = self._match(request)
        limit = match.route.endpoint.limit_bytes if match.route is not None else 0
        self.link.expect_body(limit)
        # hypercorn turns methods to upper case, and they are case-sensitive (RFC 9110, 9.1).
        self.connection_state["method"] = request.method.decode("ascii")
        await super()._create_stream(request)
        if type(self.stream) is not HTTPStream:
            self.link.work()
            if self.stream is None or self.stream.closed:
                # hypercorn has refused the handshake, says that it closes, and does not.
                await self.send(Closed())

    def _match(self, request: h11.Request) -> Match:
        path, _ = split_target(request.target)
        return self.link.table.match(request.method.decode("ascii"), path, websocket=self._is_websocket)

    async def _check_protocol(self, event: h11.Request) -> None:
        """Never leave HTTP/1.1: an h2c upgrade is a header like any other."""

    async def _refuse(self, status: int) -> None:
        """Answer a request that is not well-formed, where an answer is still possible, and end."""
        connection = self.connection
        if isinstance(connection, h11.Connection) and connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            title, hint = FRAMING.get(status, FRAMING[400])
            status = status if status in FRAMING else 400
            body = msgspec.json.encode({"error": title, "message": title, "hint": hint})
            length = (b"content-length", b"%d" % len(body))
            await self._send_last(status, [(b"content-type", b"application/json"), length], body)
        await self.send(Closed())

    async def _refuse_handshake(self, request: h11.Request, failure: BadHandshake) -> None:
        """Answer as the owner of the path does, and end; hypercorn would answer 400 without a word."""
        match = self._match(request)
        edge = self.link.edge
        exchange = edge.open(match, head_of("GET", request.target, self._headers, match, self.link))
        exchange.failure = exchange.failure or failure
        reply = await edge.answer(exchange, b"")
        await self._send_last(reply.status, reply.framed(), reply.body)
        await self.send(Closed())

    async def _send_last(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        send = self.connection.send
        ending = [*headers, *date_headers(), (b"connection", b"close")]
        try:
            data = send(h11.Response(status_code=status, headers=ending, reason=REASONS.get(status, b""))) or b""
            data += (send(h11.Data(data=body)) or b"") + (send(h11.EndOfMessage()) or b"")
        except h11.LocalProtocolError:
            data = b""
        await self.send(RawData(data))

    async def stream_send(self, event: Any) -> None:
        """Send what ASGI answers; the head waits for the first piece of the body, so that both go out at once."""
        kind = type(event)
        if kind is Response and event.status_code >= 200:
            headers = list(chain(event.headers, date_headers()))
            if self._is_last():
                headers.append((b"connection", b"close"))
            reason = REASONS.get(event.status_code, b"")
            self._head = self._framed(h11.Response(headers=headers, status_code=event.status_code, reason=reason))
        elif kind is Response:
            headers = [*event.headers, *date_headers()]
            data = self._framed(h11.InformationalResponse(headers=headers, status_code=event.status_code))
            await self.send(RawData(data))
            if event.status_code == 101 and self.stream is not None:
                while self._early:
                    early, self._early = self._early, b""
                    await self._take(Data(stream_id=STREAM_ID, data=early))
                self._opened = True
        elif kind is Body or kind is EndBody:
            data = self._head + self._framed(h11.Data(data=event.data) if kind is Body else h11.EndOfMessage())
            self._head = b""
            if data:
                await self.send(RawData(data))
        else:
            await super().stream_send(event)

    def _framed(self, event: Any) -> bytes:
        try:
            return self.connection.send(event) or b""
        except h11.LocalProtocolError:
            if self.connection.their_state is not h11.ERROR:
                raise
            return b""

    def _is_last(self) -> bool:
        return self.link.stopping or self.keep_alive_requests >= self.link.limits.requests_per_connection

    async def _maybe_recycle(self) -> None:
        connection = self.connection
        await self._close_stream()
        if self.link.ending:
            await self.can_read.set()
            return
        early = connection.their_state is h11.SEND_BODY and connection.our_state is h11.DONE
        if early and not self.link.stopping:
            # The answer is out before its request is in: read the rest, then go on.
            self.stream = Sink(self)  # type: ignore[assignment]
            self.link.expect_body(0)
            self.link.scope.deadline = trio.current_time() + self.link.limits.linger_seconds
            await self.can_read.set()
        elif connection.our_state is h11.DONE and connection.their_state is h11.DONE and not self.link.stopping:
            connection.start_next_cycle()
            await self.can_read.set()
            await self.send(Updated(idle=True))
        else:
            await self.can_read.set()
            await self.send(Closed())


class Sink:
    """Takes the rest of a request's body after the answer went out, then lets the connection be used again."""

    def __init__(self, protocol: HardenedH11) -> None:
        self._protocol = protocol
        self._left = protocol.link.limits.linger_bytes

    async def handle(self, event: Any) -> None:
        if isinstance(event, Body):
            self._left -= len(event.data)
            if self._left < 0:
                await self._protocol.send(Closed())
        elif isinstance(event, EndBody):
            self._protocol.stream = None
            await self._protocol._maybe_recycle()


def is_websocket_upgrade(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the headers ask to become a WebSocket."""
    upgrade = connection = False
    for name, value in headers:
        if name == b"upgrade":
            upgrade = value.strip().lower() == b"websocket"
        elif name == b"connection":
            connection = connection or b"upgrade" in [token.strip() for token in value.lower().split(b",")]
    return upgrade and connection


def handshake_failure(request: h11.Request, headers: list[tuple[bytes, bytes]]) -> BadHandshake | None:
    """Return why a request cannot become a WebSocket, ``None`` if it can."""
    found = dict(headers)
    if request.http_version != b"1.1" or not found.get(b"sec-websocket-key"):
        return BadHandshake("not a WebSocket handshake", hint="send it by HTTP/1.1 and with a Sec-WebSocket-Key")
    if found.get(b"sec-websocket-version") != b"13":
        return BadHandshake("this WebSocket version is not spoken here", hint="send Sec-WebSocket-Version: 13")
    return None


def _continue() -> h11.InformationalResponse:
    return h11.InformationalResponse(status_code=100, headers=[])
