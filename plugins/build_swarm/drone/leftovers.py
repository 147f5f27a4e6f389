"""Finds and ends every process of a build, also one of a drone that was killed.

A build's processes carry a mark in their environment, and what they start is in their sessions or carries it too: a
process id that a file remembers could be anybody's by now, and a process group is left by daemons.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import trio

MARK: Final = "APPLIANCE_DRONE_BUILD"
"""The variable that marks a build's processes."""
LOOK_SECONDS: Final = 0.05
GONE_SECONDS: Final = 10.0
"""How long killed processes may take to be gone (one may wait for a disk)."""


def found(mark: str, *, proc: Path = Path("/proc")) -> set[int]:
    """Return the ids of the living processes of a build."""
    wanted = f"{MARK}={mark}".encode()
    own, marked, sessions = os.getsid(0), set[int](), dict[int, int]()
    for pid, session in _processes(proc):
        sessions[pid] = session
        with suppress(OSError):  # it has ended, or is another's
            if wanted in (proc / str(pid) / "environ").read_bytes().split(b"\0"):
                marked.add(pid)
    theirs = {sessions[pid] for pid in marked} - {own, 0}
    return (marked | {pid for pid, session in sessions.items() if session in theirs}) - {os.getpid()}


def _processes(proc: Path) -> Iterator[tuple[int, int]]:
    """Yield the id and the session of each process that is no zombie (proc(5): the name may hold anything)."""
    for entry in proc.iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                if fields[0] not in (b"Z", b"X"):
                    yield int(entry.name), int(fields[3])


async def end(mark: str, *, grace_seconds: float, proc: Path = Path("/proc")) -> int:
    """Ask them to end, then kill them; return how many there were. To be shielded by who must not be interrupted."""
    first = await _signalled(mark, signal.SIGTERM, proc)
    if first and not await _gone(mark, grace_seconds, proc):
        with trio.move_on_after(GONE_SECONDS):
            while True:
                if not await _signalled(mark, signal.SIGKILL, proc):
                    break
                await trio.sleep(LOOK_SECONDS)
    return first


async def _gone(mark: str, seconds: float, proc: Path) -> bool:
    with trio.move_on_after(seconds):
        while True:
            if not await trio.to_thread.run_sync(lambda: found(mark, proc=proc)):
                return True
            await trio.sleep(LOOK_SECONDS)
    return False


async def _signalled(mark: str, number: signal.Signals, proc: Path) -> int:
    processes = await trio.to_thread.run_sync(lambda: found(mark, proc=proc))
    for pid in processes:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
    return len(processes)
