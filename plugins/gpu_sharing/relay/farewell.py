"""The end of a connection whose worker is down: a clean one, with no reset overtaking it."""

import select
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from attrs import define, field

LINGER_SECONDS: Final = 1.0
FORGOTTEN_BYTES: Final = 1 << 20
"""Read and thrown away in one turn."""
INTEREST: Final = select.EPOLLIN | select.EPOLLRDHUP


@define(eq=False)
class Farewell:
    """A client that is told the end at once, and read until it ends too.

    Closed with bytes unread its socket would send a reset, and the client would see that instead.
    """

    sock: socket.socket
    ends_at: float
    """Of the monotonic clock: when the socket is closed in any case."""
    over: Callable[["Farewell"], None]
    """Is called once the client has ended."""
    fd: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.fd = self.sock.fileno()
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def hear(self, fd: int, events: int) -> None:
        """Do nothing: `serve` reads whatever it is."""

    def serve(self) -> bool:
        """Read and forget; level-triggered, so what is left comes again."""
        try:
            is_over = not self.sock.recv(FORGOTTEN_BYTES, socket.MSG_TRUNC)
        except BlockingIOError:
            return False
        except OSError:
            is_over = True
        if is_over:
            self.over(self)
        return False
