"""What handlers return, as status, headers and bytes: the same for every way a request can come in."""

import re
import zlib
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Any

import msgspec
import trio
from attrs import define, field

from appliance.http.files import plan_file
from appliance.surface import Answer, Cookie, File, Head, Redirect, Stream

JSON = (b"content-type", b"application/json")
NOSNIFF = (b"x-content-type-options", b"nosniff")
NO_STORE = (b"cache-control", b"no-store")
ASK_AGAIN = (b"cache-control", b"no-cache")
"""Of files: kept, and asked for again with their ETag, so that none is stale after an upgrade."""
VARY_ENCODING = (b"vary", b"accept-encoding")

GZIP_FROM_BYTES = 8_192
GZIP_IN_THREAD_FROM_BYTES = 131_072
"""Six tenths of a millisecond of the loop's time; a thread costs a fifth of that."""
GZIP_LEVEL = 3
"""24 hours of history, 2.9 MB: 442 kB in 11.5 ms at level 1, 358 kB in 13.8 ms at 3, 290 kB in 32 ms at 6."""

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# What h11 takes as well: no control characters, no white space at either end.
_VALUE = re.compile(r"(?:[\x21-\x7e\x80-\xff]+(?:[ \t]+[\x21-\x7e\x80-\xff]+)*)?")
_COOKIE_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*")
_OURS = frozenset({b"content-length", b"transfer-encoding", b"connection", b"date", b"server"})
_encode = msgspec.json.Encoder().encode


@define(eq=False)
class Reply:
    """An answer ready for the wire, but for its framing."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    chunks: AsyncIterator[bytes] | None = None
    """Set instead of ``body`` for files and streams."""
    length: int | None = None
    """The number of bytes in ``chunks``, where it is known; for HEAD that of the body that is not sent."""
    close: bool = field(default=False)
    """The connection ends after this answer."""

    def framed(self) -> list[tuple[bytes, bytes]]:
        """Return the headers with their framing; a body of unknown length is left to be chunked."""
        headers = self.headers
        if self.status != 204 and self.status != 304:
            if self.length is not None:
                headers = [*headers, (b"content-length", b"%d" % self.length)]
            elif self.chunks is None:
                headers = [*headers, (b"content-length", b"%d" % len(self.body))]
        if self.close:
            headers = [*headers, (b"connection", b"close")]
        return headers


@lru_cache(maxsize=1024)
def header(name: str, value: str) -> tuple[bytes, bytes]:
    """Return one header as bytes; raises `ValueError` for what could split or confuse an answer."""
    if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        raise ValueError(f"not an HTTP header: {name!r}: {value!r}")
    raw = name.lower().encode("ascii")
    if raw in _OURS:
        raise ValueError(f"the edge writes {name} itself")
    return raw, value.encode("latin-1")


def cookie_header(cookie: Cookie, *, secure: bool) -> tuple[bytes, bytes]:
    """Return ``Set-Cookie`` for one cookie; raises `ValueError` for a name or value no cookie can have."""
    if not _NAME.fullmatch(cookie.name) or not _COOKIE_VALUE.fullmatch(cookie.value):
        raise ValueError(f"not a cookie: {cookie.name!r}")
    parts = [f"{cookie.name}={cookie.value}", "Path=/"]
    if cookie.max_age_seconds is not None:
        parts.append(f"Max-Age={cookie.max_age_seconds}")
    if cookie.http_only:
        parts.append("HttpOnly")
    if secure:
        parts.append("Secure")
    parts.append("SameSite=Lax")
    return b"set-cookie", "; ".join(parts).encode("ascii")


async def render(result: Any, head: Head, *, status: int) -> Reply:
    """Turn what a handler returned into a `Reply`; raises what a programming error raises."""
    kind = type(result)
    if kind is Answer:
        reply = _answer(result, head, status)
    elif kind is File:
        reply = await _file(result, head, status)
    elif kind is Stream:
        content_type = header("content-type", result.content_type)
        reply = Reply(status, [content_type, NOSNIFF, NO_STORE], chunks=result.chunks)
    elif kind is Redirect:
        reply = Reply(result.status, [header("location", result.location), NOSNIFF, NO_STORE])
    elif kind is bytes:
        reply = Reply(status, [(b"content-type", b"application/octet-stream"), NOSNIFF, NO_STORE], result)
    elif result is None:
        reply = Reply(204 if status == 200 else status, [NOSNIFF, NO_STORE])
    else:
        reply = Reply(status, [JSON, NOSNIFF, NO_STORE], _encode(result))
    if len(reply.body) >= GZIP_FROM_BYTES:
        await _compress(reply, head)
    return reply


def _answer(answer: Answer, head: Head, status: int) -> Reply:
    model = answer.model
    headers: list[tuple[bytes, bytes]] = []
    body = b""
    if model is None:
        status = 204 if status == 200 else status
    elif isinstance(model, bytes | str):
        body = model if isinstance(model, bytes) else model.encode()
        content_type = answer.content_type or (
            "application/octet-stream" if isinstance(model, bytes) else "application/json"
        )
        headers.append(header("content-type", content_type))
    else:
        body = _encode(model)
        headers.append(header("content-type", answer.content_type) if answer.content_type else JSON)
    headers.append(NOSNIFF)
    own = [header(name, value) for name, value in answer.headers]
    if not any(name == b"cache-control" for name, _ in own):
        headers.append(NO_STORE)
    headers += own
    secure = head.scheme == "https"
    headers += [cookie_header(cookie, secure=secure) for cookie in answer.cookies]
    return Reply(answer.status if answer.status is not None else status, headers, body)


async def _file(file: File, head: Head, status: int) -> Reply:
    plan = await plan_file(file, head)
    headers = [header(name, value) for name, value in (*plan.headers, *file.headers)]
    if not any(name == b"cache-control" for name, _ in headers):
        headers.append(ASK_AGAIN)
    return Reply(plan.status or status, [*headers, NOSNIFF], plan.body, chunks=plan.chunks, length=plan.length)


async def _compress(reply: Reply, head: Head) -> None:
    names = {name for name, _ in reply.headers}
    if b"content-encoding" in names or b"content-range" in names or b"accept-ranges" in names:
        return
    reply.headers = [*reply.headers, VARY_ENCODING]
    if not accepts_gzip(head.header(b"accept-encoding")):
        return
    if len(reply.body) >= GZIP_IN_THREAD_FROM_BYTES:
        reply.body = await trio.to_thread.run_sync(_gzip, reply.body)
    else:
        reply.body = _gzip(reply.body)
    reply.headers = [*reply.headers, (b"content-encoding", b"gzip")]


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


@lru_cache(maxsize=256)
def accepts_gzip(accepted: str | None) -> bool:
    """Whether ``Accept-Encoding`` allows gzip (RFC 9110, 12.5.3)."""
    if not accepted:
        return False
    found = weights(accepted)
    return found.get("gzip", found.get("*", 0.0)) > 0


def weights(accepted: str) -> dict[str, float]:
    """Return what an Accept header names, in lower case, with its weight: 1 where none is said, 0 where it is junk."""
    found: dict[str, float] = {}
    for item in accepted.split(","):
        what, _, parameter = item.partition(";")
        name, _, text = parameter.strip().partition("=")
        try:
            weight = float(text) if name.strip().lower() == "q" else 1.0
        except ValueError:
            weight = 0.0
        found[what.strip().lower()] = weight
    return found
