"""Shapes of documented JSON, as strictly as the Swift clients decode it: every key is there and has its type."""

from collections.abc import Callable
from typing import Any

from attrs import frozen


@frozen
class Optional:
    """The key is there, and its value may be null."""

    shape: Any


@frozen
class Only:
    """A value that a check accepts."""

    words: str
    accepts: Callable[[Any], bool]


def optional(shape: Any) -> Optional:
    """Return a shape that null has too."""
    return Optional(shape)


MOMENT = Only(
    "ISO 8601 in UTC",
    lambda value: isinstance(value, str) and len(value) in (25, 32) and value[10] == "T" and value.endswith("+00:00"),
)
LEVEL = Only("a level", lambda value: value in {"info", "warning", "critical"})
BOTTLENECK = Only(
    "a verdict",
    lambda value: (
        value
        in {
            "memory-pressure",
            "io-bound",
            "cpu-bound",
            "gpu-bound",
            "idle",
            "balanced",
            "underutilized",
            "mixed",
            "mixed-cpu-gpu",
            "mixed-io-gpu",
        }
    ),
)

SERVER = {
    "id": int,
    "slug": str,
    "name": str,
    "hostname": str,
    "description": str,
    "is_active": bool,
    "last_seen_at": optional(MOMENT),
    "last_agent_version": str,
    "snapshot_count": optional(int),
    "latest_snapshot_at": optional(MOMENT),
    "agent_user": str,
    "agent_info": dict,
}
SNAPSHOT = {
    "id": int,
    "server": SERVER,
    "collected_at": MOMENT,
    "age_seconds": float,
    "interval_seconds": optional(float),
    "cpu": {
        "usage_percent": float,
        "user_percent": optional(float),
        "system_percent": optional(float),
        "iowait_percent": optional(float),
        "load_1": optional(float),
        "load_5": optional(float),
        "load_15": optional(float),
        "frequency_mhz": optional(float),
        "temperature_c": optional(float),
        "count_logical": int,
        "count_physical": optional(int),
    },
    "memory": {
        "percent": float,
        "total_bytes": int,
        "used_bytes": int,
        "available_bytes": int,
        "swap_percent": float,
        "swap_total_bytes": int,
        "swap_used_bytes": int,
    },
    "disk": {
        "read_bps": float,
        "write_bps": float,
        "read_iops": float,
        "write_iops": float,
        "util_percent": float,
        "avg_util_percent": float,
        "devices": [
            {
                "device": str,
                "read_bps": float,
                "write_bps": float,
                "read_iops": float,
                "write_iops": float,
                "util_percent": float,
                "read_bytes_total": int,
                "write_bytes_total": int,
            }
        ],
    },
    "network": {"rx_bps": float, "tx_bps": float},
    "process_count": int,
    "fans": {
        "count": int,
        "max_rpm": optional(float),
        "avg_rpm": optional(float),
        "devices": [{"label": str, "speed_rpm": optional(float)}],
    },
    "gpu": {
        "present": bool,
        "count": int,
        "top_util_percent": optional(float),
        "avg_util_percent": optional(float),
        "top_memory_percent": optional(float),
        "avg_memory_percent": optional(float),
        "devices": [
            {
                "gpu_index": int,
                "name": str,
                "uuid": str,
                "utilization_gpu_percent": optional(float),
                "utilization_memory_percent": optional(float),
                "memory_total_bytes": int,
                "memory_used_bytes": int,
                "memory_percent": optional(float),
                "temperature_c": optional(float),
                "fan_speed_percent": optional(float),
                "power_w": optional(float),
                "power_limit_w": optional(float),
            }
        ],
    },
    "bottleneck": {"label": BOTTLENECK, "title": str, "confidence": float, "reason": str},
}
POINT = {
    "collected_at": MOMENT,
    "cpu_usage_percent": float,
    "cpu_iowait_percent": optional(float),
    "memory_percent": float,
    "swap_percent": float,
    "disk_read_bps": float,
    "disk_write_bps": float,
    "disk_util_percent": float,
    "disk_avg_util_percent": float,
    "network_rx_bps": float,
    "network_tx_bps": float,
    "gpu_top_util_percent": optional(float),
    "gpu_avg_util_percent": optional(float),
    "gpu_top_memory_percent": optional(float),
    "fan_count": int,
    "fan_max_rpm": optional(float),
    "fan_avg_rpm": optional(float),
    "bottleneck": BOTTLENECK,
    "gpus": [
        {
            "gpu_index": int,
            "utilization_gpu_percent": optional(float),
            "memory_percent": optional(float),
            "temperature_c": optional(float),
            "fan_speed_percent": optional(float),
        }
    ],
    "disks": [{"device": str, "read_bps": float, "write_bps": float, "util_percent": float}],
    "fans": [{"label": str, "speed_rpm": optional(float)}],
}
SERVERS = {"ok": bool, "servers": [SERVER]}
LATEST = {
    "ok": bool,
    "backend_version": str,
    "min_agent_version": str,
    "servers": [SERVER],
    "selected_server": SERVER,
    "snapshot": SNAPSHOT,
}
HISTORY = {
    "ok": bool,
    "backend_version": str,
    "min_agent_version": str,
    "minutes": int,
    "point_count": int,
    "stride": int,
    "servers": [SERVER],
    "selected_server": SERVER,
    "points": [POINT],
}
INGESTED = {
    "ok": bool,
    "server": SERVER,
    "snapshot": {
        "id": int,
        "collected_at": str,
        "bottleneck": BOTTLENECK,
        "cpu_usage_percent": float,
        "top_gpu_util_percent": optional(float),
        "disk_util_percent": float,
    },
}
NOTIFICATION = {
    "id": int,
    "level": LEVEL,
    "title": str,
    "message": str,
    "code": str,
    "is_read": bool,
    "created_at": MOMENT,
    "server": optional(SERVER),
}
NOTIFICATIONS = {"ok": bool, "notifications": [NOTIFICATION]}


def differences(shape: Any, value: Any, path: str = "$") -> list[str]:
    """Return what a value lacks of a shape; further keys are welcome, as JSON clients take them."""
    if isinstance(shape, Optional):
        return [] if value is None else differences(shape.shape, value, path)
    if isinstance(shape, Only):
        return [] if shape.accepts(value) else [f"{path}: {value!r} is not {shape.words}"]
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [f"{path}: {value!r} is no object"]
        missing = [f"{path}.{key} is missing" for key in shape if key not in value]
        return missing + [
            found for key in shape if key in value for found in differences(shape[key], value[key], f"{path}.{key}")
        ]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{path}: {value!r} is no array"]
        return [found for at, each in enumerate(value) for found in differences(shape[0], each, f"{path}[{at}]")]
    kinds = (int, float) if shape is float else (shape,)
    is_of_kind = isinstance(value, kinds) and (shape is bool or not isinstance(value, bool))
    return [] if is_of_kind else [f"{path}: {value!r} is no {shape.__name__}"]
