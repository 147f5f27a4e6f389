"""What of a sample people should be told: the documented API's rules and texts, and two rules of ours.

The documented server tells of high load (every ten minutes while it lasts) and of devices that are new (once an hour);
a GPU that is gone it never tells of, and neither of a host that reports no more. We do.
"""

from typing import Final

from attrs import define, frozen

from appliance.plugin import Reading

HIGH_SECONDS: Final = 600.0
ADDED_SECONDS: Final = 3600.0
LOST_SECONDS: Final = 600.0
STATE_SECONDS: Final = 5.0
"""Changes of state are further apart; it is one's being stored twice that this prevents."""
SILENT: Final = "host_silent"
BACK: Final = "host_back"


@define  # neither frozen nor by keyword: one is made for every sample, and that takes half of the time
class Facts:
    """What the rules look at; ``None`` where nothing, or nothing but 0, is reported."""

    server: str
    """Name of the server."""
    cpu_percent: float | None
    memory_percent: float | None
    disk_util_percent: float
    """Of the busiest disk; 0.0 where nobody knows."""
    gpu_top_util_percent: float | None
    """Of the busiest GPU."""
    gpu_count: int
    disk_count: int


@frozen(kw_only=True)
class Finding:
    """One thing to tell people."""

    code: str
    """What kind of thing, stable; clients know the document's."""
    title: str
    message: str
    level: str
    """``info``, ``warning`` or ``critical``."""
    cool_down_seconds: float
    """For how long no other of this code is raised for the server."""


def facts_of(reading: Reading, server: str) -> Facts:
    """Return what the rules look at, for the server of that name; quick enough for every ingest."""
    row = reading.row
    return Facts(
        server,
        row.gauge("cpu_percent"),
        row.gauge("memory_percent"),
        max(filter(None, reading.rates.column("disk.busy_percent")), default=0.0),
        max(filter(None, row.column("gpu.utilization_percent")), default=None),
        row.device_count("gpu"),
        row.device_count("disk"),
    )


def due(before: Facts | None, now: Facts) -> list[Finding]:
    """Return what a sample gives reason to tell, before any cool-down.

    :param before: of the sample before; a server's first has none, and everything it has is new.
    """
    found: list[Finding] = []
    cpu, memory, disk, gpu = now.cpu_percent, now.memory_percent, now.disk_util_percent, now.gpu_top_util_percent
    if cpu is not None and cpu >= 90:
        found.append(_high("high_cpu", "High CPU usage", "CPU", cpu, now))
    if memory is not None and memory >= 90:
        found.append(_high("high_mem", "High memory usage", "Memory", memory, now))
    if disk >= 90:
        found.append(_high("high_disk", "High disk utilization", "Disk util", disk, now))
    if gpu is not None and gpu >= 95:
        found.append(_high("high_gpu", "High GPU utilization", "GPU util", gpu, now))
    gpus, disks = (0, 0) if before is None else (before.gpu_count, before.disk_count)
    if now.gpu_count > gpus:
        words = f"{now.gpu_count} GPU(s) present (was {gpus}) on {now.server}"
        found.append(_added("gpu_added", "New GPU detected", words))
    elif now.gpu_count < gpus:
        words = f"{now.gpu_count} GPU(s) present (was {gpus}) on {now.server}"
        found.append(
            Finding(code="gpu_lost", title="GPU lost", message=words, level="critical", cool_down_seconds=LOST_SECONDS)
        )
    if now.disk_count > disks:
        words = f"{now.disk_count} disk(s) present (was {disks}) on {now.server}"
        found.append(_added("disk_added", "New disk detected", words))
    return found


def _high(code: str, title: str, what: str, percent: float, now: Facts) -> Finding:
    message = f"{what} at {percent:.0f}% on {now.server}"
    return Finding(code=code, title=title, message=message, level="warning", cool_down_seconds=HIGH_SECONDS)


def _added(code: str, title: str, message: str) -> Finding:
    return Finding(code=code, title=title, message=message, level="info", cool_down_seconds=ADDED_SECONDS)


def silent(server: str, last_seen: str) -> Finding:
    """Return what is told of a server that reports no more; ``last_seen`` is when it did, for people."""
    return Finding(
        code=SILENT,
        title="Host is silent",
        message=f"No sample from {server} since {last_seen}",
        level="warning",
        cool_down_seconds=STATE_SECONDS,
    )


def back(server: str) -> Finding:
    """Return what is told of a server that was silent and reports again."""
    return Finding(
        code=BACK,
        title="Host reports again",
        message=f"{server} sends samples again",
        level="info",
        cool_down_seconds=STATE_SECONDS,
    )
