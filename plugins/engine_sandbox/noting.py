"""What a keeper writes into its task's folder, which is where it works, and reads there. Standard library alone."""

import json
import os
import struct
from typing import Any, Final

from .becoming import sync_file_system
from .processes import start_ticks

FRAME: Final = struct.Struct("<BxxxIq")
"""Before each piece of the log: 1 for stdout and 2 for stderr, its length in bytes, when it was read (us)."""
FULL_BYTES: Final = 1 << 20
"""A file system with less room is full: what a task could not write may have been larger than what is left."""


def claimed() -> bool:
    """Make this process the one that keeps the task; ``False`` when another one is or was."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot_id = file.read().strip()
    pid = os.getpid()
    mine = f"keeper.{pid}"
    replace(mine, {"pid": pid, "ticks": start_ticks(pid), "boot_id": boot_id})
    try:
        os.link(mine, "keeper")
    except FileExistsError:
        return False
    finally:
        os.unlink(mine)
    return True


def replace(name: str, content: dict[str, Any]) -> None:
    """Write a record, whole or not at all."""
    with open(f"{name}.new", "w", encoding="ascii", opener=_private) as file:
        json.dump(content, file)
    os.rename(f"{name}.new", name)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def stop_until() -> float | None:
    """Return until when what is left may run (s of CLOCK_BOOTTIME), if the task was asked to end."""
    try:
        with open("stop", encoding="ascii") as file:
            return float(json.load(file)["until_boottime_s"])
    except FileNotFoundError:
        return None


def start_of_log() -> str:
    """Return what bubblewrap said when it could not start the command."""
    found = ""
    with open("log", "rb") as file:
        while len(found) < 2000 and len(head := file.read(FRAME.size)) == FRAME.size:
            found += file.read(FRAME.unpack(head)[1]).decode("utf-8", "replace")
    return " ".join(found[:2000].split())


def oom_kills(path: str) -> int:
    """Return how often a cgroup was out of memory, and one of its processes killed."""
    try:
        with open(path, encoding="ascii") as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("oom_kill "))
    except OSError:
        return 0


def is_full() -> bool:
    """Whether there is no room where the task writes; what it wrote in a file system of its own is then on the disk."""
    found = os.statvfs(".")
    if os.path.ismount("space"):
        found = os.statvfs("space")
        sync_file_system("space")
    return found.f_bavail * found.f_frsize < FULL_BYTES or (found.f_files > 0 and found.f_favail == 0)


def has_output() -> bool:
    """Whether there is anything to collect: to mount its file system for nothing would take longer than the task."""
    try:
        with os.scandir("space/output" if os.path.ismount("space") else "output") as entries:
            return next(entries, None) is not None
    except FileNotFoundError:
        return False
