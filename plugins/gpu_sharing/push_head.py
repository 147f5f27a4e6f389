"""The heads of requests at the push proxy, and its short answers.

Both requests of a connection are tiny: the CONNECT, and the GET within it (RFC 9112). Nothing here is generous: what is
not plain HTTP/1 with CRLF and without a body is refused.
"""

import re
from http import HTTPStatus
from typing import Final

import trio
from attrs import define, frozen

from appliance.plugin import ApplianceError

HEAD_BYTES_MAX: Final = 16_384
HEADERS_MAX: Final = 64
LINGER_SECONDS: Final = 1.0
LINGER_BYTES: Final = 65_536

_END: Final = b"\r\n\r\n"
_REQUEST: Final = re.compile(rb"([A-Z]{1,16}) ([!-~]{1,2048}) HTTP/1\.([01])")
_HEADER: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}):[ \t]*([\t -~\x80-\xff]*)")


class PushRefused(ApplianceError):
    """The push proxy does not do what was asked of it; ``headers`` go into the answer."""

    def __init__(self, status: int, message: str, *, hint: str = "", headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self._headers = headers

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """Headers of the answer, such as ``Proxy-Authenticate``."""
        return self._headers


@frozen(kw_only=True)
class RequestHead:
    """A request line and its headers; names are in lower case."""

    method: str
    target: str
    fields: tuple[tuple[str, str], ...]
    is_old: bool = False
    """Whether it is HTTP/1.0, in which some programs (``openssl s_client``) still say CONNECT."""

    def value(self, name: str) -> str | None:
        """Return a header's value, ``None`` without one.

        :raises PushRefused: it is there more than once.
        """
        found = [value for known, value in self.fields if known == name]
        if len(found) > 1:
            raise PushRefused(400, f"one {name} header is enough")
        return found[0] if found else None


async def read_head(stream: trio.abc.ReceiveStream, *, seconds: float) -> tuple[RequestHead, bytes] | None:
    """Read up to the end of a head; return it and what came after it, or ``None`` when the other side is gone.

    :param seconds: for all of it, however it dribbles in.
    :raises PushRefused: it is too long, too slow or no request; the answer belongs on the same stream.
    """
    data = bytearray()
    with trio.move_on_after(seconds):
        while True:
            chunk = await stream.receive_some(4096)
            if not chunk:
                return None
            data += chunk
            end = data.find(_END, max(0, len(data) - len(chunk) - len(_END) + 1))
            if end > HEAD_BYTES_MAX or (end < 0 and len(data) > HEAD_BYTES_MAX):
                raise PushRefused(431, "the head of the request is too long")
            if end >= 0:
                return parse_head(bytes(data[:end])), bytes(data[end + len(_END) :])
    raise PushRefused(408, "the head of the request took too long")


def parse_head(data: bytes) -> RequestHead:
    """Read a head without the empty line that ends it; raises `PushRefused`."""
    first, *lines = data.split(b"\r\n")
    request = _REQUEST.fullmatch(first)
    if request is None:
        raise PushRefused(400, "this is no HTTP request")
    if len(lines) > HEADERS_MAX:
        raise PushRefused(431, "too many headers")
    fields = []
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise PushRefused(400, "this is no HTTP header")
        fields.append((match[1].decode("ascii").lower(), match[2].decode("latin-1").strip(" \t")))
    head = RequestHead(
        method=request[1].decode("ascii"),
        target=request[2].decode("ascii"),
        fields=tuple(fields),
        is_old=request[3] == b"0",
    )
    if head.value("transfer-encoding") is not None or (head.value("content-length") or "0") != "0":
        raise PushRefused(400, "no body is wanted here")
    return head


def refusal(error: PushRefused) -> bytes:
    """Return the whole answer that says no.

    The reason phrase is the message, not the status' standard name: Go's HTTP client, which agents are built with,
    tells its caller of a proxy's answer the reason phrase and nothing else, so this is what stands in an agent's log.
    """
    text = f"{error.message}\n" + (f"{error.hint}\n" if error.hint else "")
    body = text.encode()
    reason = (
        error.message if error.message.isascii() and error.message.isprintable() else HTTPStatus(error.status).phrase
    )
    headers = (
        ("content-type", "text/plain; charset=utf-8"),
        ("content-length", str(len(body))),
        ("connection", "close"),
        *error.headers,
    )
    lines = [f"HTTP/1.1 {error.status} {reason}", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("ascii") + body


async def refuse(stream: trio.abc.Stream, error: PushRefused, *, send_seconds: float) -> None:
    """Answer no, and take for a moment what the other side still sends: closing on it would destroy the answer."""
    try:
        with trio.fail_after(send_seconds):
            await stream.send_all(refusal(error))
        with trio.move_on_after(LINGER_SECONDS):
            if isinstance(stream, trio.abc.HalfCloseableStream):
                await stream.send_eof()
            left = LINGER_BYTES
            while left > 0 and (chunk := await stream.receive_some(4096)):
                left -= len(chunk)
    except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
        return  # gone without waiting for it


@define(eq=False)
class Prefixed(trio.abc.HalfCloseableStream):
    """A stream of which some bytes have been read already; they are read again first."""

    stream: trio.SocketStream
    first: bytes

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return the next bytes, ``b""`` at the end."""
        if not self.first:
            return bytes(await self.stream.receive_some(max_bytes))
        await trio.lowlevel.checkpoint()
        cut = len(self.first) if max_bytes is None else max_bytes
        chunk, self.first = self.first[:cut], self.first[cut:]
        return chunk

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send."""
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room."""
        await self.stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Say that nothing more comes; what the other side sends can still be read."""
        await self.stream.send_eof()

    async def aclose(self) -> None:
        """Close."""
        await self.stream.aclose()
