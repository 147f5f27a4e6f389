"""What a build writes: kept in a file up to a bound, and told to the server while it comes."""

from pathlib import Path
from typing import Final

import trio
from attrs import define, field

from .models import Refused, Server, Unreachable
from .waits import Waits

LOG_MAX_BYTES: Final = 67_108_864
"""Beyond this the file says that the rest was left out."""
CUT: Final = b"\n(the rest of this build's output was left out)\n"
CHUNK_BYTES: Final = 262_144
SEND_SECONDS: Final = 2.0
"""Least time between two parts of one log."""
FINISH_SECONDS: Final = 30.0
"""How long one try to send the rest of a log may take."""
TAIL_BYTES: Final = 65_536


@define(eq=False)
class LogFile:
    """The output of one build."""

    path: Path
    most_bytes: int = LOG_MAX_BYTES
    _is_cut: bool = field(default=False, init=False)

    def append(self, data: bytes) -> None:
        """Keep some output; a disk that is full costs the log, not the build."""
        if self._is_cut:
            return
        try:
            with self.path.open("ab") as opened:
                room = self.most_bytes - opened.tell()
                opened.write(data[: max(room, 0)])
                if len(data) > room:
                    opened.write(CUT)
                    self._is_cut = True
        except OSError:
            self._is_cut = True

    def read(self, offset: int, most_bytes: int = CHUNK_BYTES) -> bytes:
        """Return what lies at ``offset``; up to its last whole line where there is more."""
        try:
            with self.path.open("rb") as opened:
                opened.seek(offset)
                data = opened.read(most_bytes)
        except OSError:
            return b""
        whole = data.rfind(b"\n") + 1
        return data[:whole] if len(data) == most_bytes and whole else data

    def tail(self) -> str:
        """Return the end of it."""
        try:
            size = self.path.stat().st_size
        except OSError:
            return ""
        return self.read(max(size - TAIL_BYTES, 0), TAIL_BYTES).decode("utf-8", "replace")


@define(eq=False)
class LogSender:
    """Sends one build's log, part by part, and goes on where the server says that it is."""

    server: Server
    file: LogFile
    log_id: str
    package: str
    offset: int = 0
    is_refused: bool = False
    """Whether the server takes no logs of ours, so that none are sent."""

    async def follow(self) -> None:
        """Send what comes until cancelled."""
        waits = Waits(SEND_SECONDS, 60.0)
        while not self.is_refused:
            try:
                sent = await self._send("")
            except Unreachable:
                await trio.sleep(waits.next())
            else:
                waits.reset()
                if sent < CHUNK_BYTES // 2:
                    await trio.sleep(SEND_SECONDS)

    async def finish(self, outcome: str) -> None:
        """Send the rest, and how the build ended; nothing is sent where the server takes no logs.

        :raises Unreachable: it could not be sent, now or within a bound.
        """
        with trio.move_on_after(FINISH_SECONDS):
            while not self.is_refused and await self._send(""):
                pass
            if not self.is_refused:
                await self._send(outcome)
            return
        raise Unreachable(f"the log could not be sent within {FINISH_SECONDS:g} s", answered=True)

    async def _send(self, outcome: str) -> int:
        """Send the next part; return by how much the server is further than before."""
        data = await trio.to_thread.run_sync(self.file.read, self.offset)
        if not data and not outcome:
            return 0
        try:
            after = await self.server.log(self.log_id, self.package, self.offset, data, outcome)
        except Refused:
            self.is_refused = True
            return 0
        done, self.offset = after - self.offset, after
        if done <= 0 and data:  # what it says makes no sense to go on with
            self.is_refused = after == 0
        return max(done, 0)


@define
class LogEnd:
    """The rest of a log, to be sent before the report: an outage must not cost it, nor a server that has no room."""

    sender: LogSender
    outcome: str
    tries: int
    """How often it may fail although the server is there."""
    _beats: int | None = field(default=None, init=False)

    async def send(self, beats: int) -> None:
        """Send it, unless that is done or given up.

        :param beats: how many heartbeats the server has answered: tells an outage from a log that cannot be sent.
        :raises Unreachable: it is to be tried again.
        """
        if not self.tries:
            return
        try:
            await self.sender.finish(self.outcome)
        except Unreachable as error:
            if error.answered or self._beats not in (None, beats):
                self.tries -= 1
            self._beats = beats
            raise
        self.tries = 0
