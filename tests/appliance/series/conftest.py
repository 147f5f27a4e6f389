"""Hosts that report, and series to put their samples into."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from appliance.database import Database
from appliance.devices import DiskSample, FanSample, GpuSample, HostSample, NetworkSample
from appliance.series.limits import Retention
from appliance.series.schema import MIGRATIONS, OWNER
from appliance.series.service import Series

START = 1_795_219_200_000_000
"""A midnight, in microseconds since the epoch."""
SECOND = 1_000_000

Clock = Callable[[], int]
OpenSeries = Callable[..., AbstractAsyncContextManager[Series]]


class Box:
    """A host with two GPUs, a disk, an interface and a fan, whose readings wander."""

    def __init__(self, seed: int = 1, *, host_id: str = "box", gpus: int = 2) -> None:
        self.random, self.host_id, self.gpus = Random(seed), host_id, gpus

    def sample(self, at_unix_us: int, **changes: object) -> HostSample:
        """Read the host at a moment; totals rise with time, gauges are noise."""
        seconds = (at_unix_us - START) // SECOND
        noise = self.random.random
        values: dict[str, object] = {
            "cpu_percent": round(noise() * 100, 1),
            "cpu_load_1": round(noise() * 8, 2),
            "cpu_temperature_celsius": None if noise() < 0.1 else round(40 + noise() * 20, 1),
            "memory_total_bytes": 540_000_000_000,
            "memory_used_bytes": int(noise() * 540_000_000_000),
            "network_rx_bytes_total": 1_000_000 + seconds * 1_234_567,
            "network_tx_bytes_total": 9_000_000 + seconds * 7_654,
            "process_count": 300,
            "disks": (
                DiskSample(
                    device="nvme0n1",
                    read_bytes_total=seconds * 4096,
                    write_bytes_total=seconds * 8192,
                    read_count_total=seconds * 3,
                    write_count_total=seconds * 4,
                    busy_time_ms_total=seconds * 250,
                ),
            ),
            "networks": (NetworkSample(interface="eth0", rx_bytes_total=seconds * 100, tx_bytes_total=seconds * 200),),
            "fans": (FanSample(label="fan1", speed_rpm=float(1000 + int(noise() * 100))),),
            "gpus": tuple(self._gpu(number, at_unix_us, seconds) for number in range(self.gpus)),
        }
        return HostSample(host_id=self.host_id, taken_at_unix_us=at_unix_us, **{**values, **changes})  # type: ignore[arg-type]

    def _gpu(self, number: int, at_unix_us: int, seconds: int) -> GpuSample:
        noise = self.random.random
        return GpuSample(
            gpu_id=f"GPU-{number}",
            gpu_index=number,
            model="NVIDIA H200",
            taken_at_unix_us=at_unix_us,
            vram_total_bytes=150_754_820_096,
            vram_used_bytes=int(noise() * 150_754_820_096),
            utilization_percent=round(noise() * 100),
            temperature_celsius=round(30 + noise() * 50),
            power_watts=round(100 + noise() * 600, 1),
            power_limit_watts=700.0,
            energy_millijoules_total=seconds * 500_000,
            nvlink_rx_bytes_total=seconds * 10**9,
            ecc_corrected_total=0,
        )


@pytest.fixture
def box() -> Box:
    return Box()


@asynccontextmanager
async def series_at(path: Path, now: Clock, retention: Retention | None = None) -> AsyncIterator[Series]:
    """Open series in a file, without their service: upkeep happens when the test says `keep`."""
    async with Database.open(path, inline=True, migrations={OWNER: MIGRATIONS}, now=now) as database:
        series = Series(database, now, retention or Retention())
        await series.recover()
        yield series


class Hands:
    """A clock that goes where it is told."""

    def __init__(self, at_unix_us: int) -> None:
        self.at_unix_us = at_unix_us

    def __call__(self) -> int:
        return self.at_unix_us


@pytest.fixture
def clock() -> Hands:
    return Hands(START + 86_400 * SECOND)


@pytest.fixture
async def series(tmp_path: Path, clock: Hands) -> AsyncIterator[Series]:
    async with series_at(tmp_path / "appliance.db", clock) as opened:
        yield opened
