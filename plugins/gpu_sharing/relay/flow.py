"""One direction of a connection: takes bytes from one socket and hands them on to the other, unchanged.

A sink that takes no more stops its source from being read, so the sender meets a full window as it would without us.
What has been read and not yet handed on is bounded: `COPY_BYTES`, or a pipe's size.
"""

import os
import socket
from typing import Final

from attrs import define, field

from .pipes import REFUSALS, Pipe, Pipes

COPY_BYTES: Final = 64 << 10
SPLICE_BYTES_MIN: Final = 16 << 10
"""Fewer than these at a time are copied: a pipe would cost more than it saves."""

# One for all: it holds nothing between two calls.
_scratch: Final = memoryview(bytearray(COPY_BYTES))


class Broken(Exception):
    """A socket has failed: reset by its peer, timed out, or unreachable."""

    def __init__(self, side: "Side") -> None:
        super().__init__(side.fd)
        self.side = side


@define(eq=False)
class Side:
    """One socket, and what the kernel last said of it (edge-triggered: until it says EAGAIN, it is so)."""

    sock: socket.socket
    fd: int = field(init=False)
    is_readable: bool = False
    is_writable: bool = False
    has_failed: bool = False

    def __attrs_post_init__(self) -> None:
        self.fd = self.sock.fileno()


@define(eq=False)
class Flow:
    """From ``source`` to ``sink``."""

    source: Side
    sink: Side
    pipes: Pipes
    carried_bytes: int = 0
    """Handed on so far."""
    is_done: bool = False
    """Whether the source's end has been handed on too."""
    _held: memoryview = field(default=memoryview(b""), init=False)
    _pipe: Pipe | None = field(default=None, init=False)
    _in_pipe_bytes: int = field(default=0, init=False)
    _is_bulk: bool = field(default=False, init=False)
    _is_at_end: bool = field(default=False, init=False)

    @property
    def is_holding(self) -> bool:
        """Whether bytes have been read that the sink has not taken yet."""
        return self._in_pipe_bytes > 0 or len(self._held) > 0

    def move(self, budget_bytes: int) -> bool:
        """Hand on what there is; return whether there may be more after ``budget_bytes``.

        :raises Broken: one of the sockets has failed.
        """
        stop_at = self.carried_bytes + budget_bytes
        while not self.is_done and self.sink.is_writable:
            if self.is_holding:
                self._push()
            elif self._is_at_end:
                self._finish()
            elif self.carried_bytes >= stop_at:
                return True
            elif not self.source.is_readable:
                break
            elif self._is_bulk:
                self._splice()
            else:
                self._copy()
        return False

    def drop(self) -> None:
        """Forget what is held; called once neither socket is used any more."""
        if self._pipe is not None:
            self.pipes.give_back(self._pipe, is_empty=not self._in_pipe_bytes)
        self._pipe, self._in_pipe_bytes, self._held = None, 0, memoryview(b"")

    def _copy(self) -> None:
        try:
            count = self.source.sock.recv_into(_scratch)
        except BlockingIOError:
            self.source.is_readable = False
            return
        except OSError as error:
            raise Broken(self.source) from error
        if count == 0:
            self._is_at_end = True
            return
        self._is_bulk = count == COPY_BYTES and not self.pipes.is_refused
        sent = self._send(_scratch[:count])
        if sent < count:
            self._held = memoryview(bytes(_scratch[sent:count]))

    def _splice(self) -> None:
        pipe = self._pipe = self.pipes.take()
        if pipe is None:
            self._is_bulk = False
            return
        try:
            count = self.pipes.fill(pipe, self.source.fd)
        except OSError as error:
            self._return_pipe()
            if isinstance(error, BlockingIOError):
                self.source.is_readable = False
                return
            if error.errno in REFUSALS:
                self._stop_splicing()
                return
            raise Broken(self.source) from error
        self._in_pipe_bytes = count
        self._is_at_end = count == 0
        self._is_bulk = count >= SPLICE_BYTES_MIN
        if count == 0:
            self._return_pipe()

    def _push(self) -> None:
        if self._pipe is None:
            self._held = self._held[self._send(self._held) :]
            return
        try:
            count = self.pipes.drain(self._pipe, self.sink.fd, self._in_pipe_bytes)
        except BlockingIOError:
            self.sink.is_writable = False
            return
        except OSError as error:
            if error.errno not in REFUSALS:
                raise Broken(self.sink) from error
            self._held = memoryview(os.read(self._pipe.out, self._in_pipe_bytes))
            self._in_pipe_bytes = 0
            self._return_pipe()
            self._stop_splicing()
            return
        self.carried_bytes += count
        self._in_pipe_bytes -= count
        if not self._in_pipe_bytes:
            self._return_pipe()

    def _send(self, view: memoryview) -> int:
        try:
            count = self.sink.sock.send(view)
        except BlockingIOError:
            self.sink.is_writable = False
            return 0
        except OSError as error:
            raise Broken(self.sink) from error
        self.carried_bytes += count
        return count

    def _finish(self) -> None:
        # The kernel tells of a reset once; who asks again is told of an orderly end, which must not be handed on.
        for side in (self.source, self.sink):
            if side.has_failed:
                raise Broken(side)
        try:
            self.sink.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise Broken(self.sink) from error
        self.is_done = True

    def _return_pipe(self) -> None:
        if self._pipe is not None:
            self.pipes.give_back(self._pipe)
            self._pipe = None

    def _stop_splicing(self) -> None:
        self.pipes.refuse()
        self._is_bulk = False
