"""Starts a program for somebody else in a session of its own, by way of `entering`."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from . import entering
from .launching import Identity

TOLD_MAX_BYTES: Final = 1000
PYTHON_NEEDS: Final = ("LD_LIBRARY_PATH",)
"""Of our environment, for `entering` itself; the program gets none of it."""


@frozen(kw_only=True)
class Start:
    """All that is needed to start a program."""

    argv: Sequence[str]
    variables: Mapping[str, str]
    """All that it gets; PATH among them is where it is looked for."""
    identity: Identity
    folder: str
    cgroup: str = ""
    """The folder of the cgroup that it is put into; empty: it stays in ours."""


@define(eq=False)
class Launched:
    """A program that was started, or is about to be."""

    process: "subprocess.Popen[bytes]"
    _told_fd: int = field(alias="told_fd")
    problem: str = field(default="", init=False)
    """Why it could not be started (``cannot run as its user: ...``), as soon as that is known."""
    status: int | None = field(default=None, init=False)
    """What it ended with, negative for a signal; ``None`` as long as `has_ended` has not said so."""

    @property
    def pid(self) -> int:
        """Its process, which leads a group and a session."""
        return self.process.pid

    def has_ended(self) -> bool:
        """Whether its first process has; takes over what that left to say.

        It is not collected before `close`: until then nobody else gets its pid, which names its group and session.
        """
        if self.status is not None:
            return True
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is None:
            return False
        self.status = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        try:
            self.problem = os.read(self._told_fd, TOLD_MAX_BYTES).decode("utf-8", "replace")
        except BlockingIOError:  # it ended before it became the program, and somebody else has its descriptor
            self.problem = ""
        return True

    def close(self) -> None:
        """Collect one that has ended; to be called when nothing of it is left."""
        if self._told_fd >= 0:
            told_fd, self._told_fd = self._told_fd, -1
            os.close(told_fd)
        self.process.wait()


def launch(start: Start, log_fd: int) -> Launched:
    """Start a program; raises `OSError` when no process can be had.

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
    told = {
        "argv": list(start.argv),
        "variables": dict(start.variables),
        "uid": start.identity.uid,
        "gid": start.identity.gid,
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
