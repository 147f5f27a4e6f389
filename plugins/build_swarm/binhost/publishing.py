"""Folders of indices: each index in a folder of its own, made whole and then given its name.

Names are ``AREA-TIMESTAMP``: the timestamp is the index's own, rises over all areas, and never goes back, whatever the
clock does, since a client that has a greater one than ours would read no further.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from attrs import define, field, frozen

from .index import PACKAGES, sync_folder

_NAME: Final = re.compile(r"([a-z]+)-([0-9]{1,15})(?:@(.+))?")
_CHUNK_BYTES: Final = 1 << 18


@frozen(kw_only=True)
class Index:
    """A published index."""

    folder: Path
    timestamp: int
    label: str
    """What it is of, where its area has several: the version of a release."""


@define(eq=False)
class Indices:
    """All indices but those of releases, which never change; everything here blocks."""

    folder: Path
    now_unix_s: Callable[[], int]
    _last: int = field(default=0, init=False)

    def open(self) -> None:
        """Make the folder; remove what was being made when we went down."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for path in self.folder.iterdir():
            found = _NAME.fullmatch(path.name)
            if found is None:
                shutil.rmtree(path, ignore_errors=True)
            else:
                self._last = max(self._last, int(found[2]))

    def newest(self, area: str) -> Index | None:
        """Return the newest index of an area."""
        return max(self._of(area), key=lambda one: one.timestamp, default=None)

    def timestamp(self) -> int:
        """Return the timestamp of the next index."""
        self._last = max(self.now_unix_s(), self._last + 1)
        return self._last

    def make(self, area: str, write: Callable[[Path, int], None], *, label: str = "") -> Index:
        """Make the next index of an area, durably; the newest stays where it says the same.

        :param write: is given an empty folder and the timestamp.
        """
        before, timestamp = self.newest(area), self.timestamp()
        unfinished = self.folder / f".{area}.partial"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        write(unfinished, timestamp)
        if before is not None and before.label == label and _is_same(before.folder, unfinished):
            shutil.rmtree(unfinished)
            return before
        sync_folder(unfinished)
        index = Index(folder=self.folder / _name(area, timestamp, label), timestamp=timestamp, label=label)
        unfinished.rename(index.folder)
        sync_folder(self.folder)
        return index

    def forget_before(self, area: str, index: Index) -> None:
        """Remove the area's older indices; who reads one still has it open."""
        for one in self._of(area):
            if one.timestamp < index.timestamp:
                shutil.rmtree(one.folder, ignore_errors=True)

    def _of(self, area: str) -> Iterator[Index]:
        for path in list(self.folder.iterdir()):
            found = _NAME.fullmatch(path.name)
            if found is not None and found[1] == area:
                yield Index(folder=path, timestamp=int(found[2]), label=found[3] or "")


def _name(area: str, timestamp: int, label: str) -> str:
    return f"{area}-{timestamp}@{label}" if label else f"{area}-{timestamp}"


def body_of(folder: Path) -> Iterator[bytes]:
    """Yield the packages of an index as they are written: what follows the first empty line."""
    with open(folder / PACKAGES, "rb") as file:
        _head(file)
        yield from iter(partial(file.read, _CHUNK_BYTES), b"")


def _head(file: BinaryIO) -> set[bytes]:
    """Read the lines of a head; the file is then where the packages begin."""
    return set(iter(file.readline, b"\n")) if file.seek(0) == 0 else set()


def _is_same(one: Path, other: Path) -> bool:
    """Whether two indices say the same, but for their time."""
    try:
        with open(one / PACKAGES, "rb") as first, open(other / PACKAGES, "rb") as second:
            if any(not line.startswith(b"TIMESTAMP:") for line in _head(first) ^ _head(second)):
                return False
            while data := first.read(_CHUNK_BYTES):
                if data != second.read(len(data)):
                    return False
            return not second.read(1)
    except OSError:
        return False
