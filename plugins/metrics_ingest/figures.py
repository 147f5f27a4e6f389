"""What one sample says as a whole: sums, averages and tops over its devices (the formulas of the documented API).

A rate that nobody knows (first sample, after a gap, a counter that went back) counts as 0.0 here, as the document's
server has it; `None` stays where the document allows null.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from attrs import frozen

from appliance.plugin import Rates, SampleLike

from .bottleneck import Verdict, verdict


@frozen(kw_only=True)
class Figures:
    """The figures of one sample that its verdict and the notices are made of."""

    disk_read_bytes_per_s: float
    disk_write_bytes_per_s: float
    disk_util_percent: float
    """Of the busiest disk; 0.0 without disks."""
    gpu_top_util_percent: float | None
    """Of the busiest GPU; ``None`` where none reports it."""
    verdict: Verdict


class Summed(SampleLike, Protocol):
    """What of a sample the figures are made of; `HostSample` has it."""

    @property
    def cpu_percent(self) -> float | None:
        """Busy share of the CPU."""
        ...

    @property
    def cpu_iowait_percent(self) -> float | None:
        """Share of time that the CPU waited for disks."""
        ...

    @property
    def memory_percent(self) -> float | None:
        """Share of memory in use."""
        ...

    @property
    def swap_percent(self) -> float | None:
        """Share of swap in use."""
        ...


def figures(sample: Summed, rates: Rates) -> Figures:
    """Return the figures of a sample; a pure function, quick enough for every ingest."""
    read = total(rates.column("disk.read_bytes_per_s"))
    write = total(rates.column("disk.write_bytes_per_s"))
    busiest = max(filter(None, rates.column("disk.busy_percent")), default=0.0)
    gpu = top([each.utilization_percent for each in sample.gpus])
    return Figures(
        disk_read_bytes_per_s=read,
        disk_write_bytes_per_s=write,
        disk_util_percent=busiest,
        gpu_top_util_percent=gpu,
        verdict=verdict(
            cpu=sample.cpu_percent,
            iowait=sample.cpu_iowait_percent,
            memory=sample.memory_percent,
            swap=sample.swap_percent,
            disk=busiest,
            gpu=gpu,
            disk_bytes_per_s=read + write,
        ),
    )


def total(values: Iterable[float | None]) -> float:
    """Return the sum of what is known."""
    return float(sum(filter(None, values)))


def top(values: Iterable[float | None]) -> float | None:
    """Return the greatest of what is known."""
    return max((value for value in values if value is not None), default=None)


def average(values: Sequence[float | None]) -> float | None:
    """Return the mean of what is known."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
