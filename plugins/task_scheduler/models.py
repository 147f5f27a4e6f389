"""What this API thinks in, beside core's jobs: workers."""

from collections.abc import Sequence
from typing import Final

from attrs import field, frozen

from appliance.plugin import JobRecord

SURFACE: Final = "task_scheduler"
WORKERS_MAX: Final = 10_000
"""Registered rows that are kept."""


@frozen(kw_only=True)
class StoredWorker:
    """A worker that somebody registered; it does nothing until workers of other hosts are served."""

    worker_id: str
    address: str
    registered_at_unix_us: int


@frozen(kw_only=True)
class Amounts:
    """Resources in integers, so that nothing drifts."""

    millicores: int = 0
    memory_mib: int = 0
    storage_mib: int = 0
    milli_gpu: int = 0

    def minus(self, other: "Amounts") -> "Amounts":
        """Return what is left, nothing below 0."""
        return Amounts(
            millicores=max(0, self.millicores - other.millicores),
            memory_mib=max(0, self.memory_mib - other.memory_mib),
            storage_mib=max(0, self.storage_mib - other.storage_mib),
            milli_gpu=max(0, self.milli_gpu - other.milli_gpu),
        )


@frozen(kw_only=True)
class Worker:
    """A worker as it is now, of this host or registered."""

    worker_id: str
    address: str
    is_active: bool
    registered_at_unix_us: int
    host_id: str = ""
    """In the scheduler and the inventory; empty for one that is only registered."""
    total: Amounts = field(factory=Amounts)
    allocated: Amounts = field(factory=Amounts)
    heard_at_unix_us: int | None = None
    """When it was last known to live; ``None`` for never."""
    sampled_at_unix_us: int | None = None
    """Of its usage."""
    cpu_percent: float = 0.0
    memory_percent: float = 0.0
    gpu_percent: float = 0.0
    """Mean over its GPUs."""
    running: Sequence[JobRecord] = ()
