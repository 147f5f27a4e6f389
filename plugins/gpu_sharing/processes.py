"""What the kernel says of processes; only reads /proc."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

PROC: Final = Path("/proc")


@frozen(kw_only=True)
class Seen:
    """A process as it was seen."""

    pid: int
    state: str
    """One letter; ``Z`` for one that has ended and was not yet collected."""
    session: int

    @property
    def is_alive(self) -> bool:
        """Whether there is still something to end."""
        return self.state not in "ZX"


def seen(pid: int) -> Seen | None:
    """Return a process; ``None`` for one that is not there."""
    try:
        line = (PROC / str(pid) / "stat").read_text("utf-8", "replace")
        # The name in parentheses may hold anything, also parentheses and spaces.
        state, *fields = line[line.rindex(")") + 1 :].split()
        return Seen(pid=pid, state=state, session=int(fields[2]))
    except (OSError, ValueError, IndexError):
        return None


def all_pids() -> Iterator[int]:
    """Yield the pids of this host."""
    for entry in os.scandir(PROC):
        if entry.name.isdigit():
            yield int(entry.name)


def uid_of(pid: int) -> int | None:
    """Return as whom a process runs; ``None`` when it is gone."""
    try:
        lines = (PROC / str(pid) / "status").read_text("utf-8", "replace").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Uid:"))
    except (OSError, StopIteration, ValueError):
        return None


def variable_of(pid: int, name: str) -> str | None:
    """Return a variable that a process was started with; ``None`` without it, or when it is not to be read by us."""
    try:
        variables = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return None
    start = f"{name}=".encode()
    return next((each[len(start) :].decode("utf-8", "replace") for each in variables if each.startswith(start)), None)
