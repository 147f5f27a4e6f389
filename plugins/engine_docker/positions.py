"""Where in the engine's log a reader is, so that a later one goes on exactly there.

Core says how many bytes of each stream it has; the engine can only be asked for what was written since a time, and
drops the oldest of its log when that grows too large. So the reader notes, now and then, for each stream the time of
the newest frame and how many bytes came before the first frame of that time. A later reader asks from there, finds that
frame again, and knows how much of it is stored already; if the frame is gone, so is what followed it, and the log says
that something is missing. Podman tells whole seconds: what it drops within the second of the newest mark, and what it
drops while it is being read, goes unnoticed.
"""

import json
import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from attrs import define, field, frozen

from .frames import Piece, Stream

SLACK_NS: Final = 2 * 10**9
"""Frames of two streams lie in the engine's log out of order by the time between reading and writing them."""
KEPT_MAX: Final = 64
FILE_BYTES_MAX: Final = 65_536
BOTH: Final[tuple[Stream, Stream]] = ("stdout", "stderr")
GAP: Final = (
    b"\n[appliance: output is missing here: the container engine dropped it from its log before it could be read]\n"
)


@frozen
class Mark:
    """A place in one stream."""

    written_ns: int
    """Time of a frame."""
    before: int
    """Bytes of the stream before the first frame of that time."""


Position = Mapping[Stream, Mark]
"""Streams that have written nothing yet are left out."""


def since_ns(position: Position) -> int:
    """Return from which time on the engine has to be asked; 0 for its whole log."""
    return max(0, min(mark.written_ns for mark in position.values()) - SLACK_NS) if position else 0


def best(kept: list[Position], skip: Mapping[Stream, int]) -> Position:
    """Return the newest position at which not more was written than is stored."""
    for position in reversed(kept):
        if all(mark.before <= skip.get(stream, 0) for stream, mark in position.items()):
            return position
    return {}


@define
class _Cursor:
    mark: Mark | None
    """The newest; at first the one to find again."""
    count: int
    """Bytes of the stream up to here."""
    found: bool
    """Whether the first frame at or after the mark has come."""


@define
class Alignment:
    """Takes the pieces that an engine sends from a position on, and gives what is not stored yet."""

    _delivered: dict[Stream, int]
    _cursors: dict[Stream, _Cursor] = field(factory=dict, init=False)
    _dropping: set[Stream] = field(factory=set, init=False)
    """Streams whose frame of the moment lies before the mark."""
    _clock_went_back: bool = field(default=False, init=False)
    """Times then do not tell places any more: a later reader has to begin at the start."""

    @classmethod
    def at(cls, position: Position, delivered: Mapping[Stream, int]) -> "Alignment":
        """Begin at a position; ``delivered`` is what of each stream is stored."""
        made = cls({stream: delivered.get(stream, 0) for stream in BOTH})
        for stream in BOTH:
            mark = position.get(stream)
            made._cursors[stream] = _Cursor(mark, mark.before if mark else 0, mark is None)
        return made

    @property
    def delivered(self) -> Mapping[Stream, int]:
        """Bytes of each stream that are stored or were given out, notes about gaps included."""
        return self._delivered

    @property
    def position(self) -> Position:
        """Where a later reader can go on."""
        if self._clock_went_back:
            return {}
        return {stream: cursor.mark for stream, cursor in self._cursors.items() if cursor.mark is not None}

    def take(self, piece: Piece) -> Iterator[tuple[Stream, bytes]]:
        """Yield of a piece what is new."""
        cursor = self._cursors[piece.stream]
        if piece.written_ns is not None and not (yield from self._begin(cursor, piece.stream, piece.written_ns)):
            return
        if piece.stream in self._dropping:
            return
        start, cursor.count = cursor.count, cursor.count + len(piece.data)
        known = self._delivered[piece.stream]
        if cursor.count > known:
            self._delivered[piece.stream] = cursor.count
            yield piece.stream, piece.data[max(0, known - start) :]

    def _begin(self, cursor: _Cursor, stream: Stream, written_ns: int) -> Generator[tuple[Stream, bytes], None, bool]:
        mark = cursor.mark
        self._dropping.discard(stream)
        if not cursor.found:
            assert mark is not None
            if written_ns < mark.written_ns:
                self._dropping.add(stream)
                return False
            cursor.found = True
            if written_ns > mark.written_ns:  # the marked frame is gone, and with it nobody knows how much
                cursor.count = self._delivered[stream] = self._delivered[stream] + len(GAP)
                yield stream, GAP
        if mark is None or written_ns > mark.written_ns:
            cursor.mark = Mark(written_ns, cursor.count)
        elif written_ns < mark.written_ns:
            self._clock_went_back = True
        return True


def load(path: Path) -> list[Position]:
    """Return the positions in a file, oldest first; none when it is missing or was damaged."""
    try:
        with path.open("rb") as file:
            rows = json.loads(file.read(FILE_BYTES_MAX))
        return [{stream: _mark(*row[stream]) for stream in BOTH if stream in row} for row in _rows(rows)]
    except (OSError, ValueError, TypeError, RecursionError):
        return []


def _rows(found: object) -> list[dict[Any, Any]]:
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ValueError("no list of positions")
    return found


def _mark(written_ns: int, before: int) -> Mark:
    if type(written_ns) is not int or type(before) is not int or min(written_ns, before) < 0:
        raise ValueError("no place in a log")
    return Mark(written_ns, before)


def save(path: Path, kept: list[Position]) -> None:
    """Write the newest positions to a file. Without them a reader begins at the start, so a failure is none."""
    rows = [
        {stream: [mark.written_ns, mark.before] for stream, mark in position.items()} for position in kept[-KEPT_MAX:]
    ]
    temporary = path.with_suffix(".new")
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.write_text(json.dumps(rows))
        os.replace(temporary, path)
