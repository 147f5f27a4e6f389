"""A log on disk: segments of text, each with an index that tells stream, attempt and time of every run of it.

``<start>.log`` holds text as it was written; ``<start>.idx`` a header and one record for each run. Text is written
first and its record after it, so that after a crash the text without a record is cut off and nothing is torn. Beyond
the limit the first segment stays, where programs say how they were started, and the oldest of the others goes.

Everything here blocks and belongs into a thread; one writes at a time, any number may read meanwhile.
"""

import os
import struct
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

from appliance.tasklogs.blocks import STREAMS, LogBlock, LogPiece, Stream

HEADER: Final = struct.Struct("<QQH6x")
"""Bytes of stdout and stderr that the attempt had written before this segment, and the attempt's number."""
RECORD: Final = struct.Struct("<QQHB5x")
"""Offset after the run, when it was stored (unix microseconds), the attempt's number, the kind."""
KINDS: Final[dict[Stream, int]] = {"stdout": 1, "stderr": 2}
STREAM_OF: Final = {number: stream for stream, number in KINDS.items()}
BEGIN: Final = 3
"""A record of no text: an attempt begins here."""
SEGMENTS: Final = 8
SEGMENT_MIN_BYTES: Final = 4096
READ_BYTES: Final = 262_144


@frozen(kw_only=True)
class Run:
    """Whole lines of one stream, to be stored."""

    stream: Stream
    data: bytes


@frozen(kw_only=True)
class _Segment:
    folder: Path
    start: int
    end: int
    """Offset after its text."""
    index_bytes: int

    @property
    def text(self) -> Path:
        return self.folder / f"{self.start:020d}.log"

    @property
    def index(self) -> Path:
        return self.folder / f"{self.start:020d}.idx"

    @property
    def stored_bytes(self) -> int:
        return self.end - self.start + self.index_bytes


class SegmentedLog:
    """The log of one job."""

    def __init__(self, folder: Path, limit_bytes: Callable[[], int]) -> None:
        """Look at what is there; nothing is changed before `prepare`.

        :param limit_bytes: how much text and index may be kept, at least two segments of 4 KiB.
        """
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._segments = _found(folder)
        self.attempt = 0
        """Number of the attempt that writes; 0 before the first."""
        self.written: dict[Stream, int] = dict.fromkeys(STREAMS, 0)
        """What that attempt has written and was stored here, kept or not."""

    @property
    def end(self) -> int:
        """Offset after all that was stored."""
        return self._segments[-1].end if self._segments else 0

    @property
    def missing_bytes(self) -> int:
        """How much of the text is not kept any more."""
        gaps = zip(self._segments, self._segments[1:], strict=False)
        return sum(after.start - before.end for before, after in gaps)

    def prepare(self) -> None:
        """Make ready for writing: make the folder, or cut off what a crash left without a record."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._segments:
            self._segments = (*self._segments[:-1], self._repair(self._segments[-1]))

    def begin(self, attempt: int, now_unix_us: int) -> None:
        """Go on with an attempt, or begin the next."""
        if attempt != self.attempt:
            self._store([(BEGIN, attempt, b"")], now_unix_us)
            self.attempt = attempt
            self.written = dict.fromkeys(STREAMS, 0)

    def append(self, runs: Sequence[Run], now_unix_us: int) -> LogBlock:
        """Store some text; return it as a block.

        :raises OSError: it could not be stored (a full disk), and nothing of it is.
        """
        offset = self.end
        self._store([(KINDS[run.stream], self.attempt, run.data) for run in runs], now_unix_us)
        for run in runs:
            self.written[run.stream] += len(run.data)
        pieces = tuple(
            LogPiece(stream=run.stream, attempt=self.attempt, written_at_unix_us=now_unix_us, data=run.data)
            for run in runs
        )
        return LogBlock(offset=offset, next_offset=self.end, pieces=pieces)

    def read(self, offset: int, most_bytes: int = READ_BYTES) -> LogBlock:
        """Return what lies at ``offset`` and after it, up to about ``most_bytes`` and at most to the segment's end."""
        for segment in self._segments:
            if offset >= segment.end:
                continue
            at = max(offset, segment.start)
            try:
                pieces, after = _read(segment, at, most_bytes)
            except FileNotFoundError:  # it went while we looked
                continue
            if pieces:
                return LogBlock(offset=at, next_offset=after, pieces=pieces, missing_bytes=at - offset)
        return LogBlock(offset=max(offset, 0), next_offset=max(offset, 0))

    def _store(self, runs: Sequence[tuple[int, int, bytes]], now_unix_us: int) -> None:
        segment = self._room()
        at, records = segment.end, bytearray()
        for kind, attempt, data in runs:
            at += len(data)
            records += RECORD.pack(at, now_unix_us, attempt, kind)
        try:
            _append(segment.text, segment.end - segment.start, b"".join(data for _, _, data in runs))
            _append(segment.index, segment.index_bytes, records)
        except OSError:
            for path, size in ((segment.text, segment.end - segment.start), (segment.index, segment.index_bytes)):
                with suppress(OSError):
                    os.truncate(path, size)
            raise
        stored = evolve(segment, end=at, index_bytes=segment.index_bytes + len(records))
        self._segments = (*self._segments[:-1], stored)

    def _room(self) -> _Segment:
        """Return the segment to append to, a new one when the last is full."""
        most = max(self._limit_bytes() // SEGMENTS, SEGMENT_MIN_BYTES)
        if not self._segments or self._segments[-1].stored_bytes >= most:
            new = _Segment(folder=self._folder, start=self.end, end=self.end, index_bytes=HEADER.size)
            header = HEADER.pack(self.written["stdout"], self.written["stderr"], self.attempt)
            _append(new.index, 0, header)
            _append(new.text, 0, b"")
            # An empty segment has its place in the order already: none other starts where it does.
            self._segments = (*self._segments, new)
            self._drop(most)
        return self._segments[-1]

    def _drop(self, segment_bytes: int) -> None:
        """Remove the oldest but the first, as long as there are too many."""
        limit = max(self._limit_bytes(), 2 * segment_bytes)
        while len(self._segments) > 2 and sum(one.stored_bytes for one in self._segments) + segment_bytes > limit:
            first, oldest, *others = self._segments
            self._segments = (first, *others)
            for path in (oldest.text, oldest.index):
                with suppress(FileNotFoundError):
                    path.unlink()

    def _repair(self, segment: _Segment) -> _Segment:
        size = segment.text.stat().st_size
        index = segment.index.read_bytes()
        stdout, stderr, self.attempt = HEADER.unpack_from(index)
        self.written = {"stdout": stdout, "stderr": stderr}
        at, kept = segment.start, HEADER.size
        for end, _, attempt, kind in RECORD.iter_unpack(index[HEADER.size : _whole(len(index))]):
            if not at <= end <= segment.start + size or kind not in (*STREAM_OF, BEGIN):
                break
            if attempt != self.attempt:
                self.attempt = attempt
                self.written = dict.fromkeys(STREAMS, 0)
            if kind in STREAM_OF:
                self.written[STREAM_OF[kind]] += end - at
            at, kept = end, kept + RECORD.size
        # Cut and not written again: somebody may be reading what is before.
        os.truncate(segment.index, kept)
        os.truncate(segment.text, at - segment.start)
        return evolve(segment, end=at, index_bytes=kept)


def _found(folder: Path) -> tuple[_Segment, ...]:
    segments = []
    for path in sorted(folder.glob("*.idx")):
        segment = _Segment(folder=folder, start=int(path.stem), end=int(path.stem), index_bytes=path.stat().st_size)
        # What a crash left half made is the last one and has no text: it will be made anew.
        if segment.index_bytes >= HEADER.size and segment.text.exists():
            segment = evolve(segment, index_bytes=_whole(segment.index_bytes))
            stored = segment.start + segment.text.stat().st_size
            segments.append(evolve(segment, end=min(_last_end(segment), stored)))
    return tuple(segments)


def _whole(index_bytes: int) -> int:
    """Return how many bytes of an index are its header and whole records."""
    return HEADER.size + max(index_bytes - HEADER.size, 0) // RECORD.size * RECORD.size


def _last_end(segment: _Segment) -> int:
    if segment.index_bytes <= HEADER.size:
        return segment.start
    with segment.index.open("rb") as file:
        file.seek(segment.index_bytes - RECORD.size)
        end: int = RECORD.unpack(file.read(RECORD.size))[0]
    return end


def _append(path: Path, size: int, data: bytes | bytearray) -> None:
    """Write ``data`` at ``size``, which is where the file ends; all of it or an error."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.ftruncate(descriptor, size)
        left = memoryview(data)
        while left:
            done = os.pwrite(descriptor, left, size)
            left, size = left[done:], size + done
    finally:
        os.close(descriptor)


def _read(segment: _Segment, offset: int, most_bytes: int) -> tuple[tuple[LogPiece, ...], int]:
    """Return the pieces from ``offset`` on, and the offset after them."""
    with segment.index.open("rb") as index, segment.text.open("rb") as text:
        descriptor, count = index.fileno(), (segment.index_bytes - HEADER.size) // RECORD.size

        def record(number: int) -> tuple[int, int, int, int]:
            data = os.pread(descriptor, RECORD.size, HEADER.size + number * RECORD.size)
            end, at_unix_us, attempt, kind = RECORD.unpack(data)
            return end, at_unix_us, attempt, kind

        first = bisect_right(range(count), offset, key=lambda number: record(number)[0])
        pieces, at, number = [], offset, first
        while number < count and at - offset < most_bytes:
            end, written_at, attempt, kind = record(number)
            take = min(end, offset + most_bytes) - at
            if kind in STREAM_OF and take > 0:
                data = os.pread(text.fileno(), take, at - segment.start)
                if at + take < end:  # go on at the start of a line
                    data = data[: data.rfind(b"\n") + 1] or data
                pieces.append(
                    LogPiece(stream=STREAM_OF[kind], attempt=attempt, written_at_unix_us=written_at, data=data)
                )
                at += len(data)
                if at < end:
                    break
            number += 1
    return tuple(pieces), at
