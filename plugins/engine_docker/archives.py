"""Files into a container and out of it, as tar streams: no file is ever whole in memory, and no link is followed."""

import io
import os
import stat
import tarfile
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import IO, Final

import trio

from appliance.plugin import EngineLost, OutputSink

from .client import Answer

CHUNK_BYTES: Final = 262_144
BUFFER_BYTES: Final = 65_536
HEADERS_BYTES_MAX: Final = 4 * 2**20
"""Of one entry; a path of Linux has 4 KiB, its attributes 64 KiB each."""
FOLDER_MODE: Final = 0o1777
"""Everybody may write to /output: images run as whom they like."""

_KINDS: Final = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a second name of another file",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a FIFO",
}


def inputs_tar(inputs: Path | None) -> Iterator[bytes]:
    """Yield a tar with an empty ``output`` and, below ``input``, the regular files of a folder.

    Blocks; meant for a thread. A file that changes its size meanwhile is cut or filled up, so that the tar stays whole.
    """
    yield _header("output", tarfile.DIRTYPE, FOLDER_MODE)
    if inputs is not None:
        yield _header("input", tarfile.DIRTYPE, 0o755)
        for folder, folders, files, descriptor in os.fwalk(inputs, follow_symlinks=False):
            folders.sort()
            inside = "/".join(("input", *Path(folder).relative_to(inputs).parts))
            for name in folders:
                if not stat.S_ISLNK(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                    yield _header(f"{inside}/{name}", tarfile.DIRTYPE, 0o755)
            for name in sorted(files):
                yield from _file(f"{inside}/{name}", name, descriptor)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _header(path: str, kind: bytes, mode: int, size_bytes: int = 0) -> bytes:
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.size = kind, mode, size_bytes
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _file(path: str, name: str, folder: int) -> Iterator[bytes]:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return  # a link, or gone
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            return
        yield _header(path, tarfile.REGTYPE, 0o755 if info.st_mode & 0o111 else 0o644, info.st_size)
        left = info.st_size
        while left:
            chunk = file.read(min(left, CHUNK_BYTES)) or bytes(min(left, CHUNK_BYTES))
            left -= len(chunk)
            yield chunk
        yield bytes(-info.st_size % tarfile.BLOCKSIZE)


async def in_thread(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield what a blocking iterator yields, small pieces joined."""

    def some() -> bytes:
        gathered = bytearray()
        for chunk in chunks:
            gathered += chunk
            if len(gathered) >= CHUNK_BYTES:
                break
        return bytes(gathered)

    while piece := await trio.to_thread.run_sync(some):
        yield piece


class NothingYet(EngineLost):
    """An archive without even its own folder: Podman answers so while it is still putting away an ended container."""


class _Incoming(io.RawIOBase):
    """The body of an answer as a file, for a thread that reads a tar from it."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._rest = b""
        self.allowed = HEADERS_BYTES_MAX
        """Bytes that may be read before it is set again."""

    async def peek(self) -> bool:
        """Whether there is anything."""
        self._rest = self._rest or await self._answer.receive()
        return bool(self._rest)

    def read(self, size: int = -1, /) -> bytes:
        """Return ``size`` bytes, fewer only at the end."""
        # tarfile asks in blocks of its own and adds them up: each is small, whatever a header claims.
        while len(self._rest) < size:
            piece = trio.from_thread.run(self._answer.receive)
            if not piece:
                break
            self._rest += piece
        data, self._rest = self._rest[:size], self._rest[size:]
        self.allowed -= len(data)
        if self.allowed < 0:
            raise tarfile.ReadError("an entry's description is too long")
        return data


async def unpack(answer: Answer, sink: OutputSink) -> None:
    """Put the regular files of a tar stream into a sink, and tell it of everything else.

    Names are taken below the first folder, which is ``output`` itself.

    :raises NothingYet: the stream is empty; the sink was not touched.
    :raises EngineLost: the stream broke off or is no tar.
    """
    source = _Incoming(answer)
    if not await source.peek():
        raise NothingYet("the engine handed out an archive without anything")
    try:
        tar = await trio.to_thread.run_sync(partial(tarfile.open, fileobj=source, mode="r|", bufsize=BUFFER_BYTES))
        while True:
            source.allowed = HEADERS_BYTES_MAX
            member = await trio.to_thread.run_sync(tar.next)
            if member is None:
                await answer.read(HEADERS_BYTES_MAX)  # a body that breaks off after the last entry is noticed too
                return
            await _entry(tar, member, source, sink)
            tar.members = []  # type: ignore[attr-defined]  # it would keep them all
    except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
        raise EngineLost(f"the engine handed out its files and broke off: {error}") from error


async def _entry(tar: tarfile.TarFile, member: tarfile.TarInfo, source: _Incoming, sink: OutputSink) -> None:
    parts = member.name.rstrip("/").split("/")[1:]
    if member.isdir() or not parts:
        return
    path = "/".join(parts)
    try:
        path.encode()
    except UnicodeEncodeError:
        sink.skip(path.encode("utf-8", "replace").decode(), "its name is no UTF-8")
    else:
        if any(one in ("", ".", "..") for one in parts) or "\0" in path:
            sink.skip(path, "its name leaves /output")
        elif not member.isreg() or member.type == tarfile.GNUTYPE_SPARSE:
            sink.skip(path, _KINDS.get(member.type, "no regular file"))
        elif member.size < 0:
            sink.skip(path, "its size is no number")
        else:
            file = tar.extractfile(member)
            assert file is not None
            async with aclosing(_content(file, source)) as chunks:
                await sink.put(path, member.size, chunks)
            # What nobody took is read past in pieces, so that the next entry's description can be told from it.
            async with aclosing(_content(file, source)) as rest:
                async for _ in rest:
                    pass


async def _content(file: IO[bytes], source: _Incoming) -> AsyncGenerator[bytes]:
    while True:
        source.allowed = HEADERS_BYTES_MAX
        chunk = await trio.to_thread.run_sync(file.read, CHUNK_BYTES)
        if not chunk:
            return
        yield chunk
