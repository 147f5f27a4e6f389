"""A program on a pseudo-terminal of this host, read and written without blocking."""

import fcntl
import os
import signal
import struct
import subprocess
import termios
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio
from attrs import define

from .processes import end_group, own_environment

PIECE_BYTES: Final = 16_384
SIDE_MAX: Final = 1000
"""Columns and rows of a terminal, at most; programs reckon with them."""
TERM: Final = "xterm-256color"
IUTF8: Final = 0o40000
"""Linux's termios(3): erasing in a line takes whole characters. Python has no name for it before 3.14."""
RAW_POLL_SECONDS: Final = 0.02


@define(eq=False)
class Pty:
    """Our end of a pseudo-terminal, and the program on the other."""

    process: trio.Process
    _fd: int

    async def read(self) -> bytes:
        """Return what the program wrote, empty once it has gone."""
        while True:
            try:
                return os.read(self._fd, PIECE_BYTES)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._fd)
            except OSError:  # EIO: nobody has the other end open any more
                return b""

    async def until_raw(self) -> None:
        """Wait until the program takes keys as they are, as ssh does once it is connected, or has ended.

        What is written earlier would be shown by this side, and again by the other.
        """
        # The kernel tells nobody of changed modes.
        while self.process.poll() is None and termios.tcgetattr(self._fd)[3] & termios.ICANON:  # noqa: ASYNC110
            await trio.sleep(RAW_POLL_SECONDS)

    async def write(self, data: bytes) -> None:
        """Write all of it, waiting while the program reads nothing; what is written to one that has gone is lost."""
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._fd, left) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._fd)
            except OSError:
                return

    def resize(self, columns: int, rows: int) -> None:
        """Tell the program how large its terminal is."""
        _set_size(self._fd, columns, rows)
        # It is no controlling terminal of the program's, so that the kernel tells it nothing.
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGWINCH)


@asynccontextmanager
async def on_pty(argv: Sequence[str], *, columns: int, rows: int) -> AsyncIterator[Pty]:
    """Run a program on a pseudo-terminal until the block ends; its whole process group ends then.

    :raises OSError: it cannot be started.
    """
    ours, theirs = os.openpty()
    process: trio.Process | None = None
    try:
        os.set_blocking(ours, False)
        # As a login has it: ssh gives the terminal on the other side the modes of this one.
        modes = termios.tcgetattr(theirs)
        modes[0] |= IUTF8
        termios.tcsetattr(theirs, termios.TCSANOW, modes)
        _set_size(theirs, columns, rows)
        try:
            process = await trio.lowlevel.open_process(
                list(argv),
                stdin=theirs,
                stdout=theirs,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
                env=own_environment(TERM=TERM),
            )
        finally:
            os.close(theirs)
        yield Pty(process, ours)
    finally:
        if process is not None:
            await end_group(process)
        trio.lowlevel.notify_closing(ours)
        os.close(ours)


def _set_size(fd: int, columns: int, rows: int) -> None:
    size = struct.pack("HHHH", _side(rows), _side(columns), 0, 0)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, size)


def _side(asked: int) -> int:
    return max(1, min(asked, SIDE_MAX))
