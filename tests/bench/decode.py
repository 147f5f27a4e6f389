"""What it costs to read a post of an agent: microseconds from its bytes to a sample that can be stored.

``python -m tests.bench.decode`` reads the 5.9 kB that the agent of a host with 8 GPUs, 4 disks and 6 fans posts every
two seconds, beside what Python's own JSON reader alone takes for it; ``--small`` does so 200 times instead of 20,000.
The last line is JSON. Each figure is the best of seven runs, since all that disturbs a run makes it slower.
"""

import argparse
import json
import timeit
from collections.abc import Callable
from typing import Any

from appliance.series.flatten import read as rows_of
from plugins.metrics_ingest.bottleneck import verdict
from plugins.metrics_ingest.lenient import read_leniently
from plugins.metrics_ingest.sample import batch_of, read_batch
from plugins.metrics_ingest.sent import ONE

GIB = 2**30


def agents_body(gpus: int = 8, disks: int = 4, fans: int = 6) -> dict[str, Any]:
    """Return what the agent of a busy host posts."""
    sample: dict[str, Any] = {
        "collected_at": "2026-02-26T02:37:49.120000+00:00",
        "cpu_usage_percent": 32.1,
        "cpu_user_percent": 21.0,
        "cpu_system_percent": 8.4,
        "cpu_iowait_percent": 2.7,
        "cpu_load_1": 6.2,
        "cpu_load_5": 5.8,
        "cpu_load_15": 5.1,
        "cpu_frequency_mhz": 2880.0,
        "cpu_temperature_c": 61.0,
        "cpu_count_logical": 192,
        "cpu_count_physical": 96,
        "memory_total_bytes": 1536 * GIB,
        "memory_used_bytes": 850 * GIB + 1,
        "memory_available_bytes": 650 * GIB + 5,
        "memory_percent": 57.7,
        "swap_total_bytes": 0,
        "swap_used_bytes": 0,
        "swap_percent": 0.0,
        "network_rx_bytes_total": 123_456_789_012,
        "network_tx_bytes_total": 23_456_789_012,
        "process_count": 2412,
        "disks": [
            {
                "device": f"nvme{each}n1",
                "read_bytes_total": 111_111_111_111 + each,
                "write_bytes_total": 22_222_222_222,
                "read_count_total": 1_234_567,
                "write_count_total": 456_789,
                "busy_time_ms_total": 9_876_543,
            }
            for each in range(disks)
        ],
        "gpus": [
            {
                "gpu_index": each,
                "name": "NVIDIA A100-SXM4-80GB",
                "uuid": f"GPU-8f2c1d3{each}-6a1c-11ee-be56-0242ac120002",
                "utilization_gpu_percent": 98.0,
                "utilization_memory_percent": 71.0,
                "memory_total_bytes": 80 * GIB,
                "memory_used_bytes": 64 * GIB,
                "memory_percent": 80.0,
                "temperature_c": 64.0,
                "fan_speed_percent": None,
                "power_w": 311.5,
                "power_limit_w": 400.0,
            }
            for each in range(gpus)
        ],
        "fans": [{"label": f"fan{each}", "speed_rpm": 5400 + each} for each in range(fans)],
    }
    return {"sample": sample, "agent": _agent()}


def _agent() -> dict[str, Any]:
    platform = "Linux-6.1.0-18-amd64-x86_64-with-glibc2.36"
    partitions = [
        {
            "device": f"/dev/nvme{each}n1p1",
            "mountpoint": f"/data{each}",
            "fstype": "ext4",
            "total_bytes": 2048 * GIB,
            "used_bytes": 1024 * GIB,
            "free_bytes": 1024 * GIB,
            "percent": 50.0,
        }
        for each in range(4)
    ]
    system = {
        "os_name": "Linux",
        "os_release": "6.1.0-18-amd64",
        "os_version": "#1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1",
        "machine": "x86_64",
        "processor": "",
        "cpu_model": "AMD EPYC 9654 96-Core Processor",
        "hostname": "train01",
        "cpu_count_logical": 192,
        "cpu_count_physical": 96,
        "memory_total_bytes": 1536 * GIB,
        "swap_total_bytes": 0,
        "boot_time": "2026-02-20T00:00:00+00:00",
        "uptime_seconds": 527_869.5,
        "python_version": "3.13.1",
        "platform_full": platform,
        "partitions": partitions,
        "interfaces": [{"name": "eth0", "ipv4": "10.0.0.4", "ipv6": "fe80::1"}],
    }
    return {
        "version": "0.2.0",
        "hostname": "train01",
        "user": "root",
        "platform": platform,
        "python": "3.13.1",
        "pid": 4321,
        "labels": {"rack": "r1", "role": "trainer"},
        "disk_filters": {"include": [], "exclude": ["loop", "ram"]},
        "system_info": system,
    }


def best_us(work: Callable[[], object], number: int) -> float:
    """Return the microseconds of one call, in the best of seven runs."""
    return round(min(timeit.repeat(work, number=number, repeat=7)) / number * 1e6, 2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="200 rounds instead of 20,000")
    rounds = 200 if parser.parse_args().small else 20_000
    data = json.dumps(agents_body()).encode()
    bare = json.dumps(agents_body(gpus=0, disks=1, fans=0)).encode()

    def whole(body: bytes) -> Any:
        return read_batch(body, series_id="box", now_unix_us=1)

    batch = whole(data)
    sent = ONE.decode(data)
    figures: dict[str, float] = {
        "body_bytes": len(data),
        "read_us": best_us(lambda: whole(data), rounds),
        "read_without_gpus_us": best_us(lambda: whole(bare), rounds),
        "parse_us": best_us(lambda: ONE.decode(data), rounds),
        "build_us": best_us(lambda: batch_of(sent, series_id="box", now_unix_us=1), rounds),
        "agent_when_changed_us": best_us(batch.agent, rounds // 10),
        "leniently_us": best_us(
            lambda: batch_of(read_leniently(data), series_id="box", now_unix_us=1), max(1, rounds // 10)
        ),
        "json_loads_us": best_us(lambda: json.loads(data), rounds // 10),
        "row_us": best_us(lambda: rows_of(batch.incoming[0].sent), rounds),
        "verdict_us": best_us(
            lambda: verdict(cpu=42.0, iowait=1.0, memory=71.0, swap=0.0, disk=64.5, gpu=98.0, disk_bytes_per_s=1e8),
            rounds,
        ),
    }
    for name, value in figures.items():
        print(f"{name:24} {value:>10}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
