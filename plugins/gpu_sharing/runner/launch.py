"""Starts a worker's command in a session of its own, by way of `entering`."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from . import entering
from .identity import Identity

TOLD_MAX_BYTES: Final = 1000
PYTHON_NEEDS: Final = ("LD_LIBRARY_PATH",)
"""Of our environment, for `entering` itself; the command gets none of it."""


@frozen(kw_only=True)
class Start:
    """All that is needed to start a command."""

    argv: Sequence[str]
    variables: Mapping[str, str]
    identity: Identity
    folder: str
    cgroup: str = ""
    """The folder of the cgroup that it is put into; empty: it stays in ours."""


@define(eq=False)
class Launched:
    """A command that was started, or is about to be."""

    process: "subprocess.Popen[bytes]"
    _told_fd: int = field(alias="told_fd")
    problem: str = field(default="", init=False)
    """Why it could not be started, in plain words, as soon as that is known."""

    @property
    def pid(self) -> int:
        """Its process, which leads a group and a session."""
        return self.process.pid

    def has_ended(self) -> bool:
        """Whether its first process has; takes over what that left to say."""
        ended = self.process.poll() is not None
        if ended and self._told_fd >= 0:
            self.problem = os.read(self._told_fd, TOLD_MAX_BYTES).decode("utf-8", "replace")
            self.close()
        return ended

    def close(self) -> None:
        """Listen no more for why it could not be started."""
        if self._told_fd >= 0:
            os.close(self._told_fd)
            self._told_fd = -1


def launch(start: Start, log_fd: int) -> Launched:
    """Start a command; raises `OSError` when no process can be had.

    Does not wait. To be called in the main thread: the kernel ends the process with the *thread* that started it.

    :param log_fd: where what it writes goes.
    """
    told_fd, tell_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        with open(_spelled(start, tell_fd), "rb") as spelled:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(Path(entering.__file__))],
                env={name: os.environ[name] for name in PYTHON_NEEDS if name in os.environ},
                cwd="/",
                stdin=spelled,
                stdout=log_fd,
                stderr=log_fd,
                pass_fds=(tell_fd,),
                start_new_session=True,
            )
    except BaseException:
        os.close(told_fd)
        raise
    finally:
        os.close(tell_fd)
    return Launched(process, told_fd=told_fd)


def _spelled(start: Start, tell_fd: int) -> int:
    """Return a descriptor to read what shall be done from: in memory, since variables may be secret."""
    identity = start.identity
    told = {
        "argv": list(start.argv),
        "variables": dict(start.variables),
        "uid": identity.uid,
        "gid": identity.gid,
        "name": identity.name,
        "folder": start.folder,
        "cgroup": start.cgroup,
        "parent_pid": os.getpid(),
        "told_fd": tell_fd,
    }
    place = os.memfd_create("worker")
    try:
        rest = memoryview(json.dumps(told).encode("ascii"))
        while rest:
            rest = rest[os.write(place, rest) :]
        os.lseek(place, 0, os.SEEK_SET)
    except BaseException:
        os.close(place)
        raise
    return place
