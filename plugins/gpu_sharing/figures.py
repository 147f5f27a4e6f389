"""The figures that agents report, of line protocol or of the documented metrics endpoint: what of them can be true.

A figure out of its range is one that was not reported. Names are matched to the agent's own GPUs and workers, and
what is told of another agent is passed over: nobody reports for somebody else.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from attrs import define, field, frozen

from .lineprotocol import Point, Value

MIB: Final = 2**20
MEMORY_MB_MAX: Final = 2**40
CELSIUS_MAX: Final = 1000
POWER_WATTS_MAX: Final = 100_000
KEPT: Final = ("gpu_metrics", "system_metrics")
"""What lines begin with whose figures are kept; the status itself tells more of workers."""
RESTARTS_MAX: Final = 2**31
CONNECTIONS_MAX: Final = 1_000_000


@define(kw_only=True)  # not frozen: one is made for every GPU of every report, and that takes three times as long
class GpuFigures:
    """One reading of one GPU; ``None`` where nothing, or nothing possible, was reported."""

    gpu_id: str
    """As the agent registered it."""
    utilization_percent: float | None = None
    vram_used_bytes: int | None = None
    vram_total_bytes: int | None = None
    temperature_celsius: float | None = None
    power_watts: float | None = None
    pcie_rx_bytes_per_s: float | None = None
    pcie_tx_bytes_per_s: float | None = None


@define(kw_only=True)
class HostFigures:
    """One reading of an agent's host."""

    cpu_percent: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None


@frozen(kw_only=True)
class WorkerFigures:
    """What is counted of one worker."""

    worker_id: str
    connections: int | None = None
    restarts: int | None = None


@define(kw_only=True)
class Figures:
    """All figures of one report."""

    taken_at_unix_ms: int | None = None
    """By the agent's clock; the latest of all lines."""
    host: HostFigures | None = None
    gpus: dict[str, GpuFigures] = field(factory=dict)
    workers: dict[str, WorkerFigures] = field(factory=dict)


def of_points(points: Iterable[Point], *, agent_id: str, gpu_ids: Iterable[str], worker_ids: Iterable[str]) -> Figures:
    """Return what an agent's lines say; of several lines of one GPU, worker or host the last counts.

    The accelerator library and the driver do not always agree on the case of a GPU's id, so that is not looked at.

    :param gpu_ids: the agent's.
    :param worker_ids: the agent's.
    """
    own = {gpu_id.lower(): gpu_id for gpu_id in gpu_ids}
    workers = frozenset(worker_ids)
    found = Figures()
    for point in points:
        if point.tags.get("agent_id", agent_id) != agent_id:
            continue
        if point.measurement == "gpu_metrics":
            gpu_id = own.get(point.tags.get("gpu_id", "").lower())
            if gpu_id is not None:
                found.gpus[gpu_id] = gpu_figures(gpu_id, point.fields)
        elif point.measurement == "system_metrics":
            found.host = host_figures(point.fields)
        elif point.measurement == "worker_metrics" and point.tags.get("worker_id") in workers:
            worker_id = point.tags["worker_id"]
            found.workers[worker_id] = WorkerFigures(
                worker_id=worker_id,
                connections=_integer(point.fields, "connections", CONNECTIONS_MAX),
                restarts=_integer(point.fields, "restarts", RESTARTS_MAX),
            )
        if point.time is not None:
            found.taken_at_unix_ms = max(point.time, found.taken_at_unix_ms or point.time)
    return found


def gpu_figures(gpu_id: str, said: Mapping[str, Value]) -> GpuFigures:
    """Return a GPU's figures from the wire's names and units (MB of 2^20 bytes, KB of 2^10 bytes a second)."""
    return GpuFigures(
        gpu_id=gpu_id,
        utilization_percent=_number(said, "utilization", 0, 100),
        vram_used_bytes=_megabytes(said, "vram_used_mb"),
        vram_total_bytes=_megabytes(said, "vram_total_mb") or None,  # 0 is what agents say of a GPU unknown to them
        temperature_celsius=_number(said, "temperature", -100, CELSIUS_MAX),
        power_watts=_number(said, "power_usage_w", 0, POWER_WATTS_MAX),
        pcie_rx_bytes_per_s=_kilobytes(said, "pcie_rx_kb"),
        pcie_tx_bytes_per_s=_kilobytes(said, "pcie_tx_kb"),
    )


def host_figures(said: Mapping[str, Value]) -> HostFigures:
    """Return a host's figures from the wire's names and units."""
    return HostFigures(
        cpu_percent=_number(said, "cpu_usage", 0, 100),
        memory_used_bytes=_megabytes(said, "memory_used_mb"),
        memory_total_bytes=_megabytes(said, "memory_total_mb"),
    )


def _number(said: Mapping[str, Value], name: str, low: float, high: float) -> float | None:
    value = said.get(name)
    # A truth is an integer to Python, and no figure.
    if isinstance(value, bool | str | None) or not low <= value <= high:
        return None
    return float(value)


def _integer(said: Mapping[str, Value], name: str, high: int) -> int | None:
    value = _number(said, name, 0, high)
    return None if value is None or not value.is_integer() else int(value)


def _megabytes(said: Mapping[str, Value], name: str) -> int | None:
    value = _number(said, name, 0, MEMORY_MB_MAX)
    return None if value is None else int(value * MIB)


def _kilobytes(said: Mapping[str, Value], name: str) -> float | None:
    value = _number(said, name, 0, MEMORY_MB_MAX)
    return None if value is None else value * 1024
