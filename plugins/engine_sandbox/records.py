"""What an attempt's folder holds, and what can be read off it.

========== =========== ====================================================================
name       written by
========== =========== ====================================================================
attempt    the engine  which attempt it is (`AttemptRecord`); without it the folder is rubbish
keeper     its keeper  pid, start and boot of the keeper, made once: who makes it starts it
running    its keeper  pid and start of the sandbox's first process, once the command runs
log        its keeper  what it prints, see `logs`
wake       the engine  a FIFO: a byte when there is more log, its end when the keeper ends
stop       the engine  until when what is left may go on, once it was asked to end
exit       its keeper  how it ended
space      its keeper  where its file system is mounted, from ``space.img``
output ... the engine  what it can write to, when no size was asked for
========== =========== ====================================================================
"""

import hashlib
import os
import re
import time
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from attrs import frozen

from .processes import open_process

WRITABLE: Final = ("output", "tmp", "vartmp")
"""What a task can write to; it sees them as ``/output``, ``/tmp`` and ``/var/tmp``."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
RECORD_BYTES_MAX: Final = 1 << 20

RecordT = TypeVar("RecordT")


@frozen(kw_only=True)
class AttemptRecord:
    """What the engine knows of an attempt before it is started."""

    attempt_id: str
    job_id: str
    fencing_token: int
    group: str = ""
    """Name of its cgroup; empty without limits."""
    uid: int | None = None
    """The user that it runs as; ``None`` for ours."""
    memory_mib: int = 0
    has_space: bool = False
    """Whether what it writes lies in a file system of its own."""
    mount: str = ""
    """The program that mounts that."""
    has_init: bool = True
    """Whether it has a process namespace, which ends with its first process."""


@frozen(kw_only=True)
class KeeperRecord:
    """The process that keeps an attempt."""

    pid: int
    ticks: int
    boot_id: str


@frozen(kw_only=True)
class RunningRecord:
    """The first process of a sandbox, as this host sees it; 0 without a process namespace."""

    init_pid: int
    init_ticks: int


@frozen(kw_only=True)
class ExitRecord:
    """How an attempt ended."""

    exit_code: int | None
    never_ran: str
    """Why its command was never run; empty when it was."""
    oom_kills: int
    disk_full: bool
    dropped: dict[str, int]
    """Bytes by stream that found no room in its log."""
    ended_at_unix_us: int
    has_output: bool


@frozen
class AttemptFolder:
    """The folder of one attempt."""

    path: Path

    def make(self, record: AttemptRecord, mode: int) -> None:
        """Make the folder; the record comes last, and only with it the folder counts."""
        self.path.mkdir(mode=mode, exist_ok=True)
        wake = self.path / "wake"
        if not wake.exists():
            os.mkfifo(wake, 0o600)
        if not record.has_space:
            for name in WRITABLE:
                folder = self.path / name
                folder.mkdir(mode=0o700, exist_ok=True)
                if record.uid is not None:
                    os.chown(folder, record.uid, record.uid)
        self._write("attempt", record)

    def record(self) -> AttemptRecord | None:
        """Return which attempt it is."""
        return self._read("attempt", AttemptRecord)

    def keeper(self) -> KeeperRecord | None:
        """Return its keeper, whether alive or not; ``None`` when it was never started."""
        return self._read("keeper", KeeperRecord)

    def running(self) -> RunningRecord | None:
        """Return its first process; ``None`` when its command never ran."""
        return self._read("running", RunningRecord)

    def exit(self) -> ExitRecord | None:
        """Return how it ended; ``None`` while it runs, and when nobody saw its end."""
        return self._read("exit", ExitRecord)

    def open_keeper(self) -> int | None:
        """Return a descriptor that is readable once its keeper has ended; ``None`` when there is none."""
        keeper = self.keeper()
        if keeper is None or keeper.boot_id != boot_id():
            return None
        return open_process(keeper.pid, keeper.ticks)

    def open_init(self) -> tuple[int, int] | None:
        """Return pid and descriptor of its first process; ``None`` when there is none."""
        keeper, running = self.keeper(), self.running()
        if keeper is None or running is None or keeper.boot_id != boot_id() or running.init_pid == 0:
            return None
        fd = open_process(running.init_pid, running.init_ticks)
        return None if fd is None else (running.init_pid, fd)

    def is_running(self) -> bool:
        """Whether its keeper lives, and has not told of its end."""
        fd = self.open_keeper()
        if fd is None:
            return False
        os.close(fd)
        return self.exit() is None

    def asked_to_end(self, grace_seconds: float) -> None:
        """Let what is left go on for a while once its command has ended."""
        until = time.clock_gettime(time.CLOCK_BOOTTIME) + grace_seconds
        self._write("stop", {"until_boottime_s": until})

    def _write(self, name: str, content: Any) -> None:
        partial = self.path / f".{name}.new"
        partial.write_bytes(msgspec.json.encode(content))
        partial.rename(self.path / name)

    def _read(self, name: str, kind: type[RecordT]) -> RecordT | None:
        try:
            with open(self.path / name, "rb") as file:
                return msgspec.json.decode(file.read(RECORD_BYTES_MAX), type=kind)
        except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
            return None


def folder_name(attempt_id: str) -> str:
    """Return the name of an attempt's folder: its id where that is a plain name."""
    if _PLAIN.fullmatch(attempt_id):
        return attempt_id
    return "id-" + hashlib.sha256(attempt_id.encode("utf-8", "surrogatepass")).hexdigest()


def boot_id() -> str:
    """Return what tells this run of the kernel from all others."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
