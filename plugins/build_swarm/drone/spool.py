"""What a drone owes its server, in a file: written before it is owed, removed once the server has answered."""

import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Literal

from attrs import define, evolve, field, frozen

from .models import ATOM, Outcome

State = Literal["building", "built", "done"]
"""built: the binaries and the report are still to be sent; done: the report is."""
_STATES: Final = ("building", "built", "done")
DURATION_MAX_S: Final = 1e9
_SIZE_MAX: Final = 1_048_576


class SpoolInUse(Exception):
    """Another drone works with this folder."""


@frozen(kw_only=True)
class Owed:
    """One package, from the moment it was assigned until the server has answered its report."""

    package: str
    log_id: str
    """32 hexadecimal digits; also marks the processes of the build, and names its log's file."""
    session_id: str | None = None
    state: State = "building"
    outcome: Outcome = Outcome.RETURNED
    duration_s: float = 0.0
    error: str | None = None
    files: tuple[str, ...] = ()
    """Binary packages to upload, relative to the folder of packages."""

    def ended(self, outcome: Outcome, *, error: str | None = None) -> "Owed":
        """Return it with the report that is to be sent."""
        return evolve(self, state="done", outcome=outcome, error=error)


@define(eq=False)
class Spool:
    """The file ``owed.json`` in a folder that one drone has at a time."""

    folder: Path
    _lock: int | None = field(default=None, init=False)

    def open(self) -> None:
        """Take the folder; raise `SpoolInUse` when another drone has it, `OSError` when it cannot be had."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise SpoolInUse(f"another drone works in {self.folder}") from error

    def close(self) -> None:
        """Let others have the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def _file(self) -> Path:
        return self.folder / "owed.json"

    def log_file(self, log_id: str) -> Path:
        """Return where the log of a build is kept until it was sent."""
        return self.folder / f"{log_id}.log"

    def read(self) -> Owed | None:
        """Return what is owed; a file that nobody could have written so is as good as none."""
        try:
            with self._file.open("rb") as opened:
                return decoded(json.loads(opened.read(_SIZE_MAX)))
        except (OSError, ValueError, RecursionError):
            return None

    def write(self, owed: Owed) -> None:
        """Keep it, across a power cut too."""
        draft = self.folder / "owed.new"
        text = json.dumps({name: getattr(owed, name) for name in Owed.__annotations__})
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(text.encode())
            opened.flush()
            os.fsync(opened.fileno())
        draft.replace(self._file)
        self._sync()

    def clear(self) -> None:
        """Owe nothing any more; logs of builds go too."""
        self._file.unlink(missing_ok=True)
        self._sync()
        for path in self.folder.glob("*.log"):
            with suppress(OSError):
                path.unlink()

    def _sync(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def decoded(said: Any) -> Owed | None:
    """Return what some JSON says is owed, ``None`` where no drone has written it."""
    if not isinstance(said, dict):
        return None
    package, log_id, state = said.get("package"), said.get("log_id"), said.get("state")
    duration, error, session_id = said.get("duration_s"), said.get("error"), said.get("session_id")
    files = said.get("files")
    is_log_id = isinstance(log_id, str) and len(log_id) == 32 and log_id.isalnum() and log_id.isascii()
    if not (isinstance(package, str) and ATOM.fullmatch(package)) or not is_log_id or state not in _STATES:
        return None
    if not isinstance(duration, float | int) or not 0 <= duration <= DURATION_MAX_S:
        duration = 0.0
    if not isinstance(files, list) or not all(isinstance(one, str) for one in files):
        files = []
    return Owed(
        package=package,
        log_id=str(log_id),
        session_id=session_id if isinstance(session_id, str) else None,
        state=state,
        outcome=next((one for one in Outcome if one.value == said.get("outcome")), Outcome.RETURNED),
        duration_s=float(duration),
        error=error if isinstance(error, str) else None,
        files=tuple(files),
    )
