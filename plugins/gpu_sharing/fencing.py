"""All processes of one worker, and how they are ended: by their cgroup where we may make one, else by session and mark.

A cgroup holds whatever a command starts, and the kernel ends all of it at once. Without one (cgroup v1 alone, or a
tree that is not ours to write in) a process belongs to a worker while it is in the session of its command or carries
its mark: a program that wants to get away from both can, and only a cgroup would hold it.

Source: cgroups(7), Documentation/admin-guide/cgroup-v2.rst of Linux.
"""

import os
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import structlog
import trio
from attrs import define

from . import processes
from .launching import MARK

log = structlog.get_logger(__name__)

SIGNAL_SECONDS: Final = 2.0
SWEEP_SECONDS: Final = 2.0
AGAIN_SECONDS: Final = 0.02
NOBODY_GID: Final = 65_534
SELF: Final = Path("/proc/self")


@define(eq=False)
class Fence:
    """The processes of one worker."""

    mark: str
    cgroup: Path | None = None
    """Its folder; ``None`` where we may make none."""

    @classmethod
    def of(cls, mark: str, name: str, parent: Path | None) -> "Fence":
        """Put up a fence, with a cgroup of its own under ``parent`` where that can be."""
        folder = parent / name if parent else None
        if folder:
            try:
                folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            except OSError as error:
                log.warning("worker.no_cgroup", cgroup=str(folder), reason=error.strerror)
                folder = None
        return cls(mark, folder)

    async def is_empty(self, leader_pid: int) -> bool:
        """Whether no process of the worker lives.

        :param leader_pid: of its command, whose session counts; 0 for none.
        """
        if self.cgroup is None:
            return not await self.members(leader_pid)
        try:
            return "populated 0" in (self.cgroup / "cgroup.events").read_text("ascii").splitlines()
        except FileNotFoundError:
            return True

    async def members(self, leader_pid: int) -> list[int]:
        """Return the pids of the worker's processes that live."""
        if self.cgroup is None:  # some thousand files: not in the loop
            return await trio.to_thread.run_sync(_members, self.mark, leader_pid)
        try:
            return [int(each) for each in (self.cgroup / "cgroup.procs").read_text("ascii").split()]
        except OSError:
            return []

    async def kill(self, leader_pid: int) -> None:
        """End all of them at once, as far as may be; `is_empty` tells whether they are gone."""
        if self.cgroup is not None:
            try:
                (self.cgroup / "cgroup.kill").write_text("1", "ascii")
            except OSError:  # before Linux 5.14 there is none
                log.debug("worker.no_cgroup_kill", cgroup=str(self.cgroup))
            else:
                return
        await send(await self.members(leader_pid), signal.SIGKILL)

    def take_down(self) -> None:
        """Take the cgroup away; one in which something still lives stays, to be found at the next start."""
        if self.cgroup is not None:
            try:
                self.cgroup.rmdir()
            except OSError as error:
                log.debug("worker.cgroup_stays", cgroup=str(self.cgroup), reason=error.strerror)


def _members(mark: str, leader_pid: int) -> list[int]:
    found = []
    for pid in processes.all_pids():
        process = processes.seen(pid)
        if process is None or not process.is_alive:
            continue
        if (leader_pid and process.session == leader_pid) or processes.variable_of(pid, MARK) == mark:
            found.append(pid)
    return found


def marked(prefix: str) -> list[int]:
    """Return the pids of all processes whose mark begins so, also those that have left their session.

    Reads all of /proc.
    """
    return [pid for pid in processes.all_pids() if (processes.variable_of(pid, MARK) or "").startswith(prefix)]


async def sweep(prefix: str) -> None:
    """End what an earlier run of the appliance has left, found by its mark; returns when it is gone, or will not go."""
    with trio.move_on_after(SWEEP_SECONDS):
        while left := await trio.to_thread.run_sync(marked, prefix):
            await send(left, signal.SIGKILL)
            await trio.sleep(AGAIN_SECONDS)


async def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to processes, or to groups for negative ids; those that are gone do not matter.

    Root without the capability to signal other users asks a shell of that user.
    """
    refused: dict[int, list[int]] = {}
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
        except PermissionError:
            uid = processes.uid_of(abs(pid))
            if uid is not None:
                refused.setdefault(uid, []).append(pid)
    for uid, theirs in refused.items():
        if uid == 0 or os.geteuid() != 0:
            log.warning("worker.processes_not_ours", pids=theirs, uid=uid)
        else:
            await _send_as(uid, theirs, number)


async def _send_as(uid: int, pids: list[int], number: signal.Signals) -> None:
    # Each by itself: one that is gone must not save the others.
    script = 'number=$1; shift; for one do kill -s "$number" -- "$one"; done'
    name = number.name.removeprefix("SIG")
    with trio.move_on_after(SIGNAL_SECONDS):
        await trio.run_process(
            ["/bin/sh", "-c", script, "sh", name, *map(str, pids)],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
            user=uid,
            group=NOBODY_GID,
            extra_groups=[],
        )


def cgroup_parent(instance: str) -> Path | None:
    """Return the folder under which cgroups of our workers are made: beneath our own; ``None`` where there is none."""
    try:
        mounts = (SELF / "mountinfo").read_text("utf-8", "replace").splitlines()
        own = next(each[3:] for each in (SELF / "cgroup").read_text("utf-8").splitlines() if each.startswith("0::"))
        top = next(Path(_unescaped(each.split()[4])) for each in mounts if " - cgroup2 " in each)
    except (OSError, StopIteration, IndexError):
        return None
    if ".." in own:  # we were put into a cgroup outside of what we can see
        return None
    parent = top / own.strip("/") / f"appliance-workers-{instance}"
    # One that exists was made by us, by name; else it is made with the first worker, where we may.
    return parent if parent.exists() or os.access(parent.parent, os.W_OK | os.X_OK) else None


def _unescaped(path: str) -> str:
    return path.encode("latin-1", "replace").decode("unicode_escape") if "\\" in path else path
