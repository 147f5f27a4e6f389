"""What agents report: their status every 30 s, with figures in it, and the documented metrics.

These classes are read for every report, so they are such that the fast reader takes them.
"""

from collections.abc import Iterable
from typing import Final

from attrs import asdict, field, frozen
from attrs.validators import and_, ge, le, max_len, optional

from ..figures import Figures, gpu_figures, host_figures
from ..models import Peer
from .rules import (
    CONNECTIONS_MAX,
    COUNT,
    GPU_ID,
    GPUS_MAX,
    IDENTITY,
    MEMORY_MB_OR_0,
    WORKER_STATUS,
    WORKERS_MAX,
    any_text,
    list_of,
)
from .times import check_time, read_time

SHUTDOWN: Final = "shutdown"


@frozen(kw_only=True)
class GpuStatus:
    """One GPU as its agent sees it. Real agents never fill ``used_by_worker``: who uses what follows from workers."""

    gpu_id: str = field(validator=GPU_ID)
    used_by_worker: str | None = field(default=None, validator=optional(IDENTITY))
    gpu_index: int | None = field(default=None, validator=optional(and_(ge(0), le(65_535))))
    vendor: str | None = field(default=None, validator=optional(any_text(32)))
    model: str | None = field(default=None, validator=optional(any_text(255)))
    vram_mb: int | None = field(default=None, validator=optional(MEMORY_MB_OR_0))
    driver_version: str | None = field(default=None, validator=optional(any_text(64)))
    cuda_version: str | None = field(default=None, validator=optional(any_text(64)))
    gpu_changed: bool | None = None


@frozen(kw_only=True)
class ReportedConnection:
    """Somebody who is connected to a worker; ``connected_at`` is the time of the report, whenever it began."""

    client_ip: str = field(validator=any_text(64))
    client_port: int | None = field(default=None, validator=optional(and_(ge(0), le(65_535))))
    client_pid: int | None = field(default=None, validator=optional(COUNT))
    connected_at: str = field(validator=check_time)


@frozen(kw_only=True)
class WorkerStatusReport:
    """One worker as its agent sees it."""

    worker_id: str = field(validator=IDENTITY)
    status: str = field(validator=WORKER_STATUS)
    pid: int | None = field(default=None, validator=optional(COUNT))
    restarts: int | None = field(default=None, validator=optional(COUNT))
    gpu_ids: list[str] | None = field(default=None, validator=list_of(GPU_ID, longest=GPUS_MAX))
    gpu_indices: list[int] | None = field(default=None, validator=optional(max_len(GPUS_MAX)))
    connections: list[ReportedConnection] | None = field(default=None, validator=optional(max_len(CONNECTIONS_MAX)))
    worker_changed: bool | None = None
    connection_changed: bool | None = None
    gpu_changed: bool | None = None


@frozen(kw_only=True)
class AgentStatusReportRequest:
    """An agent's status. What it leaves out is not gone: the first one after a start lists no workers."""

    timestamp: str = field(validator=check_time)
    gpus: list[GpuStatus] | None = field(validator=optional(max_len(GPUS_MAX)))
    workers: list[WorkerStatusReport] | None = field(validator=optional(max_len(WORKERS_MAX)))
    event: str | None = field(default=None, validator=optional(any_text(32)))
    """``shutdown``: offline from now on; its lists are empty then."""
    license_expiration: int | None = None
    """When the licence that it has expires, in milliseconds since 1970."""
    metrics: str | None = None
    """InfluxDB line protocol, times in milliseconds; see `lineprotocol`."""


@frozen(kw_only=True)
class GpuMetrics:
    """Figures of one GPU."""

    gpu_id: str = field(validator=GPU_ID)
    utilization: float = field(validator=and_(ge(0), le(100)))
    vram_used_mb: int = field(validator=MEMORY_MB_OR_0)
    vram_total_mb: int = field(validator=MEMORY_MB_OR_0)
    temperature: float = field(validator=and_(ge(-273), le(1000)))
    """Documented as an integer; agents send a fraction."""
    power_usage_w: float = field(validator=and_(ge(0), le(100_000)))


@frozen(kw_only=True)
class SystemMetrics:
    """Figures of an agent's host."""

    cpu_usage: float = field(validator=and_(ge(0), le(100)))
    memory_used_mb: int = field(validator=MEMORY_MB_OR_0)
    memory_total_mb: int = field(validator=MEMORY_MB_OR_0)


@frozen(kw_only=True)
class AgentMetricsRequest:
    """The documented metrics. Real agents send theirs inside the status instead."""

    timestamp: str = field(validator=check_time)
    system: SystemMetrics
    gpus: list[GpuMetrics] | None = field(validator=optional(max_len(GPUS_MAX)))


def connections_of(report: WorkerStatusReport) -> list[tuple[Peer, int]] | None:
    """Return who is connected, each with what it says of the time; ``None`` where nothing has changed.

    Go leaves an empty list out, so no list is nobody, unless the report says that the connections are as they were.
    """
    if report.connections is None:
        return None if report.connection_changed is False else []
    return [
        (
            Peer(client_ip=each.client_ip, client_port=each.client_port or None, client_pid=each.client_pid or None),
            read_time(each.connected_at, field="$.workers[].connections[].connected_at"),
        )
        for each in report.connections
    ]


def figures_of(body: AgentMetricsRequest, gpu_ids: Iterable[str]) -> Figures:
    """Return the documented metrics as figures; those of GPUs that are not the agent's are passed over."""
    own = {gpu_id.lower(): gpu_id for gpu_id in gpu_ids}
    found = Figures(
        taken_at_unix_ms=read_time(body.timestamp, field="$.timestamp") // 1000,
        host=host_figures(asdict(body.system)),
    )
    for each in body.gpus or ():
        gpu_id = own.get(each.gpu_id.lower())
        if gpu_id is not None:
            found.gpus[gpu_id] = gpu_figures(gpu_id, asdict(each))
    return found
