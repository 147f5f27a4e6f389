"""The ASGI side of a listener: streams, WebSockets, long polls and the blueprints of plugins."""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
import trio
from attrs import define, field
from hypercorn.events import Closed

from appliance.http.answers import Reply
from appliance.http.direct import announced_bytes
from appliance.http.front import close_chunks
from appliance.http.paths import split_target
from appliance.http.pipeline import Edge, Exchange, head_of, too_large
from appliance.http.routing import Route
from appliance.http.sockets import serve_websocket
from appliance.http.streams import serve_stream
from appliance.http.uploads import StreamedBody
from appliance.surface import STREAMED

log = structlog.get_logger("appliance.http")

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


@define(eq=False)
class Application:
    """One ASGI application for all listeners; which one a request came by is in its connection."""

    edge: Edge
    blueprints: dict[int, Any] = field(factory=dict)
    """By ``id`` of the mount: the Quart application around its blueprint."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        link = scope["state"]["link"]
        path, _ = split_target(scope["raw_path"])
        is_socket = scope["type"] == "websocket"
        method = scope["state"]["method"]
        match = link.table.match(method, path, websocket=is_socket)
        if is_socket and match.route is None:
            # A blueprint may have WebSockets below its prefix.
            plain = link.table.match(method, path)
            if plain.route is not None and plain.route.mount is not None and not plain.route.in_process:
                match = plain
        query = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        exchange = self.edge.open(match, head_of(method, target, scope["headers"], match, link))
        route = match.route
        if exchange.failure is None and route is not None and route.mount is not None and not route.in_process:
            await self._blueprint(route, exchange, scope, receive, send)
        elif is_socket:
            await serve_websocket(self.edge, exchange, link, receive, send)
        elif exchange.failure is None and route is not None and route.endpoint.kind == "stream":
            await serve_stream(self.edge, exchange, link, receive, send)
        elif exchange.failure is None and route is not None and route.endpoint.body is STREAMED:
            await self._streamed(exchange, link, receive, send)
        else:
            await self._declared(exchange, link, receive, send)

    async def _blueprint(self, route: Route, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        application = self.blueprints[id(route.mount)]
        scope["state"] = {"caller": exchange.caller, "request_id": exchange.request_id}

        async def counted(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self.edge.record(exchange, Reply(message["status"], []))
            await send(message)

        await application(scope, receive, counted)

    async def _streamed(self, exchange: Exchange, link: Any, receive: Receive, send: Send) -> None:
        """Let the handler read the body; the connection ends where it leaves some of it unread."""
        announced, _ = announced_bytes(exchange.head.headers)  # type: ignore[arg-type]
        body = StreamedBody(receive, exchange.limit_bytes)
        if announced > exchange.limit_bytes:
            exchange.failure = too_large(exchange.limit_bytes)
        reply = await self.edge.answer(exchange, body)
        reply.close = reply.close or not body.is_over
        await send_reply(reply, exchange, link, receive, send)

    async def _declared(self, exchange: Exchange, link: Any, receive: Receive, send: Send) -> None:
        body, close = await self._collect(exchange, link, receive)
        if body is None:
            return
        route = exchange.route
        if route is not None and route.endpoint.waits and exchange.failure is None:
            reply = await self._answer_while_connected(exchange, body, receive)
        else:
            reply = await self.edge.answer(exchange, body)
        if reply is not None:
            reply.close = reply.close or close
            await send_reply(reply, exchange, link, receive, send)

    async def _answer_while_connected(self, exchange: Exchange, body: bytes, receive: Receive) -> Reply | None:
        reply: Reply | None = None
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                await until_gone(receive)
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            reply = await self.edge.answer(exchange, body)
            nursery.cancel_scope.cancel()
        return reply

    async def _collect(self, exchange: Exchange, link: Any, receive: Receive) -> tuple[bytes | None, bool]:
        """Read the body within its limits; ``None`` when the client is gone. Also whether the connection must end."""
        announced, _ = announced_bytes(exchange.head.headers)  # type: ignore[arg-type]
        linger = link.limits.linger_bytes
        if announced > exchange.limit_bytes and exchange.failure is None:
            exchange.failure = too_large(exchange.limit_bytes)
        if exchange.failure is not None and announced > linger:
            return b"", True
        chunks: list[bytes] = []
        length = 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None, True
            length += len(message["body"])
            if exchange.failure is not None:
                if length > linger:
                    return b"", True
            elif length > exchange.limit_bytes:
                chunks.clear()
                exchange.failure = too_large(exchange.limit_bytes)
            else:
                chunks.append(message["body"])
            if not message.get("more_body"):
                return b"".join(chunks), False


async def until_gone(receive: Receive) -> None:
    """Return when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_reply(reply: Reply, exchange: Exchange, link: Any, receive: Receive, send: Send) -> None:
    """Send a `Reply` through ASGI; a stream ends when the client goes away."""
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.framed()})
    if reply.chunks is None:
        await send({"type": "http.response.body", "body": reply.body})
        return
    chunks = reply.chunks
    whole = False
    try:
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                await until_gone(receive)
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            whole = True
            nursery.cancel_scope.cancel()
    except* Exception:
        log.exception("answer was cut short", request_id=exchange.request_id)
    finally:
        await close_chunks(chunks)
    if whole:
        await send({"type": "http.response.body", "body": b""})
    else:
        # The head is out: a connection cut short is the only way left to say that the body is not whole.
        await link.send(Closed())
