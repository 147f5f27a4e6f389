"""The engine's log stream taken apart: frames, each with the time of its writing and what was written.

A frame is 8 bytes (stream, three zeros, length as a big-endian 32 bit number) and a payload; with ``timestamps=1`` each
payload begins with its time and a space. Docker writes nanoseconds, Podman 4 whole seconds. A frame is a line, or a
piece of a longer one (16 KiB with Docker, 8 KiB with Podman); it is passed on as it arrives, whatever its length says.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final, Literal

from attrs import define, field, frozen

Stream = Literal["stdout", "stderr"]

STREAMS: Final[dict[int, Stream]] = {0: "stdout", 1: "stdout", 2: "stderr"}  # 0 is standard input, which is never sent
HEAD_BYTES: Final = 8
STAMP_BYTES_MAX: Final = 40
_STAMP: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)")


class Garbled(Exception):
    """Bytes that are no log stream."""


@frozen
class Piece:
    """Some bytes of a frame."""

    stream: Stream
    written_ns: int | None
    """When the frame was written, since 1970 and by the engine's clock; ``None`` for the later bytes of a frame."""
    data: bytes


def stamp_ns(text: str) -> int:
    """Return a time as the engine writes it, in nanoseconds since 1970.

    :raises Garbled: it is none.
    """
    match = _STAMP.fullmatch(text)
    if match is None:
        raise Garbled(f"no time: {text[:STAMP_BYTES_MAX]!r}")
    whole, fraction, zone = match.groups()
    try:
        seconds = int(datetime.fromisoformat(whole + ("+00:00" if zone == "Z" else zone)).timestamp())
    except (ValueError, OverflowError) as error:
        raise Garbled(f"no time: {text[:STAMP_BYTES_MAX]!r}") from error
    return seconds * 10**9 + int((fraction or "").ljust(9, "0"))


@define
class Frames:
    """Takes a log stream with times, in pieces of any size."""

    _pending: bytearray = field(factory=bytearray, init=False)
    _stream: Stream | None = field(default=None, init=False)
    """Of the frame that has begun; ``None`` between frames."""
    _left: int = field(default=0, init=False)
    """Bytes of its payload that have not come yet."""
    _stamped: bool = field(default=False, init=False)

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield what became known; all of it must be taken.

        :raises Garbled: this is no log stream.
        """
        self._pending += data
        while True:
            if self._stream is None and not self._begin():
                return
            assert self._stream is not None
            written_ns = None
            if not self._stamped:
                written_ns = self._take_stamp()
                if written_ns is None:
                    return
                self._stamped = True
            if self._left and not self._pending:
                if written_ns is not None:
                    yield Piece(self._stream, written_ns, b"")
                return
            payload = bytes(self._pending[: self._left])
            del self._pending[: len(payload)]
            self._left -= len(payload)
            yield Piece(self._stream, written_ns, payload)
            if not self._left:
                self._stream = None

    def _begin(self) -> bool:
        if len(self._pending) < HEAD_BYTES:
            return False
        kind, zeros, length = self._pending[0], self._pending[1:4], int.from_bytes(self._pending[4:8], "big")
        if kind not in STREAMS or any(zeros):
            raise Garbled(f"no frame: {bytes(self._pending[:HEAD_BYTES])!r}")
        del self._pending[:HEAD_BYTES]
        self._stream, self._left, self._stamped = STREAMS[kind], length, False
        return True

    def _take_stamp(self) -> int | None:
        window = bytes(self._pending[: min(self._left, STAMP_BYTES_MAX)])
        end = window.find(b" ")
        if end < 0:
            if len(window) == min(self._left, STAMP_BYTES_MAX):
                raise Garbled(f"a frame without its time: {window!r}")
            return None
        del self._pending[: end + 1]
        self._left -= end + 1
        return stamp_ns(window[:end].decode("ascii", "replace"))
