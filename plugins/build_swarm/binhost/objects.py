"""Staged files by the hash of what is in them: one file each, however many paths lead to it, and none ever changes.

A staged path can be given another file while somebody reads the one before, and the index that names the one before
still finds it. Releases have hard links of their own to these files.
"""

import os
import shutil
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import define

from .index import sync_folder

_HEX: Final = frozenset("0123456789abcdef")


@define(eq=False)
class Objects:
    """The folders ``incoming`` and ``objects``; everything here blocks."""

    folder: Path
    """Of the binary host."""

    @property
    def incoming(self) -> Path:
        """Where files are while they arrive."""
        return self.folder / "incoming"

    def open(self) -> None:
        """Make the folders; what was still arriving when we went down is gone."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.rmtree(self.incoming, ignore_errors=True)
        for folder in (self.incoming, self.folder / "objects"):
            folder.mkdir(mode=0o700, exist_ok=True)

    def path(self, sha256: str) -> Path:
        """Return where the file with a hash is, or would be."""
        return self.folder / "objects" / sha256[:2] / sha256

    def place(self, partial: Path, sha256: str, *, mtime_unix_us: int) -> int:
        """Give an arrived file its place, durably; return its time of modification in seconds.

        Where there is one with this hash already, that one stays.
        """
        target = self.path(sha256)
        if target.exists():
            partial.unlink(missing_ok=True)
            return int(target.stat().st_mtime)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        os.utime(partial, ns=(mtime_unix_us * 1000, mtime_unix_us * 1000))
        partial.replace(target)
        sync_folder(target.parent)
        sync_folder(target.parent.parent)
        return mtime_unix_us // 1_000_000

    def remove(self, hashes: Iterable[str]) -> None:
        """Remove files; links of releases to them stay."""
        for sha256 in hashes:
            with suppress(FileNotFoundError):
                self.path(sha256).unlink()

    def missing(self, sizes: Collection[tuple[str, int]]) -> set[str]:
        """Return the hashes of those that are not there, or not with that size."""
        gone = set()
        for sha256, size in sizes:
            try:
                is_there = self.path(sha256).stat().st_size == size
            except OSError:
                is_there = False
            if not is_there:
                gone.add(sha256)
        return gone

    def strays(self, known: Collection[str], *, older_than_unix_s: float) -> list[str]:
        """Return the hashes of files that nothing knows, and that lie here since before a moment.

        Not the newest of them: a database that was put back from a backup may be followed by a newer one.
        """
        found = []
        for folder in (self.folder / "objects").iterdir():
            for entry in os.scandir(folder) if folder.is_dir() else ():
                name = entry.name
                if name not in known and set(name) <= _HEX and entry.stat().st_ctime < older_than_unix_s:
                    found.append(name)
        return found
