"""Connections to drones that commands share (ControlMaster): where their sockets lie, and when they end."""

import hashlib
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio
from attrs import define, field

from .approval import Approval, Approvals
from .processes import run_process
from .ssh_command import Order, Way, control_line

CONTROL_SECONDS: Final = 5.0
FOLDER_BYTES_MAX: Final = 70
"""A socket's path has 107 bytes: a slash, 16 of its name, and 17 that ssh adds while it makes it."""
WAITING: Final = 1000


@define(eq=False)
class SshConnections:
    """A service that ends shared connections as their approvals end, and all of them in the end."""

    approvals: Approvals
    folder: Path
    """The plugin's own folder."""
    name: str = "ssh-connections"
    _sockets: Path | None = field(default=None, init=False)
    _is_elsewhere: bool = field(default=False, init=False)

    def socket(self, approval: Approval) -> Path:
        """Return where an approval's connection is shared: a changed approval never meets an old connection."""
        if self._sockets is None:
            self._sockets = self._make_folder()
        told = (approval.address, str(approval.port), approval.user, approval.host_key, str(approval.approved_unix_us))
        return self._sockets / hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]

    async def control(self, way: Way, approval: Approval, order: Order) -> None:
        """End a shared connection: at once, or for new commands only; nothing where there is none."""
        socket = self.socket(approval)
        if socket.exists():
            with trio.move_on_after(CONTROL_SECONDS), suppress(OSError):
                await run_process(control_line(way, approval, order, socket))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """End connections until cancelled, then all that are left."""
        send, receive = trio.open_memory_channel[Approval](WAITING)

        def tell(approval: Approval) -> None:
            # What does not fit ends by itself: a connection without a command is kept for a minute.
            with suppress(trio.WouldBlock):
                send.send_nowait(approval)

        stop = self.approvals.on_ended(tell)
        try:
            task_status.started()
            async for approval in receive:
                await self._exit(approval)
        finally:
            stop()
            with trio.move_on_after(CONTROL_SECONDS, shield=True):
                await self._close()

    async def _exit(self, approval: Approval) -> None:
        if self._sockets is not None:
            # Only the socket matters here: nothing is connected to.
            way = Way(known_hosts=self.approvals.known_hosts, identity=self.folder / "id_ed25519")
            await self.control(way, approval, "exit")

    async def _close(self) -> None:
        async with trio.open_nursery() as nursery:
            for approval in self.approvals.all():
                nursery.start_soon(self._exit, approval)
        if self._is_elsewhere and self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
            (self.folder / "mux").unlink(missing_ok=True)
            self._sockets = None

    def _make_folder(self) -> Path:
        folder = self.folder / "mux"
        if len(os.fsencode(folder)) > FOLDER_BYTES_MAX:
            self._is_elsewhere = True
            return _elsewhere(folder)
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        return folder


def _elsewhere(link: Path) -> Path:
    """Return the folder that a link points to, a new one unless a run that was killed has left its own."""
    try:
        known = Path(os.readlink(link))
        found = known.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077:
            return known
    except OSError:
        pass
    made = Path(tempfile.mkdtemp(prefix="appliance-ssh-"))  # 0700
    with suppress(OSError):  # without the link, it is not found again: that is all
        link.unlink(missing_ok=True)
        link.symlink_to(made)
    return made
