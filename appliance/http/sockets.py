"""WebSockets: let in like any request, then one task for the handler and bounded queues in both directions."""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
import trio

from appliance.errors import ApplianceError
from appliance.http.answers import Reply
from appliance.http.pipeline import Edge, Exchange
from appliance.surface import SocketClosed

log = structlog.get_logger("appliance.http")

QUEUED_MESSAGES = 16
GONE_GRACE_SECONDS = 1.0
"""How long a handler may go on after `SocketClosed` before it is cancelled."""


class AcceptedSocket:
    """The `Socket` that handlers get."""

    def __init__(
        self,
        send: Callable[[dict[str, Any]], Awaitable[None]],
        messages: "trio.MemoryReceiveChannel[str | bytes]",
        write: Callable[[bytes], Awaitable[bool]],
    ) -> None:
        self._send = send
        self._write = write
        self._messages = messages
        self.closed = False

    async def receive(self) -> str | bytes:
        """Return the next message; raises `SocketClosed`."""
        try:
            return await self._messages.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise SocketClosed from None

    async def send(self, message: str | bytes) -> None:
        """Send one message; raises `SocketClosed`."""
        if self.closed:
            raise SocketClosed
        key = "text" if isinstance(message, str) else "bytes"
        await self._send({"type": "websocket.send", key: message})

    async def send_frames(self, frames: bytes) -> None:
        """Send prepared frames; raises `SocketClosed`."""
        if self.closed:
            raise SocketClosed
        if not await self._write(frames):
            raise SocketClosed

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close with a status code; closing twice is nothing."""
        if self.closed:
            return
        self.closed = True
        # A close frame holds 125 bytes, two of which are the code (RFC 6455, 5.5).
        text = reason.encode()[:120].decode("utf-8", "ignore")
        await self._send({"type": "websocket.close", "code": code, "reason": text})


async def serve_websocket(
    edge: Edge,
    exchange: Exchange,
    link: Any,
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Run one declared WebSocket until its handler ends, its client or credential is gone, or the server stops."""
    if (await receive())["type"] != "websocket.connect":
        return
    route = exchange.route
    call = None
    if exchange.failure is None and route is not None:
        try:
            call = edge.call(exchange, b"")
        except ApplianceError as failure:
            exchange.failure = failure
    if call is None or route is None:
        reply = await edge.answer(exchange, b"")
        reply.close = True
        await send({"type": "websocket.http.response.start", "status": reply.status, "headers": reply.framed()})
        await send({"type": "websocket.http.response.body", "body": reply.body})
        return
    await send({"type": "websocket.accept"})
    edge.record(exchange, Reply(101, []))
    inward, messages = trio.open_memory_channel[str | bytes](QUEUED_MESSAGES)
    # Frames go past hypercorn, which keeps nothing about those it sends; each write is whole frames, one at a time.
    socket = AcceptedSocket(send, messages, link.send_frames)
    async with trio.open_nursery() as nursery:

        async def read() -> None:
            async with inward:
                while True:
                    message = await receive()
                    if message["type"] != "websocket.receive":
                        break
                    text = message.get("text")
                    await inward.send(text if text is not None else message["bytes"])
            socket.closed = True
            await trio.sleep(GONE_GRACE_SECONDS)
            nursery.cancel_scope.cancel()

        async def watch_server() -> None:
            await link.server.context.terminated.wait()
            await socket.close(1001, "the server is stopping")
            nursery.cancel_scope.cancel()

        async def watch_caller() -> None:
            while True:
                await trio.sleep(link.limits.stream_recheck_seconds)
                if not edge.still_valid(exchange.caller):
                    break
            await socket.close(1008, "the credential is no longer valid")
            nursery.cancel_scope.cancel()

        for task in (read, watch_server, watch_caller):
            nursery.start_soon(task)
        await _handle(edge, exchange, route.endpoint.handler, call, socket)
        nursery.cancel_scope.cancel()


async def _handle(edge: Edge, exchange: Exchange, handler: Any, call: Any, socket: AcceptedSocket) -> None:
    try:
        await handler(call, socket)
    except SocketClosed:
        return
    except ApplianceError as failure:
        await socket.close(1008, failure.message)
    except (Exception, SystemExit):
        edge.crashed(exchange)
        await socket.close(1011, "internal error")
    else:
        await socket.close()
