"""The file system of its own that a task with a size to write gets: made by its keeper, read here once it has ended."""

import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio
from attrs import frozen

from appliance.plugin import EngineLost, Host

MIB_MIN: Final = 4
"""Less is no file system."""
INODES_PER_MIB: Final = 64
MAKE_OPTIONS: Final = ("-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard", "-m", "0", "-b", "4096")
COLLECTED: Final = "collected"
TRIES: Final = 50
PAUSE_SECONDS: Final = 0.1


@frozen(kw_only=True)
class SpaceMaker:
    """The programs that make and mount a file system."""

    make: str
    mount: str
    unmount: str

    def request(self, mib: int, uid: int, folders: tuple[str, ...]) -> dict[str, Any]:
        """Return what the keeper is told."""
        size = max(MIB_MIN, mib)
        inodes = ("-N", str(max(128, size * INODES_PER_MIB)))
        return {
            "mib": size,
            "uid": uid,
            "folders": folders,
            "make": [self.make, *MAKE_OPTIONS, *inodes],
            "mount": self.mount,
        }


def find_space_maker(host: Host) -> SpaceMaker | None:
    """Return how to make file systems here; ``None`` where that cannot be."""
    programs = [_program(host, name) for name in ("mkfs.ext4", "mount", "umount")]
    if None in programs or not host.path("/dev/loop-control").exists():
        return None
    make, mount, unmount = (str(each) for each in programs)
    return SpaceMaker(make=make, mount=mount, unmount=unmount)


def _program(host: Host, name: str) -> str | None:
    found = host.find_program(name)
    if found is not None:
        return found
    path = host.path(f"/usr/sbin/{name}")  # not on everybody's PATH
    return str(path) if path.exists() else None


async def close_space(folder: Path) -> None:
    """Unmount a task's file system, if a run that was killed has left it mounted."""
    while os.path.ismount(folder / COLLECTED):  # noqa: ASYNC240 (a look at two inodes)
        problem = await _ran("umount", "-l", str(folder / COLLECTED))
        if problem:
            raise EngineLost(f"what the task wrote cannot be unmounted: {problem}")


@asynccontextmanager
async def opened_space(folder: Path) -> AsyncIterator[Path]:
    """Mount an ended task's file system for reading, as long as the context lasts; gives where."""
    await close_space(folder)  # a run that was killed has left it, and nothing is mounted twice
    at = folder / COLLECTED
    at.mkdir(mode=0o700, exist_ok=True)
    options = "loop,ro,nosuid,nodev,noexec"
    problem = ""
    for _ in range(TRIES):  # what the task had mounted goes a moment after its last process
        problem = await _ran("mount", "-o", options, str(folder / "space.img"), str(at))
        if not problem:
            break
        await trio.sleep(PAUSE_SECONDS)
    else:
        raise EngineLost(f"what the task wrote cannot be mounted: {problem}")
    try:
        yield at
    finally:
        with trio.CancelScope(shield=True):
            await _ran("umount", "-l", str(at))


async def _ran(*argv: str) -> str:
    """Run a program; return what went wrong, in its words."""
    done = await trio.run_process(
        list(argv), stdin=subprocess.DEVNULL, capture_stdout=True, capture_stderr=True, check=False
    )
    return "" if done.returncode == 0 else done.stderr.decode("utf-8", "replace").strip() or str(done.returncode)
