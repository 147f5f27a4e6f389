"""Tells systemd how we are: ready, reloading, stopping, alive. Elsewhere it does nothing."""

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress

import trio
from attrs import define, frozen


@frozen
class Notifier:
    """Sends states to the socket that systemd named; without one every call does nothing."""

    path: str = ""
    watchdog_seconds: float | None = None
    """How often systemd wants a sign of life; ``None`` when it wants none."""

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str], *, pid: int | None = None) -> "Notifier":
        """Read and remove systemd's variables, so that programs we start do not speak in our name."""
        path = environment.pop("NOTIFY_SOCKET", "")
        wanted = environment.pop("WATCHDOG_USEC", "")
        watched = environment.pop("WATCHDOG_PID", "")
        is_ours = watched in ("", str(os.getpid() if pid is None else pid))
        seconds = int(wanted) / 1_000_000 if wanted.isascii() and wanted.isdigit() and is_ours else 0
        return cls(path if path.startswith(("/", "@")) else "", seconds or None)

    def notify(self, *states: str) -> None:
        """Send states such as ``READY=1``; nobody listening is no failure."""
        if not self.path:
            return
        address = f"\0{self.path[1:]}" if self.path.startswith("@") else self.path
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as one:
            one.sendto("\n".join(states).encode(), address)


@define
class Watchdog:
    """Tells systemd twice in its interval that the event loop turns; a loop that hangs is killed and started again."""

    notifier: Notifier
    name: str = "watchdog"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Feed until cancelled; without a watchdog return at once."""
        task_status.started()
        if self.notifier.watchdog_seconds is None:
            return
        while True:
            self.notifier.notify("WATCHDOG=1")
            await trio.sleep(self.notifier.watchdog_seconds / 2)
