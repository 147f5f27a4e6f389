"""What runs of the appliance before this one have left: found by pid and start, never by pid alone."""

from pathlib import Path
from typing import Final

import msgspec
import structlog

from . import processes
from .processes import Seen

log = structlog.get_logger(__name__)

SUFFIX: Final = ".pid"


class _Noted(msgspec.Struct, forbid_unknown_fields=True):
    pid: int
    started_ticks: int
    boot_id: str


def note(folder: Path, worker_id: str, pid: int) -> None:
    """Write down which process a worker's command is; one that has ended already is not."""
    process = processes.seen(pid)
    if process is not None:
        noted = _Noted(pid=pid, started_ticks=process.started_ticks, boot_id=processes.boot_id())
        (folder / f"{worker_id}{SUFFIX}").write_bytes(msgspec.json.encode(noted))


def forget(folder: Path, worker_id: str) -> None:
    """Take note that a worker's command has ended."""
    (folder / f"{worker_id}{SUFFIX}").unlink(missing_ok=True)


def left(folder: Path) -> dict[str, Seen | None]:
    """Return the workers that are noted, each with its process if that still runs."""
    return {path.stem: _still_there(path) for path in folder.glob(f"*{SUFFIX}")}


def _still_there(path: Path) -> Seen | None:
    try:
        noted = msgspec.json.decode(path.read_bytes(), type=_Noted)
    except (OSError, msgspec.MsgspecError):
        log.warning("worker.note_unreadable", path=str(path))
        return None
    process = processes.seen(noted.pid)
    is_it = (
        process is not None and process.started_ticks == noted.started_ticks and noted.boot_id == processes.boot_id()
    )
    return process if is_it else None
