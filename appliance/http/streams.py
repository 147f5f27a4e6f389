"""Server-sent events: a declared async generator, kept alive, re-checked, and closed when its client is gone."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import msgspec
import structlog
import trio
from hypercorn.events import Closed

from appliance.errors import ApplianceError
from appliance.http.answers import NO_STORE, NOSNIFF, Reply
from appliance.http.pipeline import Edge, Exchange
from appliance.surface import ServerEvent

log = structlog.get_logger("appliance.http")

OPEN_AFTER_SECONDS = 0.05
"""How long the first event may take before the answer's head is sent without it."""
_HEADERS = [(b"content-type", b"text/event-stream"), NOSNIFF, NO_STORE, (b"x-accel-buffering", b"no")]


def encode_event(event: ServerEvent) -> bytes:
    """Return one event as WHATWG HTML 9.2.5 writes it; names and ids lose line breaks."""
    lines = []
    if event.event_id is not None:
        lines.append(f"id: {_one_line(event.event_id)}")
    if event.event != "message":
        lines.append(f"event: {_one_line(event.event)}")
    head = "\n".join(lines).encode() + b"\n" if lines else b""
    # msgspec never writes a line break into JSON.
    return head + b"data: " + msgspec.json.encode(event.data) + b"\n\n"


def _one_line(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ").replace("\0", " ")


class _EventStream:
    """The sending half: knows whether the head is out and when something was last sent."""

    def __init__(self, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        self._send = send
        self._lock = trio.Lock()
        self.is_open = False
        self.last_sent = trio.current_time()

    async def write(self, data: bytes) -> None:
        """Send bytes, after the head if need be."""
        async with self._lock:
            if not self.is_open:
                self.is_open = True
                await self._send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
            self.last_sent = trio.current_time()


async def serve_stream(
    edge: Edge,
    exchange: Exchange,
    link: Any,
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Run one declared stream until its generator ends, its client or credential is gone, or the server stops."""
    limits = link.limits
    if exchange.head.method == "HEAD":
        edge.record(exchange, Reply(200, []))
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await send({"type": "http.response.body", "body": b""})
        return
    output = _EventStream(send)
    failure: ApplianceError | None = None
    async with trio.open_nursery() as nursery:

        async def watch_client() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            nursery.cancel_scope.cancel()

        async def watch_server() -> None:
            await link.server.context.terminated.wait()
            nursery.cancel_scope.cancel()

        async def watch_caller() -> None:
            while True:
                await trio.sleep(limits.stream_recheck_seconds)
                if not edge.still_valid(exchange.caller):
                    nursery.cancel_scope.cancel()

        async def beat() -> None:
            await trio.sleep(OPEN_AFTER_SECONDS)
            if not output.is_open:
                await output.write(b": open\n\n")
            while True:
                await trio.sleep_until(output.last_sent + limits.stream_heartbeat_seconds)
                if trio.current_time() >= output.last_sent + limits.stream_heartbeat_seconds:
                    await output.write(b": \n\n")

        for task in (watch_client, watch_server, watch_caller, beat):
            nursery.start_soon(task)
        failure = await _pump(edge, exchange, output)
        nursery.cancel_scope.cancel()
    if failure is not None and not output.is_open:
        reply = edge.finished(exchange, await edge.failed(exchange, failure))
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.framed()})
        await send({"type": "http.response.body", "body": reply.body})
        return
    edge.record(exchange, Reply(200, []))
    if failure is not None:
        # Cut short, so that the client knows and connects again.
        await link.send(Closed())
        return
    if not output.is_open:
        await output.write(b": end\n\n")
    await send({"type": "http.response.body", "body": b""})


async def _pump(edge: Edge, exchange: Exchange, output: _EventStream) -> ApplianceError | None:
    """Send every event; return what stopped the generator before its end."""
    route = exchange.route
    assert route is not None
    try:
        events: AsyncIterator[ServerEvent] = route.endpoint.handler(edge.call(exchange, b""))
        async with aclosing(events):  # type: ignore[type-var]
            async for event in events:
                await output.write(encode_event(event))
    except ApplianceError as failure:
        if output.is_open:
            await output.write(b"event: error\ndata: " + msgspec.json.encode({"error": failure.message}) + b"\n\n")
        return failure
    except (Exception, SystemExit):
        return edge.crashed(exchange)
    return None
