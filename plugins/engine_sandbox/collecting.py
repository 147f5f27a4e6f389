"""Hands over the files that an ended task has left below a folder, without following anything it has made."""

import os
import stat
from collections.abc import AsyncIterator, Generator
from typing import Final

import trio
from attrs import frozen

from appliance.plugin import OutputSink

CHUNK_BYTES: Final = 1 << 18
DEPTH_MAX: Final = 64
ENTRIES_MAX: Final = 1_000_000
OPEN_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS: Final = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)


@frozen(kw_only=True)
class _Entry:
    path: str
    fd: int = -1
    """Of a regular file, to be closed by whoever takes it."""
    reason: str = ""


async def collect(folder: int, sink: OutputSink) -> None:
    """Put every regular file into a sink, by name; tell it of all else.

    A file that cannot be read is skipped, and the sink told why.

    :param folder: an open folder, closed by this.
    """
    entries = _walk(folder)
    try:
        while (entry := await trio.to_thread.run_sync(next, entries, None)) is not None:
            if entry.fd < 0:
                sink.skip(entry.path, entry.reason)
                continue
            try:
                await sink.put(entry.path, os.fstat(entry.fd).st_size, _chunks(entry.fd))
            finally:
                os.close(entry.fd)
    finally:
        entries.close()


async def _chunks(fd: int) -> AsyncIterator[bytes]:
    while chunk := await trio.to_thread.run_sync(os.read, fd, CHUNK_BYTES):
        yield chunk


def _walk(folder: int) -> Generator[_Entry, None, None]:
    """Yield what is below a folder; one descriptor is open for each level, no path is ever followed."""
    stack = [(folder, "", iter(sorted(os.listdir(folder))))]
    seen = 0
    try:
        while stack:
            at, above, names = stack[-1]
            name = next(names, None)
            if name is None:
                os.close(stack.pop()[0])
                continue
            seen += 1
            path = above + name
            if seen > ENTRIES_MAX:
                yield _Entry(path=path, reason=f"there are more than {ENTRIES_MAX} entries; the rest was not looked at")
                return
            try:
                found = os.stat(name, dir_fd=at, follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    if len(stack) >= DEPTH_MAX:
                        yield _Entry(path=path, reason=f"deeper than {DEPTH_MAX} folders")
                        continue
                    below = os.open(name, OPEN_FOLDER, dir_fd=at)
                    stack.append((below, f"{path}/", iter(sorted(os.listdir(below)))))
                elif stat.S_ISREG(found.st_mode):
                    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
                    yield _Entry(path=path, fd=fd)
                else:
                    kind = next((words for is_kind, words in _KINDS if is_kind(found.st_mode)), "no file")
                    yield _Entry(path=path, reason=kind)
            except OSError as error:
                yield _Entry(path=path, reason=error.strerror or "it cannot be read")
    finally:
        for fd, _, _ in stack:
            os.close(fd)
