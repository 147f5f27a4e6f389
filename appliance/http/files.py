"""Files as answers: ranges, ETag, Last-Modified and their conditions; folders of static files."""

import mimetypes
import os
import re
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import trio
from attrs import frozen

from appliance.errors import NotFound, PathNotFound
from appliance.surface import Call, File, Head

CHUNK_BYTES = 65_536
_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{1,18})?|-(\d{1,18}))")
# What front ends consist of, whatever the host's own table of types says.
_TYPES = {
    ".avif": "image/avif",
    ".css": "text/css",
    ".htm": "text/html",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript",
    ".otf": "font/otf",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".txt": "text/plain",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}


@frozen(kw_only=True)
class FilePlan:
    """How one file is answered; ``status`` ``None`` means whatever the endpoint declared."""

    status: int | None = None
    headers: list[tuple[str, str]]
    body: bytes = b""
    chunks: AsyncIterator[bytes] | None = None
    length: int | None = None


async def plan_file(file: File, head: Head) -> FilePlan:
    """Open the file and weigh the request's conditions; raises `NotFound` when it cannot be read."""
    try:
        opened = _open_regular(file.path)
    except OSError:
        raise NotFound("file", file.name or file.path.name) from None
    about = os.fstat(opened.fileno())
    etag = f'"{about.st_mtime_ns:x}-{about.st_size:x}"'
    modified = formatdate(int(about.st_mtime), usegmt=True)
    headers = [("etag", etag), ("last-modified", modified), ("accept-ranges", "bytes")]
    if _is_unchanged(head, etag, int(about.st_mtime) + file.since_seconds):
        opened.close()
        return FilePlan(status=304, headers=headers)
    headers.insert(0, ("content-type", file.content_type))
    if file.name is not None:
        headers.append(("content-disposition", _disposition(file.name)))
    first, last, size = 0, about.st_size - 1, about.st_size
    status = None
    wanted = head.header(b"range")
    if wanted is not None and head.method == "GET" and _range_holds(head, etag, modified):
        span = _span(wanted, size)
        if span == "unsatisfiable":
            opened.close()
            return FilePlan(status=416, headers=[*headers, ("content-range", f"bytes */{size}")])
        if span is not None and not isinstance(span, str):
            first, last = span
            status = 206
            headers.append(("content-range", f"bytes {first}-{last}/{size}"))
    length = last - first + 1
    if head.method == "HEAD":
        opened.close()
        return FilePlan(status=status, headers=headers, length=length)
    if length > CHUNK_BYTES:
        return FilePlan(status=status, headers=headers, chunks=FileChunks(opened, first, length), length=length)
    with opened:
        opened.seek(first)
        body = opened.read(length)
    return FilePlan(status=status, headers=headers, body=body, length=len(body))


def _open_regular(path: Path) -> BinaryIO:
    # O_NONBLOCK: a FIFO in the place of a file must not hold the whole server.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(path)
    return os.fdopen(descriptor, "rb", buffering=0)


class FileChunks:
    """The bytes of an open file, read in a thread; `aclose` also before the first chunk was asked for."""

    def __init__(self, opened: BinaryIO, first: int, length: int) -> None:
        self._opened = opened
        self._left = length
        opened.seek(first)

    def __aiter__(self) -> "FileChunks":
        return self

    async def __anext__(self) -> bytes:
        if self._left <= 0:
            self._opened.close()
            raise StopAsyncIteration
        data = await trio.to_thread.run_sync(self._opened.read, min(CHUNK_BYTES, self._left))
        if not data:
            raise OSError("the file became shorter while it was sent")
        self._left -= len(data)
        return data

    async def aclose(self) -> None:
        """Close the file."""
        self._opened.close()


def _is_unchanged(head: Head, etag: str, modified_unix_s: int) -> bool:
    if head.method not in {"GET", "HEAD"}:
        return False
    known = head.header(b"if-none-match")
    if known is not None:
        return known.strip() == "*" or etag in [item.strip().removeprefix("W/") for item in known.split(",")]
    since = head.header(b"if-modified-since")
    if since is None:
        return False
    try:
        return modified_unix_s <= parsedate_to_datetime(since).timestamp()
    except (ValueError, TypeError, OverflowError):
        return False


def _range_holds(head: Head, etag: str, modified: str) -> bool:
    condition = head.header(b"if-range")
    return condition is None or condition.strip() in {etag, modified}


def _span(wanted: str, size: int) -> tuple[int, int] | str | None:
    """Return first and last byte, ``"unsatisfiable"``, or ``None`` to send the whole file (several ranges, junk)."""
    found = _RANGE.fullmatch(wanted.strip())
    if found is None:
        return None
    start, end, suffix = found.groups()
    if suffix is not None:
        count = min(int(suffix), size)
        return (size - count, size - 1) if count else "unsatisfiable"
    first = int(start)
    last = min(int(end), size - 1) if end is not None else size - 1
    if first >= size:
        return "unsatisfiable"
    return (first, last) if first <= last else None


def _disposition(name: str) -> str:
    plain = re.sub(r'[^\x20-\x7e]|["\\]', "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def content_type_of(path: Path) -> str:
    """Guess from the name alone, with a charset where browsers need one."""
    kind = _TYPES.get(path.suffix.lower())
    if kind is None:
        guessed, packed = mimetypes.guess_type(path.name)
        # x.tar.gz is sent as the gzip file it is, not as a tar that was packed for the way.
        kind = (guessed if packed is None else f"application/{packed}") or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def file_below(root: Path, names: Sequence[str]) -> Path | None:
    """Return the regular file ``names`` lead to below ``root``, links followed, if it is there and may be shown.

    What lies outside of ``root``, and whatever is hidden by a leading dot, may not.

    :param root: resolved.
    """
    if any(not _is_shown(name) for name in names):
        return None
    try:
        path = root.joinpath(*names).resolve()
        inside = path.relative_to(root)
        return path if all(map(_is_shown, inside.parts)) and path.is_file() else None
    except (OSError, RuntimeError, ValueError):  # a loop of links, too long a name, outside
        return None


def _is_shown(name: str) -> bool:
    return bool(name) and name[0] != "." and "/" not in name and "\\" not in name


def serve_folder(folder: Path) -> Callable[[Call[Any]], Awaitable[File]]:
    """Return a handler that answers ``{path:path}`` from below ``folder``, never from outside it."""
    root = folder.resolve()

    async def serve(call: Call[Any]) -> File:
        path = file_below(root, call.path["path"].split("/"))
        if path is None:
            raise PathNotFound
        return File(path=path, content_type=content_type_of(path))

    return serve
