"""Writes behind what keepalives said: that machines live, for the next start, and their figures for the charts."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

import structlog
import trio
from attrs import define

from appliance.plugin import ApplianceError, Core, HostSample, NotFound

from . import quantities
from .machines import Machines
from .models import Machine, Metrics

log = structlog.get_logger(__name__)

WRITE_SECONDS: Final = 5.0
SAMPLE_SECONDS: Final = 20.0
"""Agents beat every 60 s; figures that come more often than this are not all kept."""
AT_ONCE: Final = 50
"""Machines whose figures are read and stored together: some milliseconds in which others wait."""
GRACE_SECONDS: Final = 2.0
VALUES: Final = (
    "free_gpu_count", "worker_count", "container_count", "total_disk_space_bytes", "total_disk_free_bytes",
    "cache_usage_pct", "cache_capacity", "cache_memory_usage", "cache_cpu_usage",
)  # fmt: skip
"""Figures that no host sample has; kept by these names as values of series ``machine:<host id>``."""


def sample(machine: Machine, metrics: Metrics, at_unix_us: int) -> HostSample:
    """Return what a machine's figures are as a sample of its host."""
    memory = metrics.total_memory_available
    return HostSample(
        host_id=machine.host_id,
        taken_at_unix_us=at_unix_us,
        cpu_percent=metrics.cpu_utilization_pct,
        memory_percent=metrics.memory_utilization_pct,
        memory_total_bytes=quantities.memory_bytes(memory) if memory else None,
    )


def values(
    machine: Machine, metrics: Metrics, before: Metrics | None, at_unix_us: int
) -> Iterator[tuple[str, str, int, float]]:
    """Yield a machine's other figures; one that has been 0 in the last two beats is left out.

    Agents report nine of them, and most are 0 for ever.
    """
    for name in VALUES:
        value = getattr(metrics, name)
        if value or (before is not None and getattr(before, name)):
            yield f"machine:{machine.host_id}", name, at_unix_us, float(value)


@define(eq=False)
class Telemetry:
    """Writes every five seconds, and the rest when it is stopped."""

    core: Core
    machines: Machines
    name: str = "machine-telemetry"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled; what the last run left is moved to this run's clock before anybody calls."""
        await self.machines.write_behind()
        task_status.started()
        try:
            while True:
                await trio.sleep(WRITE_SECONDS)
                await self.write()
        finally:
            with trio.move_on_after(GRACE_SECONDS, shield=True):
                await self.machines.write_behind()

    async def write(self) -> None:
        """Write what there is."""
        due = await self._due()
        try:
            await self.machines.write_behind()
            for start in range(0, len(due), AT_ONCE):
                await self._keep(due[start : start + AT_ONCE])
        except ApplianceError as error:  # a full disk: that machines live is written at the next turn
            log.warning("machine_telemetry.not_stored", reason=error.message)

    async def _due(self) -> list[Machine]:
        """Return the machines that have new figures and gave none to the series for a while."""
        now, due = self.machines.clock(), []
        for number, key in enumerate(list(self.machines.unwritten)):
            if number % AT_ONCE == AT_ONCE - 1:
                await trio.lowlevel.checkpoint()
            machine = self.machines.get(key)
            if machine is None or machine.is_local or machine.last_keepalive_unix_us is None:
                continue
            with suppress(NotFound):
                self.core.inventory.saw(machine.host_id, at_unix_us=machine.last_keepalive_unix_us)
            sampled = machine.sampled_us
            is_new = sampled is None or (now - sampled >= SAMPLE_SECONDS * 1_000_000 and machine.heard_us > sampled)
            if machine.metrics is not None and is_new:
                machine.sampled_us = now
                due.append(machine)
        return due

    async def _keep(self, machines: Sequence[Machine]) -> None:
        samples: list[HostSample] = []
        others: list[tuple[str, str, int, float]] = []
        for machine in machines:
            metrics, at = machine.metrics, machine.last_keepalive_unix_us
            if metrics is not None and at is not None:
                samples.append(sample(machine, metrics, at))
                others += values(machine, metrics, machine.sampled, at)
                machine.sampled = metrics
        if samples:
            await self.core.series.append_all(samples)
        if others:
            await self.core.series.append_values(others)
