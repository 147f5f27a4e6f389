"""What a disk may hold after a power cut, given what a process asked for and in which order.

The rules are those of a file system in the writeback cache's hands: what was written before a successful sync of its
file is kept; of what was written since then, each 512-byte sector is kept or lost on its own, a change of length
likewise. A file that was removed may come back as it was until its folder is synced. The order of unsynced writes means
nothing.
"""

import random
import struct
from collections.abc import Iterator
from pathlib import Path

from attrs import define, field, frozen

HEAD = struct.Struct("<cIQQ")
SECTOR_BYTES = 512
FOLDER = "."
"""The name that a record of the folder itself has."""


@frozen(kw_only=True)
class Record:
    """One thing that was asked for: ``w`` write, ``t`` truncate, ``s`` sync, ``u`` unlink."""

    kind: str
    name: str
    offset: int
    data: bytes


def records(journal: bytes, folder: Path) -> Iterator[Record]:
    """Decode a journal; names are relative to ``folder``. A last record cut short by a kill is left out."""
    at = 0
    while at + HEAD.size <= len(journal):
        kind, name_length, offset, length = HEAD.unpack_from(journal, at)
        at += HEAD.size
        if at + name_length + length > len(journal):
            return
        name = Path(journal[at : at + name_length].decode()).relative_to(folder).as_posix()
        at += name_length
        yield Record(kind=kind.decode(), name=name, offset=offset, data=journal[at : at + length])
        at += length


@define
class File:
    """A file: what surely is on the disk, and what has been asked for since."""

    kept: bytearray = field(factory=bytearray)
    pending: list[Record] = field(factory=list)

    def sync(self) -> None:
        """Keep everything asked for so far."""
        for record in self.pending:
            _apply(self.kept, record)
        self.pending.clear()

    def after_cut(self, chance: random.Random) -> bytearray:
        """Return what may be found: what is kept, and any part of the rest."""
        found = bytearray(self.kept)
        likely = chance.choice((0.0, 0.2, 0.5, 0.8, 1.0))
        for record in self.pending:
            if record.kind == "t":
                if chance.random() < likely:
                    _apply(found, record)
                continue
            # The first sector may begin within one of the disk's: then only its own part is torn off.
            start = record.offset
            while start < record.offset + len(record.data):
                end = min((start // SECTOR_BYTES + 1) * SECTOR_BYTES, record.offset + len(record.data))
                if chance.random() < likely:
                    piece = record.data[start - record.offset : end - record.offset]
                    _apply(found, Record(kind="w", name=record.name, offset=start, data=piece))
                start = end
        return found


def _apply(content: bytearray, record: Record) -> None:
    if record.kind == "t":
        del content[record.offset :]
        content.extend(bytes(record.offset - len(content)))
        return
    end = record.offset + len(record.data)
    content.extend(bytes(max(0, end - len(content))))
    content[record.offset : end] = record.data


@define
class Disk:
    """All files of a folder, as the journal is played."""

    files: dict[str, File] = field(factory=dict)
    _removed: dict[str, File] = field(factory=dict)

    def play(self, record: Record) -> None:
        """Take note of one record."""
        if record.name == FOLDER:
            self._removed.clear()  # its sync: what was removed stays removed
            return
        if record.kind == "u":
            gone = self.files.pop(record.name, None)
            if gone is not None:
                self._removed[record.name] = gone
            return
        one = self.files.setdefault(record.name, File())
        if record.kind == "s":
            one.sync()
        else:
            one.pending.append(record)

    def cut(self, folder: Path, chance: random.Random) -> None:
        """Write into ``folder`` what a disk may hold if the power fails now."""
        folder.mkdir()
        back = {name: one for name, one in self._removed.items() if name not in self.files and chance.random() < 0.5}
        for name, one in {**self.files, **back}.items():
            (folder / name).write_bytes(one.after_cut(chance))
