"""Finding and ending the processes of a task. With the standard library alone: keepers use it too."""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

KILL_SECONDS: Final = 10.0
"""How long to go on killing: who forks in a loop is overtaken soon, who hangs in a driver never ends."""
PROCESSES_MAX: Final = 1_000_000
DEPTH_MAX: Final = 10_000


def start_ticks(pid: int) -> int:
    """Return when a process started, in clock ticks since the host did; 0 when there is none of that pid."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # After the name, which is the process's own choice and may hold anything.
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, IndexError):
        return 0


def name_of(pid: int) -> str:
    """Return the name of the program that a process runs; empty when it is gone."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return file.read().rstrip(b"\n").decode("utf-8", "replace")
    except OSError:
        return ""


def children(pid: int) -> list[int]:
    """Return the pids of a process's children, those of all its threads."""
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
    return found


def descendants(pid: int) -> list[int]:
    """Return the pids of a process's children, their children, and so on."""
    found: list[int] = []
    new = children(pid)
    while new and len(found) < PROCESSES_MAX:
        found += new
        new = [each for one in new for each in children(one)]
    return found


def open_process(pid: int, ticks: int) -> int | None:
    """Return a descriptor of a process that is readable once it has ended; ``None`` when it is gone.

    :param ticks: when it started, so that another process with its pid is not taken for it.
    """
    try:
        found = os.pidfd_open(pid)
    except (ProcessLookupError, ValueError):
        return None
    if start_ticks(pid) != ticks:
        os.close(found)
        return None
    return found


def parent(pid: int) -> int:
    """Return the pid of a process's parent; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def is_within(pid: int, ancestor: int) -> bool:
    """Whether a process descends from another one."""
    for _ in range(DEPTH_MAX):
        pid = parent(pid)
        if pid in (0, 1, ancestor):
            break
    return pid == ancestor


def send(pid: int, number: signal.Signals, *, within: int) -> None:
    """Signal a process if it is, still, a descendant of ``within``."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if is_within(pid, within):
            with suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(pidfd, number)
    finally:
        os.close(pidfd)


def kill_all(pid: int, group_files: Sequence[str]) -> bool:
    """Kill all descendants of a process and all of its cgroups, until none is left; return whether none is.

    :param group_files: ``cgroup.kill`` (v2) or ``cgroup.procs`` (v1) of each cgroup.
    """
    until = time.monotonic() + KILL_SECONDS
    while True:
        left = descendants(pid) if pid else []
        for path in group_files:
            left += kill_group(path)
        for each in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(each, signal.SIGKILL)
        if pid == os.getpid():
            reap()
        if not left or time.monotonic() > until:
            return not left
        time.sleep(0.005)


def kill_group(path: str) -> list[int]:
    """Kill what is in a cgroup as far as its own file can; return the pids that are in it."""
    with suppress(OSError):
        if path.endswith("cgroup.kill"):
            with open(path, "w", encoding="ascii") as file:
                file.write("1")
            path = path.removesuffix("cgroup.kill") + "cgroup.procs"
        with open(path, encoding="ascii") as file:
            return [pid for pid in map(int, file.read().split()) if pid > 1 and pid != os.getpid()]
    return []


def reap() -> None:
    """Collect children that have ended, if this process has any."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
