"""Takes a file in as it arrives: to disk, hashed on the way, within what there is room for."""

import errno
import hashlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio
from attrs import define, field, frozen

from appliance.plugin import TooLarge, new_id

_BATCH_BYTES: Final = 1 << 20
"""Written at once: a thread for each chunk of the network would cost more than the writing."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@frozen(kw_only=True)
class Room:
    """What a file may take."""

    bytes_max: int
    free_bytes_min: int
    """The disk keeps that much."""
    budget_bytes: int | None
    """What is left of the budget; ``None``: there is none."""


@frozen(kw_only=True)
class Received:
    """A file that has arrived whole, and has no name yet that anybody knows."""

    partial: Path
    size_bytes: int
    sha256: str
    sha1: str
    md5: str


@define(eq=False)
class _Sink:
    """The file while it arrives; its methods run in a thread, one at a time."""

    descriptor: int
    room: Room
    size: int = 0
    digests: dict[str, "hashlib._Hash"] = field(init=False)

    def __attrs_post_init__(self) -> None:
        # The last two are what Portage compares a fetched file with; the first is what the sender vouches for.
        self.digests = {name: hashlib.new(name, usedforsecurity=name == "sha256") for name in ("sha256", "sha1", "md5")}

    def check(self, size: int, more: int) -> None:
        """Raise `TooLarge` when there is no room for ``size`` bytes in all, ``more`` of them still to be written."""
        room = self.room
        if size > room.bytes_max:
            raise TooLarge(
                f"a binary package has at most {room.bytes_max} bytes here", hint="raise binhost_package_bytes_max"
            )
        if room.budget_bytes is not None and size > room.budget_bytes:
            raise TooLarge("the binary host has used up its bytes", hint="delete releases, or raise binhost_bytes_max")
        state = os.fstatvfs(self.descriptor)
        if state.f_bavail * state.f_frsize < room.free_bytes_min + more:
            raise _full()

    def write(self, data: bytes) -> None:
        """Write a batch; raise `TooLarge` when there is no room for it."""
        self.size += len(data)
        self.check(self.size, len(data))
        for digest in self.digests.values():
            digest.update(data)
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self.descriptor, left) :]
        except OSError as error:
            if error.errno in _FULL:
                raise _full() from error
            raise


def _full() -> TooLarge:
    return TooLarge("the disk of the binary host is full", hint="free space, or lower binhost_free_bytes_min")


async def receive(
    folder: Path, chunks: AsyncIterator[bytes], room: Callable[[int], Room], *, expected_bytes: int = 0
) -> Received:
    """Store what arrives in a new file below ``folder``, durably; nothing is left of it when that fails.

    :param room: asked before more is written, with the bytes that there are then.
    :param expected_bytes: what the sender says will come; refused at once where there is no room for it.
    :raises TooLarge: it is too large, or the disk too full.
    """
    partial = folder / f"{new_id('incoming')}.partial"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    whole = False
    try:
        sink = _Sink(descriptor, room(expected_bytes))
        sink.check(expected_bytes, expected_bytes)
        batch = bytearray()
        async for chunk in chunks:
            batch += chunk
            if len(batch) >= _BATCH_BYTES:
                sink.room = room(sink.size + len(batch))
                await trio.to_thread.run_sync(sink.write, bytes(batch))
                batch.clear()
        sink.room = room(sink.size + len(batch))
        await trio.to_thread.run_sync(_end, sink, bytes(batch))
        whole = True
    finally:
        os.close(descriptor)
        if not whole:
            with suppress(OSError):
                partial.unlink()
            if isinstance(chunks, AsyncGenerator):  # left early: not to the garbage collector
                await chunks.aclose()
    return Received(
        partial=partial, size_bytes=sink.size, **{name: digest.hexdigest() for name, digest in sink.digests.items()}
    )


def _end(sink: _Sink, rest: bytes) -> None:
    sink.write(rest)
    os.fsync(sink.descriptor)
