"""Declared endpoints, answered in the read task of the connection's h11: no task, no channel, no ASGI."""

from functools import lru_cache
from typing import Any

import h11
import trio
from hypercorn.events import Closed, RawData
from hypercorn.protocol.events import Body, EndBody, StreamClosed

from appliance.http.answers import Reply
from appliance.http.hardened import REASONS, HardenedH11, date_headers
from appliance.http.pipeline import Exchange, head_of, log, too_large

_NO_BODY_STATUS = frozenset({204, 304})


class DirectH11(HardenedH11):
    """Declared endpoints are answered here; only what streams, waits or belongs to a blueprint goes through ASGI."""

    async def _create_stream(self, request: h11.Request) -> None:
        if self._is_websocket:
            await super()._create_stream(request)
            return
        method = request.method.decode("ascii")
        match = self._match(request)
        if match.route is not None and not match.route.in_process:
            await super()._create_stream(request)
            return
        headers = self._headers
        head = head_of(method, request.target, headers, match, self.link)
        exchange = self.link.edge.open(match, head)
        stream = DirectStream(self, exchange)
        self.stream = stream  # type: ignore[assignment]
        self.keep_alive_requests += 1
        await stream.begin(headers)


class DirectStream:
    """One declared request in the read task: collects the body, runs the handler, sends the answer."""

    __slots__ = ("_chunks", "_discard", "_done", "_exchange", "_length", "_protocol")

    def __init__(self, protocol: DirectH11, exchange: Exchange) -> None:
        self._protocol = protocol
        self._exchange = exchange
        self._chunks: list[bytes] = []
        self._length = 0
        self._discard = exchange.failure is not None
        self._done = False

    async def begin(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Set the body's deadline, and answer at once where its end is not worth waiting for."""
        protocol, exchange = self._protocol, self._exchange
        link = protocol.link
        announced, chunked = announced_bytes(headers)
        if announced > exchange.limit_bytes and exchange.failure is None:
            exchange.failure = too_large(exchange.limit_bytes)
            self._discard = True
        if announced or chunked:
            link.expect_body(exchange.limit_bytes if chunked else min(announced, exchange.limit_bytes))
        if self._discard:
            unwilling = protocol.connection.they_are_waiting_for_100_continue
            if unwilling or announced > link.limits.linger_bytes:
                await self._finish(close=True)

    async def handle(self, event: Any) -> None:
        """Take one piece of the request."""
        if self._done:
            return
        kind = type(event)
        if kind is Body:
            self._length += len(event.data)
            if self._discard:
                if self._length > self._protocol.link.limits.linger_bytes:
                    await self._finish(close=True)
            elif self._length > self._exchange.limit_bytes:
                self._chunks.clear()
                self._exchange.failure = too_large(self._exchange.limit_bytes)
                self._discard = True
            else:
                self._chunks.append(event.data)
        elif kind is EndBody:
            await self._finish(close=False)
        elif kind is StreamClosed:
            self._done = True

    async def _finish(self, *, close: bool) -> None:
        self._done = True
        protocol, chunks = self._protocol, self._chunks
        link = protocol.link
        link.work()
        reply = await link.edge.answer(self._exchange, chunks[0] if len(chunks) == 1 else b"".join(chunks))
        if close or protocol._is_last():
            reply.close = True
        await self._send(reply)
        protocol.stream = None
        await protocol._maybe_recycle()

    async def _send(self, reply: Reply) -> None:
        protocol = self._protocol
        connection = protocol.connection
        headers = [*reply.framed(), *date_headers()]
        # A cookie may be a session's: nothing keeps it longer than its answer.
        make = _response if any(name == b"set-cookie" for name, _ in headers) else _kept_response
        data = connection.send(make(reply.status, tuple(headers))) or b""
        bodiless = self._exchange.head.method == "HEAD" or reply.status in _NO_BODY_STATUS
        if reply.chunks is not None:
            await self._send_chunks(reply, data, bodiless)
            return
        if reply.body and not bodiless:
            data += connection.send(h11.Data(data=reply.body)) or b""
        data += connection.send(h11.EndOfMessage()) or b""
        await protocol.send(RawData(data))

    async def _send_chunks(self, reply: Reply, head: bytes, bodiless: bool) -> None:
        protocol, connection = self._protocol, self._protocol.connection
        chunks = reply.chunks
        assert chunks is not None
        data = head
        try:
            if not bodiless:
                async for chunk in chunks:
                    data += connection.send(h11.Data(data=chunk)) or b""
                    await protocol.send(RawData(data))
                    data = b""
                    if protocol.link.broken:
                        return
            data += connection.send(h11.EndOfMessage()) or b""
            await protocol.send(RawData(data))
        except (Exception, SystemExit):
            # The head is out: a connection cut short is the only way left to say that the body is not whole.
            log.exception("answer was cut short", request_id=self._exchange.request_id)
            await protocol.send(RawData(data))
            await protocol.send(Closed())
        finally:
            close = getattr(chunks, "aclose", None)
            if close is not None:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
                    await close()


def _response(status: int, headers: tuple[tuple[bytes, bytes], ...]) -> h11.Response:
    return h11.Response(status_code=status, headers=list(headers), reason=REASONS.get(status, b""))


# h11 looks through every header each time an event is made, and most answers of one second have the same head.
_kept_response = lru_cache(maxsize=64)(_response)


def announced_bytes(headers: list[tuple[bytes, bytes]]) -> tuple[int, bool]:
    """Return the body's Content-Length (0 without one) and whether it is chunked."""
    for name, value in headers:
        if name == b"content-length":
            return int(value), False
        if name == b"transfer-encoding":
            return 0, True
    return 0, False
