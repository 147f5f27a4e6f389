"""How fast series take samples and answer a day, beside clustered inserts with upserted rollups in the same run.

``python -m tests.bench.series`` stores a million samples of hosts with 8 GPUs, 4 disks, 2 interfaces and 6 fans and
reads 24 h back, 35 columns and all 215; ``--small`` does so with 6,400 samples, whose 27 minutes are then what is
read. The last line is JSON. Processor time is of all threads; what making the samples costs is not counted.
"""

import argparse
import json
import resource
import sqlite3
import statistics
import struct
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import trio

from appliance.database import Database
from appliance.devices import DiskSample, FanSample, GpuSample, HostSample, NetworkSample
from appliance.series.flatten import row_of
from appliance.series.limits import Retention
from appliance.series.rollup import TIER_US, vector
from appliance.series.schema import MIGRATIONS, OWNER
from appliance.series.service import Series

START = 1_795_219_200_000_000
STEP_US = 2_000_000
CHART = (
    "cpu_percent",
    "memory_used_bytes",
    "network_rx_bytes_per_s",
    "gpu.utilization_percent",
    "gpu.vram_used_bytes",
    "gpu.power_watts",
    "gpu.temperature_celsius",
)


class Box:
    """A busy host with 8 GPUs; readings are noise, so that nothing compresses better than real ones."""

    def __init__(self, number: int) -> None:
        self.host_id, self.random = f"host-{number}", Random(number)
        self.models = [(f"GPU-{number:08x}-{each}", each) for each in range(8)]

    def sample(self, at: int) -> HostSample:
        noise = self.random.random
        seconds = (at - START) // 1_000_000

        def total(rate: int) -> int:
            return int(seconds * rate + noise() * rate)

        return HostSample(
            host_id=self.host_id,
            taken_at_unix_us=at,
            cpu_percent=round(noise() * 100, 1),
            cpu_user_percent=round(noise() * 80, 1),
            cpu_system_percent=round(noise() * 20, 1),
            cpu_iowait_percent=round(noise() * 5, 1),
            cpu_load_1=round(noise() * 64, 2),
            cpu_load_5=round(noise() * 64, 2),
            cpu_load_15=round(noise() * 64, 2),
            cpu_frequency_mhz=round(2000 + noise() * 1500),
            cpu_temperature_celsius=round(40 + noise() * 40, 1),
            cpu_count_logical=192,
            cpu_count_physical=96,
            memory_total_bytes=1_622_000_000_000,
            memory_used_bytes=int(noise() * 1.6e12),
            memory_available_bytes=int(noise() * 1.6e12),
            memory_percent=round(noise() * 100, 1),
            swap_total_bytes=0,
            swap_used_bytes=0,
            swap_percent=0.0,
            network_rx_bytes_total=total(10**9),
            network_tx_bytes_total=total(10**8),
            process_count=int(2000 + noise() * 100),
            disks=tuple(
                DiskSample(
                    device=f"nvme{each}n1",
                    read_bytes_total=total(10**8),
                    write_bytes_total=total(10**7),
                    read_count_total=total(1000),
                    write_count_total=total(500),
                    busy_time_ms_total=total(300),
                )
                for each in range(4)
            ),
            networks=tuple(
                NetworkSample(interface=f"eth{each}", rx_bytes_total=total(10**8), tx_bytes_total=total(10**7))
                for each in range(2)
            ),
            fans=tuple(FanSample(label=f"fan{each}", speed_rpm=float(int(5000 + noise() * 999))) for each in range(6)),
            gpus=tuple(self._gpu(gpu_id, each, at, total) for gpu_id, each in self.models),
        )

    def _gpu(self, gpu_id: str, index: int, at: int, total: Any) -> GpuSample:
        noise = self.random.random
        return GpuSample(
            gpu_id=gpu_id,
            gpu_index=index,
            model="NVIDIA H200",
            taken_at_unix_us=at,
            vram_total_bytes=150_754_820_096,
            vram_used_bytes=int(noise() * 150e9),
            utilization_percent=int(noise() * 100),
            memory_bus_utilization_percent=int(noise() * 100),
            encoder_percent=0,
            decoder_percent=0,
            temperature_celsius=int(30 + noise() * 50),
            memory_temperature_celsius=int(30 + noise() * 60),
            power_watts=round(100 + noise() * 600, 1),
            power_limit_watts=700.0,
            energy_millijoules_total=total(500_000),
            clock_sm_mhz=int(1200 + noise() * 780),
            clock_memory_mhz=3201,
            nvlink_rx_bytes_total=total(10**10),
            nvlink_tx_bytes_total=total(10**10),
            ecc_corrected_total=0,
            ecc_uncorrected_total=0,
        )


def cpu_seconds() -> float:
    """Return the processor time of this process, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def ours(path: Path, hosts: int, each: int) -> dict[str, float]:
    """Store ``each`` samples of ``hosts`` hosts, all hosts reporting at once, and read a day of the first."""
    end = START + each * STEP_US
    boxes = [Box(number) for number in range(hosts)]
    async with Database.open(path, migrations={OWNER: MIGRATIONS}, now=lambda: end) as database:
        series = Series(database, lambda: end, Retention(raw_hours=100_000))
        spent, making, begun = 0.0, 0.0, time.perf_counter()
        cpu = cpu_seconds()
        for number in range(each):
            before = time.perf_counter(), cpu_seconds()
            samples = [box.sample(START + number * STEP_US) for box in boxes]
            spent += time.perf_counter() - before[0]
            making += cpu_seconds() - before[1]
            async with trio.open_nursery() as nursery:
                for sample in samples:
                    nursery.start_soon(series.append, sample)
            if number % 30 == 29:  # as the service does, once a minute
                await series.keep()
        wall = time.perf_counter() - begun - spent
        cpu = cpu_seconds() - cpu - making
        await series.keep()
        count = hosts * each
        size = series.usage().used_bytes
        return {
            "samples": count,
            "samples_per_s": count / wall,
            "cpu_us_per_sample": cpu / count * 1e6,
            "bytes_per_sample": size / count,
            **await timed(series, "chart", CHART, end),
            **await timed(series, "everything", (), end),
        }


async def timed(series: Series, name: str, metrics: Sequence[str], end: int) -> dict[str, float]:
    """Return the median milliseconds of reading the last 24 h of one host, and what was read."""
    took, points, columns = [], 0, 0
    for _ in range(7):
        begun = time.perf_counter()
        window = await series.window(
            "host-0", metrics=metrics, from_unix_us=max(end - 86_400_000_000, 0), to_unix_us=end
        )
        took.append((time.perf_counter() - begun) * 1000)
        points, columns = len(window.times_unix_us), len(window.columns)
        assert points > 2
        assert columns
    return {
        f"read_{name}_ms": statistics.median(took),
        f"read_{name}_columns": columns,
        f"read_{name}_points": points,
    }


async def naive(path: Path, hosts: int, each: int) -> dict[str, float]:
    """Do the same by inserting each sample into its place and upserting a bucket of every tier."""
    boxes = [Box(number) for number in range(hosts)]
    async with Database.open(path) as database:

        def schema(conn: sqlite3.Connection) -> None:
            conn.execute("CREATE TABLE raw (series, at, data BLOB, PRIMARY KEY (series, at)) WITHOUT ROWID")
            conn.execute("CREATE TABLE roll (tier, series, at, n, data BLOB, PRIMARY KEY (tier, series, at))")

        await database.write(schema)
        known: dict[int, Any] = {}
        spent, making, begun, cpu = 0.0, 0.0, time.perf_counter(), cpu_seconds()
        for number in range(each):
            before = time.perf_counter(), cpu_seconds()
            samples = [box.sample(START + number * STEP_US) for box in boxes]
            spent += time.perf_counter() - before[0]
            making += cpu_seconds() - before[1]
            async with trio.open_nursery() as nursery:
                for place, sample in enumerate(samples):
                    row = row_of(sample)
                    values = [0.0 if value is None else float(value) for value in vector(known.get(place), row)]
                    known[place] = row
                    nursery.start_soon(database.write, upsert(place, row.at_unix_us, values))
        wall = time.perf_counter() - begun - spent
        count = hosts * each
        return {
            "samples": count,
            "samples_per_s": count / wall,
            "cpu_us_per_sample": (cpu_seconds() - cpu - making) / count * 1e6,
        }


def upsert(series: int, at: int, values: list[float]) -> Any:
    """Return a write of one sample and its four buckets."""
    one = struct.Struct(f"<{len(values)}d")
    three = struct.Struct(f"<{3 * len(values)}d")

    def write(conn: sqlite3.Connection) -> None:
        conn.execute("INSERT INTO raw VALUES (?, ?, ?)", (series, at, one.pack(*values)))
        width = len(values)
        for tier, span in enumerate(TIER_US):
            key = tier, series, at // span
            found = conn.execute("SELECT n, data FROM roll WHERE tier = ? AND series = ? AND at = ?", key).fetchone()
            if found is None:
                conn.execute("INSERT INTO roll VALUES (?, ?, ?, 1, ?)", (*key, three.pack(*values, *values, *values)))
                continue
            n, data = found[0], three.unpack(found[1])
            low = map(min, data[:width], values)
            high = map(max, data[width : 2 * width], values)
            mean = [(old * n + new) / (n + 1) for old, new in zip(data[2 * width :], values, strict=True)]
            conn.execute(
                "UPDATE roll SET n = n + 1, data = ? WHERE tier = ? AND series = ? AND at = ?",
                (three.pack(*low, *high, *mean), *key),
            )

    return write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="6,400 samples instead of a million")
    parser.add_argument("--hosts", type=int, default=16, help="how many report at once")
    parser.add_argument("--each", type=int, default=62_500, help="samples of each host, 2 s apart; a day is 43,200")
    options = parser.parse_args()
    hosts, each = (8, 800) if options.small else (options.hosts, options.each)
    with tempfile.TemporaryDirectory() as folder:
        mine = trio.run(ours, Path(folder) / "ours.db", hosts, each)
        other = trio.run(naive, Path(folder) / "naive.db", 8, 200 if options.small else 2_000)
    mine["samples_per_s_of_naive"] = mine["samples_per_s"] / other["samples_per_s"]
    mine["cpu_of_naive"] = mine["cpu_us_per_sample"] / other["cpu_us_per_sample"]
    for title, found in (("series", mine), ("clustered inserts, upserted rollups", other)):
        print(title)
        for name, value in found.items():
            print(f"  {name:22} {value:12,.2f}")
    print(json.dumps({"bench": "series", "series": mine, "naive": other}))


if __name__ == "__main__":
    main()
