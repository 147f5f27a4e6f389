"""The log of an attempt, as its keeper writes it: one file of pieces, in the order in which they were printed."""

from collections.abc import Iterator
from typing import BinaryIO, Final, Literal

from attrs import define, field

from appliance.plugin import LogChunk

from .noting import FRAME

PIECE_BYTES_MAX: Final = 1 << 20
STREAMS: Final[dict[int, Literal["stdout", "stderr"]]] = {1: "stdout", 2: "stderr"}


@define
class LogReader:
    """Reads a log from its start; what is not whole yet is left for later."""

    file: BinaryIO
    skip: dict[str, int] = field(factory=dict)
    """Bytes to leave out from the start of each stream, still."""
    is_broken: bool = field(default=False, init=False)
    """Whether something else than pieces was met: nothing behind it is read."""
    _at: int = field(default=0, init=False)

    def more(self) -> Iterator[LogChunk]:
        """Yield what has come since the last call."""
        while not self.is_broken:
            self.file.seek(self._at)
            head = self.file.read(FRAME.size)
            if len(head) < FRAME.size:
                return
            number, size, _ = FRAME.unpack(head)
            if number not in STREAMS or size > PIECE_BYTES_MAX:
                self.is_broken = True
                return
            data = self.file.read(size)
            if len(data) < size:
                return
            self._at += FRAME.size + size
            stream = STREAMS[number]
            left_out = min(size, self.skip.get(stream, 0))
            if left_out:
                self.skip[stream] -= left_out
            if left_out < size:
                yield LogChunk(stream=stream, data=data[left_out:])
