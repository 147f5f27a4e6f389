"""A line between a browser and an appliance that can be cut, as a laptop's that sleeps or a tunnel's that breaks."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from attrs import define, field

READ_BYTES = 65_536
END_SECONDS = 30.0


@define(eq=False)
class Line:
    """Passes every byte on, until it is cut; new connections are passed on again."""

    target: tuple[str, int]
    cuts: int = field(default=0, init=False)
    """How many connections were cut."""
    _listener: socket.socket = field(init=False)
    _live: dict[socket.socket, socket.socket] = field(factory=dict, init=False)
    _threads: list[threading.Thread] = field(factory=list, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._run(self._accept)

    @property
    def port(self) -> int:
        """Of this end."""
        return int(self._listener.getsockname()[1])

    def cut(self) -> None:
        """End every connection that there is."""
        with self._lock:
            for near, far in self._live.items():
                self.cuts += 1
                for end in (near, far):
                    with suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
            self._live.clear()

    def close(self) -> None:
        """Take no more connections, and end those that there are."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(END_SECONDS)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(END_SECONDS)

    def _run(self, work: object, *given: socket.socket) -> None:
        assert callable(work)
        thread = threading.Thread(target=work, args=given, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._run(self._serve, near)

    def _serve(self, near: socket.socket) -> None:
        with near, suppress(OSError), socket.create_connection(self.target) as far:
            with self._lock:
                self._live[near] = far
            try:
                other = {near: far, far: near}
                while True:
                    for ready in select.select([near, far], [], [])[0]:
                        data = ready.recv(READ_BYTES)
                        if not data:
                            return
                        other[ready].sendall(data)
            finally:
                with self._lock:
                    self._live.pop(near, None)


@contextmanager
def line_to(port: int) -> Iterator[Line]:
    """Open a line to a port of this host."""
    line = Line(("127.0.0.1", port))
    try:
        yield line
    finally:
        line.close()
