"""Serves all sockets of the relay from one task, by an epoll of its own that the event loop watches.

The kernel is told once per socket what to report (edge-triggered), not once per wait, and reports a reset also of a
socket that nobody is reading because the other side is slow.
"""

import select
import time
from collections.abc import Callable
from typing import Final, Protocol

import trio
from attrs import define, field

TURN_SECONDS: Final = 0.004
"""For how long the pump works before the rest of the process gets a turn."""
EVENTS_MAX: Final = 256


class Served(Protocol):
    """What owns sockets here. Must not raise: `Pump` has nobody to tell."""

    def hear(self, fd: int, events: int) -> None:
        """Remember what the kernel says of a socket; do nothing yet."""
        ...

    def serve(self) -> bool:
        """Do what can be done now, within bounds; return whether there is more to do at once."""
        ...


@define(eq=False)
class Pump:
    """Knows which socket is whose, and gives turns."""

    monotonic: Callable[[], float] = time.monotonic
    _epoll: select.epoll = field(factory=select.epoll, init=False)
    _owners: dict[int, Served] = field(factory=dict, init=False)
    _ready: dict[Served, None] = field(factory=dict, init=False)

    def watch(self, fd: int, owner: Served, interest: int) -> None:
        """Serve a socket from now on.

        :raises OSError: the kernel watches no more of them.
        """
        self._epoll.register(fd, interest)
        self._owners[fd] = owner

    def forget(self, *fds: int) -> None:
        """Serve sockets no more; called before they are closed. What is not watched is passed over."""
        for fd in fds:
            owner = self._owners.pop(fd, None)
            if owner is not None:
                self._epoll.unregister(fd)
                self._ready.pop(owner, None)

    async def run(self) -> None:
        """Serve until cancelled."""
        yielded_at = self.monotonic()
        while True:
            self._listen()
            if not self._ready:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                yielded_at = self.monotonic()
                continue
            self._serve(until=yielded_at + TURN_SECONDS)
            if self.monotonic() - yielded_at >= TURN_SECONDS:
                await trio.lowlevel.checkpoint()
                yielded_at = self.monotonic()

    def close(self) -> None:
        """Close the epoll; the sockets belong to their owners."""
        self._epoll.close()
        self._owners.clear()
        self._ready.clear()

    def _listen(self) -> None:
        for fd, events in self._epoll.poll(0, EVENTS_MAX):
            owner = self._owners[fd]
            owner.hear(fd, events)
            self._ready[owner] = None

    def _serve(self, *, until: float) -> None:
        # One turn for each that is ready now: who still has more to do comes again after the others.
        for _ in range(len(self._ready)):
            if not self._ready:
                return
            owner = next(iter(self._ready))
            del self._ready[owner]
            if owner.serve():
                self._ready[owner] = None
            if self.monotonic() >= until:
                return
