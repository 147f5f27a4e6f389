"""An agent as the metrics API knows it: samples of an invented host that change with time, posted with a token."""

import gzip
import json
import math
import urllib.request
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

GIB = 2**30
BATCH = 500
HOSTILE = "<script>document.title='broken-into'</script>"


def sample(at_unix_s: float, *, gpus: int = 4) -> dict[str, Any]:
    """Return what an agent of version 0.2.0 sends for one moment."""
    wave = (math.sin(at_unix_s / 900) + 1) / 2
    return {
        "collected_at": datetime.fromtimestamp(at_unix_s, UTC).isoformat(),
        "cpu_usage_percent": round(20 + 60 * wave, 1),
        "cpu_user_percent": round(15 + 50 * wave, 1),
        "cpu_system_percent": 4.0,
        "cpu_iowait_percent": round(6 * wave, 1),
        "cpu_load_1": 12.5,
        "cpu_load_5": 11.0,
        "cpu_load_15": 9.75,
        "cpu_count_logical": 64,
        "cpu_count_physical": 32,
        "cpu_frequency_mhz": 2890.0,
        "cpu_temperature_c": 58.0,
        "memory_total_bytes": 256 * GIB,
        "memory_used_bytes": int(GIB * (80 + 90 * wave)),
        "memory_available_bytes": 100 * GIB,
        "memory_percent": round(30 + 35 * wave, 1),
        "swap_total_bytes": 8 * GIB,
        "swap_used_bytes": GIB // 2,
        "swap_percent": 6.2,
        "network_rx_bytes_total": int(at_unix_s % 10_000_000 * 3_000_000),
        "network_tx_bytes_total": int(at_unix_s % 10_000_000 * 800_000),
        "process_count": 431,
        "disks": [
            {
                "device": name,
                "read_bytes_total": int(at_unix_s % 10_000_000 * speed),
                "write_bytes_total": int(at_unix_s % 10_000_000 * speed / 3),
                "read_count_total": int(at_unix_s % 10_000_000 * 50),
                "write_count_total": int(at_unix_s % 10_000_000 * 20),
                "busy_time_ms_total": int(at_unix_s % 10_000_000 * 210),
            }
            for name, speed in (("nvme0n1", 90_000_000), ("nvme1n1", 20_000_000))
        ],
        "fans": [{"label": "rear 1", "speed_rpm": 4200.0}, {"label": f"front {HOSTILE}", "speed_rpm": 3900.0}],
        "gpus": [_gpu(index, at_unix_s) for index in range(gpus)],
    }


def _gpu(index: int, at_unix_s: float) -> dict[str, Any]:
    load = (math.sin(at_unix_s / 600 + index * 1.3) + 1) / 2
    return {
        "gpu_index": index,
        "name": "Invented H200" if index else f"Invented {HOSTILE}",
        "uuid": f"GPU-invented-{index}",
        "utilization_gpu_percent": round(100 * load),
        "utilization_memory_percent": round(60 * load),
        "memory_total_bytes": 141 * GIB,
        "memory_used_bytes": int(141 * GIB * (0.2 + 0.6 * load)),
        "memory_percent": round(20 + 60 * load, 1),
        "temperature_c": round(40 + 35 * load),
        "power_w": round(150 + 500 * load, 1),
        "power_limit_w": 700.0,
    }


ABOUT = {
    "version": "0.2.0",
    "hostname": "box-1.example",
    "user": "root",
    "platform": "Linux",
    "python": "3.12.3",
    "pid": 4711,
    "labels": {"rack": "b7"},
    "system_info": {
        "os_name": "Linux",
        "os_release": "6.8.0-47-generic",
        "platform_full": "Linux-6.8.0-47-generic-x86_64-with-glibc2.39",
        "machine": "x86_64",
        "cpu_model": "AMD EPYC 9354 32-Core Processor",
        "memory_total_bytes": 256 * GIB,
        "boot_time": 1_790_000_000.0,
        "python_version": "3.12.3",
        "partitions": [
            {
                "device": "/dev/nvme0n1p2",
                "mountpoint": "/",
                "fstype": "ext4",
                "total_bytes": 900 * GIB,
                "free_bytes": 300 * GIB,
            }
        ],
        "interfaces": [{"name": "eno1", "ipv4": "192.0.2.7", "ipv6": "2001:db8::7"}],
    },
}


def post(base: str, slug: str, token: str, samples: Iterable[dict[str, Any]]) -> None:
    """Post samples in arrays, oldest first; raises for a refusal."""
    entries = [{"sample": each, "agent": ABOUT} for each in samples]
    for at in range(0, len(entries), BATCH):
        request = urllib.request.Request(
            f"{base}/api/ingest/servers/{slug}/metrics/",
            data=gzip.compress(json.dumps(entries[at : at + BATCH]).encode(), 1),
            headers={"X-Monitoring-Token": token, "Content-Type": "application/json", "Content-Encoding": "gzip"},
        )
        with urllib.request.urlopen(request, timeout=30):
            pass
