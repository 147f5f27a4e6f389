"""The bytes of payloads on disk: each file appears whole and durable, or not at all."""

import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any, Final

import structlog
import trio
from attrs import define, field

from appliance.plugin import StorageFailed, TooLarge

from .models import CONTENT_BYTES_MAX

log = structlog.get_logger(__name__)

PARTIAL: Final = ".partial-"
WRITE_BYTES: Final = 2**20
"""Written at once: what an upload holds in memory."""


@define(eq=False)
class Partial:
    """A file that is being written, under a name that nobody looks for."""

    path: Path
    limit_bytes: int
    _writer: FileIO
    _digest: Any = field(factory=hashlib.sha256, init=False)
    _held: bytearray = field(factory=bytearray, init=False)
    size_bytes: int = field(default=0, init=False)

    @property
    def sha256(self) -> str:
        """Of what has been written, as hexadecimal digits; complete after `flush`."""
        return str(self._digest.hexdigest())

    async def write(self, data: bytes) -> None:
        """Append; raises `TooLarge` and `StorageFailed`."""
        self.size_bytes += len(data)
        if self.size_bytes > self.limit_bytes:
            raise TooLarge(
                f"the content is larger than {self.limit_bytes} bytes", hint=f"send at most {self.limit_bytes} bytes"
            )
        self._held += data
        if len(self._held) >= WRITE_BYTES:
            await self._write_held()

    async def flush(self) -> None:
        """Make durable what has been written; the file still has no name."""
        await self._write_held()
        await _on_disk(partial(os.fsync, self._writer.fileno()))

    async def _write_held(self) -> None:
        data, self._held = bytes(self._held), bytearray()
        await _on_disk(partial(self._append, data))

    def _append(self, data: bytes) -> None:
        self._digest.update(data)
        left = memoryview(data)
        while left:
            left = left[self._writer.write(left) :]


@define(eq=False)
class Contents:
    """The folder of payloads; only we write there."""

    folder: Path

    @asynccontextmanager
    async def incoming(self, limit_bytes: int = CONTENT_BYTES_MAX) -> AsyncIterator[Partial]:
        """Lend a file to write to; what has got no name by `keep` is gone afterwards."""
        path = self.folder / f"{PARTIAL}{secrets.token_hex(8)}"
        writer = await _on_disk(partial(self._open, path))
        try:
            yield Partial(path, limit_bytes, writer)
        finally:
            writer.close()
            path.unlink(missing_ok=True)

    async def keep(self, written: Partial, name: str) -> None:
        """Give a flushed file its name, durably. One of that name has the same bytes, so either may stay."""
        await _on_disk(partial(self._keep, written.path, name))

    def path(self, name: str) -> Path:
        """Return where a file lies."""
        return self.folder / name

    async def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        await _on_disk(partial(self.path(name).unlink, missing_ok=True))

    async def clean(self, known: Collection[str]) -> int:
        """Delete what an end in the middle of something has left; return how many files that was."""
        return int(await _on_disk(partial(self._clean, frozenset(known))))

    def _open(self, path: Path) -> FileIO:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        return FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w")

    def _keep(self, path: Path, name: str) -> None:
        path.replace(self.folder / name)
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _clean(self, known: frozenset[str]) -> int:
        gone = 0
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            if path.name not in known and (path.is_symlink() or not path.is_dir()):
                log.info("payload.orphan_removed", file=path.name)
                path.unlink(missing_ok=True)
                gone += 1
        return gone


async def _on_disk(work: Any) -> Any:
    try:
        return await trio.to_thread.run_sync(work)
    except OSError as error:
        raise StorageFailed(
            f"the payload cannot be stored: {error.strerror}", hint="see whether the disk is full or read only"
        ) from error
