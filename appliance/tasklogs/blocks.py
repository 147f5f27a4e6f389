"""What is read from a log: runs of bytes with their stream, and what is missing before them."""

from collections.abc import Iterator
from typing import Any, Final, Literal

from attrs import field, frozen

Stream = Literal["stdout", "stderr"]
STREAMS: Final[tuple[Stream, Stream]] = ("stdout", "stderr")
LINE_MAX: Final = 65_536
"""Longest line in bytes; a longer one is stored, and shown, in parts."""


@frozen(kw_only=True)
class LogPiece:
    """Bytes of one stream, exactly as they were written."""

    stream: Stream
    attempt: int
    """Number of the attempt that wrote them."""
    written_at_unix_us: int
    """When they were stored."""
    data: bytes


@frozen(kw_only=True, eq=False)
class LogBlock:
    """A part of a log, from one offset to the next.

    Everybody who follows a log live is given the same blocks, so what is made of one can be kept with it.
    """

    offset: int
    """Of the first byte of the first piece."""
    next_offset: int
    """Where to go on."""
    pieces: tuple[LogPiece, ...] = ()
    missing_bytes: int = 0
    """How many bytes before ``offset`` were asked for and are not kept any more."""
    made: dict[str, Any] = field(factory=dict, repr=False)
    """What readers made of this block, by a name of their own, to be used again by the next."""

    def lines(self) -> Iterator[tuple[LogPiece, bytes, int]]:
        """Yield each line with its piece and the offset after it; the line without what ends it (LF, CR or both)."""
        at = self.offset
        for piece in self.pieces:
            for line in piece.data.splitlines(keepends=True):
                at += len(line)
                yield piece, line.rstrip(b"\r\n"), at


class LineBuffer:
    """Holds back what is not yet a whole line, for each stream."""

    def __init__(self) -> None:
        self._held: dict[Stream, bytes] = dict.fromkeys(STREAMS, b"")

    def feed(self, stream: Stream, data: bytes) -> bytes:
        """Return what is whole lines by now.

        A line ends with LF, CRLF or, as progress bars write it, with CR; a line above `LINE_MAX` is let go in parts.
        """
        held = self._held[stream] + data
        # A CR at the very end may be the first half of a CRLF.
        end = max(held.rfind(b"\n"), held.rfind(b"\r", 0, max(len(held) - 1, 0))) + 1
        if len(held) - end > LINE_MAX:
            end += (len(held) - end) // LINE_MAX * LINE_MAX
        self._held[stream] = held[end:]
        return held[:end]

    def rest(self) -> list[tuple[Stream, bytes]]:
        """Return what was held back, and hold nothing any more."""
        rest = [(stream, held) for stream, held in self._held.items() if held]
        self._held = dict.fromkeys(STREAMS, b"")
        return rest
