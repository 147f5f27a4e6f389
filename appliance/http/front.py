"""Hot declared endpoints, answered in front of h11.

A request is served here only if it is plain beyond doubt: a hot endpoint, HTTP/1.1, well-formed printable headers, one
Host, at most one all-digit Content-Length within limits, no Transfer-Encoding, Expect, Upgrade or odd Connection.
Anything else builds `DirectH11`, replays every byte since the last message boundary and never comes back. The
decision falls before anything is answered, so the replay is exact. The grammar is a subset of what h11 accepts: no
bare line feeds, no folded lines, no white space around names.
"""

import re
from typing import TYPE_CHECKING, Any

from attrs import define
from hypercorn.events import Closed, Event, RawData

from appliance.http.answers import Reply
from appliance.http.direct import DirectH11
from appliance.http.hardened import REASONS, date_headers
from appliance.http.paths import split_target
from appliance.http.pipeline import Exchange, head_of

if TYPE_CHECKING:
    from appliance.http.connection import Connection

_TOKEN = rb"[-!#$%&'*+.^_`|~0-9A-Za-z]"
_HEAD = re.compile(
    rb"([A-Z]{3,7}) (/[!-~]*+) HTTP/1\.1\r\n((?:" + _TOKEN + rb"{1,64}+:[ \t]*+[\x20-\x7e\t]*+\r\n)++)\r\n"
)
_HEADERS = re.compile(rb"([^:\r\n]+):[ \t]*([^\r\n]*)\r\n")
_NOT_PLAIN = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"http2-settings", b"te", b"trailer"})
_NO_BODY_STATUS = frozenset({204, 304})
_STATUS_LINES = {status: b"HTTP/1.1 %d %b\r\n" % (status, REASONS.get(status, b"")) for status in range(200, 600)}


@define(eq=False)
class _Pending:
    exchange: Exchange
    keep: bool
    starts: int
    """Where the body begins in the buffer."""
    ends: int


class Front:
    """Sits in a connection's protocol slot until a request comes that is not for it."""

    link: "Connection"

    def __init__(self, *arguments: Any) -> None:
        self._arguments = arguments
        self._send = arguments[-1]
        self._buffer = b""
        self._pending: _Pending | None = None
        self._served = 0
        self._inner: DirectH11 | None = None

    async def handle(self, event: Event) -> None:
        """Take bytes or the end of the connection."""
        if self._inner is not None:
            await self._inner.handle(event)
        elif isinstance(event, RawData):
            self._buffer = self._buffer + event.data if self._buffer else event.data
            await self._go_on()

    async def send_frames(self, frames: bytes) -> bool:
        """Send prepared WebSocket frames, see `HardenedH11.send_frames`; only what was handed over has a WebSocket."""
        return self._inner is not None and await self._inner.send_frames(frames)

    async def _go_on(self) -> None:
        link = self.link
        while self._buffer and not link.ending:
            if self._pending is None:
                end = self._buffer.find(b"\r\n\r\n")
                if end < 0:
                    if self._may_become_ours():
                        if link.resting:
                            link.expect_head()
                        return
                    await self._hand_over()
                    return
                self._pending = self._plain(end + 4)
                if self._pending is None:
                    await self._hand_over()
                    return
                if len(self._buffer) < self._pending.ends:
                    link.expect_body(self._pending.ends - self._pending.starts)
            pending = self._pending
            if len(self._buffer) < pending.ends:
                return
            body = self._buffer[pending.starts : pending.ends]
            self._buffer = self._buffer[pending.ends :]
            self._pending = None
            link.work_briefly()
            await self._answer(pending, body)

    def _may_become_ours(self) -> bool:
        buffer = self._buffer
        return len(buffer) <= self.link.limits.head_bytes // 2 and 65 <= buffer[0] <= 90 and b"\n\n" not in buffer

    def _plain(self, end: int) -> _Pending | None:
        """Return the request whose head ends at ``end``, or ``None`` when it is not for us."""
        link = self.link
        found = _HEAD.match(self._buffer) if end <= link.limits.head_bytes // 2 else None
        if found is None or found.end() != end:
            return None
        method, target, lines = found.groups()
        path, _ = split_target(target)
        match = link.table.match(method.decode("ascii"), path)
        if match.route is None or not match.route.endpoint.hot or not match.route.in_process:
            return None
        headers = [(name.lower(), value.rstrip(b" \t")) for name, value in _HEADERS.findall(lines)]
        length, hosts, keep = -1, 0, True
        for name, value in headers:
            if name == b"content-length":
                if length >= 0 or not value.isdigit() or len(value) > 15:
                    return None
                length = int(value)
            elif name == b"host":
                hosts += 1
            elif name == b"connection":
                option = value.lower()
                if option == b"close":
                    keep = False
                elif option != b"keep-alive":
                    return None
            elif name in _NOT_PLAIN:
                return None
        length = max(length, 0)
        if hosts != 1 or length > min(match.route.endpoint.limit_bytes, link.limits.linger_bytes):
            return None
        head = head_of(method.decode("ascii"), target, headers, match, link)
        return _Pending(link.edge.open(match, head), keep, end, end + length)

    async def _answer(self, pending: _Pending, body: bytes) -> None:
        link = self.link
        self._served += 1
        reply = await link.edge.answer(pending.exchange, body)
        if link.stopping or self._served >= link.limits.requests_per_connection:
            reply.close = True
        if reply.chunks is not None:
            await self._answer_in_pieces(pending, reply)
            return
        data = framed_bytes(reply, keep=pending.keep, is_head=pending.exchange.head.method == "HEAD")
        await self._send(RawData(data))
        if reply.close or not pending.keep:
            await self._send(Closed())
        else:
            link.rest()

    async def _answer_in_pieces(self, pending: _Pending, reply: Reply) -> None:
        """Send a file or stream as h11 would: its framing depends on whether the length is known."""
        chunks = reply.chunks
        assert chunks is not None
        is_chunked = reply.length is None
        head = framed_bytes(reply, keep=pending.keep, is_head=True)
        data = head
        keep = pending.keep and not reply.close
        try:
            if pending.exchange.head.method != "HEAD":
                async for chunk in chunks:
                    if chunk:
                        data += b"%x\r\n%s\r\n" % (len(chunk), chunk) if is_chunked else chunk
                        await self._send(RawData(data))
                        data = b""
                    if self.link.broken:
                        return
                data += b"0\r\n\r\n" if is_chunked else b""
            await self._send(RawData(data))
        except (Exception, SystemExit):
            from appliance.http.pipeline import log

            log.exception("answer was cut short", request_id=pending.exchange.request_id)
            keep = False
            await self._send(RawData(data))
        finally:
            await close_chunks(chunks)
        if keep:
            self.link.rest()
        else:
            await self._send(Closed())

    async def _hand_over(self) -> None:
        inner = DirectH11(*self._arguments)
        inner.link = self.link
        inner.keep_alive_requests = self._served
        self._inner = inner
        data, self._buffer = self._buffer, b""
        await inner.handle(RawData(data))


async def close_chunks(chunks: Any) -> None:
    """Close an iterator of body pieces, also while being cancelled."""
    import trio

    close = getattr(chunks, "aclose", None)
    if close is not None:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
            await close()


def framed_bytes(reply: Reply, *, keep: bool, is_head: bool) -> bytes:
    """Return the bytes that h11 would send for ``reply``."""
    closing = reply.close or not keep
    reply.close = False
    parts = [_STATUS_LINES[reply.status]]
    parts += [b"%s: %s\r\n" % pair for pair in reply.framed()]
    if reply.chunks is not None and reply.length is None:
        parts += [b"%s: %s\r\n" % pair for pair in date_headers()]
        parts.append(b"Transfer-Encoding: chunked\r\n")
    else:
        parts += [b"%s: %s\r\n" % pair for pair in date_headers()]
    reply.close = closing
    parts.append(b"Connection: close\r\n\r\n" if closing else b"\r\n")
    if not is_head and reply.status not in _NO_BODY_STATUS:
        parts.append(reply.body)
    return b"".join(parts)
