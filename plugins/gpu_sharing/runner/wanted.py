"""What the runner is told of a worker, and what it says of it."""

from pathlib import Path
from typing import Final

from attrs import field, frozen
from attrs.validators import and_, ge, in_, le, matches_re, optional

from ..life import WorkerStatus
from ..settings import CommandSettings

NO_COMMAND: Final = "no command configured"
UNKNOWN: Final = "nothing is wanted of it"
GPU_ID_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9:._/-]{0,127}"
"""Ids travel in a comma separated list: a comma in one would be another GPU."""


@frozen(kw_only=True)
class Mps:
    """An MPS control daemon that a worker's processes shall go through."""

    pipe_directory: Path


def _gpu_ids(instance: object, attribute: object, value: tuple[str, ...]) -> None:
    for gpu_id in value:
        matches_re(GPU_ID_PATTERN)(instance, attribute, gpu_id)  # type: ignore[arg-type]


@frozen(kw_only=True)
class Wanted:
    """What shall run for one worker. A worker that shall not run is removed; what differs in it starts it anew."""

    worker_id: str = field(validator=matches_re(r"[A-Za-z0-9_-]{1,128}"))
    """Also the name of its files."""
    name: str
    command: CommandSettings | None
    gpu_ids: tuple[str, ...] = field(default=(), validator=_gpu_ids)
    """As the inventory has them: ``GPU-...`` and ``MIG-...`` for NVIDIA, ``AMD-...`` for AMD."""
    gpu_indices: tuple[int, ...] = ()
    """Of the same GPUs among their vendor's, for an AMD GPU that has no unique id."""
    vendor: str = field(default="nvidia", validator=in_(("nvidia", "amd", "")))
    """In lower case; empty for a worker without GPUs."""
    vram_mb: int | None = field(default=None, validator=optional(ge(1)))
    compute_percent: int | None = field(default=None, validator=optional(and_(ge(1), le(100))))
    isolation_mode: str | None = None
    listen_port: int | None = None
    """The owner's own entrance. It is served by whoever stands in front of the command, never by the runner."""
    mps: Mps | None = None


@frozen(kw_only=True)
class WorkerState:
    """How a worker is."""

    status: WorkerStatus = WorkerStatus.STOPPED
    pid: int | None = None
    """Of its command, while it has one."""
    restarts: int = 0
    """How often its command has been started again after it ended by itself, in this run of the appliance."""
    target: tuple[str, int] | None = None
    """Where its command answers; ``None`` while it does not."""
    why: str = ""
    """Why it does not run, in plain words; empty for one that does."""
    warning: str = ""
    """What is wrong though it runs, in plain words."""
