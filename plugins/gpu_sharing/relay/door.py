"""Accepts connections at one share's port."""

import errno
import select
import socket
from collections.abc import Callable
from typing import Final

from attrs import define

from .share import LiveShare

ACCEPTS_MAX: Final = 64
"""Connections taken in one turn."""
INTEREST: Final = select.EPOLLIN
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What accept(2) says when this process or the system is full; the connection stays in the queue."""
BROKEN: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP})
"""What it says when the socket does not listen any more. All else is the failure of one connection."""


@define(eq=False)
class Door:
    """One listening socket."""

    sock: socket.socket
    share: LiveShare
    welcome: Callable[[LiveShare, socket.socket, str, int], None]
    """Takes over an accepted connection from the address and port given; must not raise."""
    on_error: Callable[["Door", OSError], None]
    """Is told of what stops the door: one of `EXHAUSTED` or `BROKEN`."""

    def hear(self, fd: int, events: int) -> None:
        """Do nothing: whatever it is, `serve` meets it."""

    def serve(self) -> bool:
        """Accept who waits."""
        for _ in range(ACCEPTS_MAX):
            try:
                sock, address = self.sock.accept()
            except BlockingIOError:
                return False
            except OSError as error:
                if error.errno in EXHAUSTED or error.errno in BROKEN:
                    self.on_error(self, error)
                    return False
                continue  # gone before it was accepted (ECONNABORTED, and what accept(2) lists of the network)
            self.welcome(self.share, sock, address[0], address[1])
        # The kernel says again that somebody waits: the door is level-triggered.
        return False
