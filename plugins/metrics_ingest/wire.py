"""Documented JSON from what we think in, and this API's error shape. Texts and keys are the documented API's."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qsl, quote

import msgspec

from appliance.plugin import Answer, ApplianceError, Head, HostSample, NotAuthenticated, Reading, TooManyRequests

from .bottleneck import Verdict
from .figures import Figures, average, figures, top, total
from .models import Server, is_whole

BACKEND_VERSION: Final = "0.2.0"
"""The server's version whose behaviour this is; clients show it and compare."""
MIN_AGENT_VERSION: Final = "0.1.0"
PUBLIC_URL: Final = "metrics_ingest.public_url"
"""Where `Head.connection` keeps the base of absolute URLs for the error renderer."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_INDEX: Final = "index:"
_encode: Final = msgspec.json.encode


def iso(unix_us: int | None) -> str | None:
    """Return a moment as the document writes it: ISO 8601 in UTC, microseconds unless they are 0."""
    if unix_us is None:
        return None
    seconds, microseconds = divmod(unix_us, 1_000_000)
    return f"{_second(seconds)}.{microseconds:06d}+00:00" if microseconds else f"{_second(seconds)}+00:00"


@lru_cache(maxsize=256)
def _second(unix_s: int) -> str:
    return (_EPOCH + timedelta(seconds=unix_s)).isoformat()[:19]


# ---------------------------------------------------------------- servers


def server_row(server: Server, *, counted: bool = True) -> msgspec.Raw:
    """Return a server as JSON.

    :param counted: with ``snapshot_count`` and ``latest_snapshot_at``, which only lists have; null elsewhere.
    """
    if server.row_revision != server.revision:
        server.row_head, server.row_tail = _row(server)
        server.row_revision = server.revision
    changing = {
        "last_seen_at": iso(server.last_seen_unix_us),
        "snapshot_count": server.snapshot_count if counted else None,
        "latest_snapshot_at": iso(server.latest_unix_us) if counted else None,
    }
    return msgspec.Raw(server.row_head + _encode(changing)[1:-1] + server.row_tail)


def _row(server: Server) -> tuple[bytes, bytes]:
    head = {
        "id": server.server_id,
        "slug": server.slug,
        "name": server.name,
        "hostname": server.hostname,
        "description": server.description,
        "is_active": server.is_active,
    }
    tail = {
        "last_agent_version": server.agent_version,
        "agent_user": server.agent_user,
        "agent_info": server.agent_info,
    }
    return _encode(head)[:-1] + b",", b"," + _encode(tail)[1:]


# ---------------------------------------------------------------- snapshots


def snapshot(server: Server, reading: Reading, *, now_unix_us: int) -> dict[str, Any]:
    """Return one sample with everything that it tells, as ``latest`` shows it."""
    sample, own = reading.sample, figures(reading.sample, reading.rates)
    return {
        "id": sample.taken_at_unix_us,
        "server": server_row(server, counted=False),
        "collected_at": iso(sample.taken_at_unix_us),
        "age_seconds": max(0.0, (now_unix_us - sample.taken_at_unix_us) / 1_000_000),
        "interval_seconds": reading.interval_seconds,
        "cpu": {
            "usage_percent": sample.cpu_percent or 0.0,
            "user_percent": sample.cpu_user_percent,
            "system_percent": sample.cpu_system_percent,
            "iowait_percent": sample.cpu_iowait_percent,
            "load_1": sample.cpu_load_1,
            "load_5": sample.cpu_load_5,
            "load_15": sample.cpu_load_15,
            "frequency_mhz": sample.cpu_frequency_mhz,
            "temperature_c": sample.cpu_temperature_celsius,
            "count_logical": sample.cpu_count_logical or 0,
            "count_physical": sample.cpu_count_physical,
        },
        "memory": {
            "percent": sample.memory_percent or 0.0,
            "total_bytes": sample.memory_total_bytes or 0,
            "used_bytes": sample.memory_used_bytes or 0,
            "available_bytes": sample.memory_available_bytes or 0,
            "swap_percent": sample.swap_percent or 0.0,
            "swap_total_bytes": sample.swap_total_bytes or 0,
            "swap_used_bytes": sample.swap_used_bytes or 0,
        },
        "disk": _disk(reading, own),
        "network": {
            "rx_bps": reading.rates.host.get("network_rx_bytes_per_s") or 0.0,
            "tx_bps": reading.rates.host.get("network_tx_bytes_per_s") or 0.0,
            "rx_bytes_total": sample.network_rx_bytes_total or 0,
            "tx_bytes_total": sample.network_tx_bytes_total or 0,
        },
        "process_count": sample.process_count or 0,
        "fans": _fans(sample),
        "gpu": _gpu(sample, own),
        "bottleneck": bottleneck(own.verdict),
    }


def bottleneck(verdict: Verdict) -> dict[str, Any]:
    """Return a verdict in full."""
    return {
        "label": verdict.label,
        "title": verdict.title,
        "confidence": verdict.confidence,
        "reason": verdict.reason,
    }


def _disk(reading: Reading, own: Figures) -> dict[str, Any]:
    rates = reading.rates
    busy = rates.column("disk.busy_percent")
    columns = (
        rates.column("disk.read_bytes_per_s"),
        rates.column("disk.write_bytes_per_s"),
        rates.column("disk.read_count_per_s"),
        rates.column("disk.write_count_per_s"),
        busy,
    )
    names = ("read_bps", "write_bps", "read_iops", "write_iops", "util_percent")
    devices = [
        {
            "device": disk.device,
            **{name: value or 0.0 for name, value in zip(names, figures, strict=True)},
            "read_bytes_total": disk.read_bytes_total or 0,
            "write_bytes_total": disk.write_bytes_total or 0,
        }
        for disk, *figures in zip(reading.sample.disks, *columns, strict=True)
    ]
    return {
        "read_bps": own.disk_read_bytes_per_s,
        "write_bps": own.disk_write_bytes_per_s,
        "read_iops": total(columns[2]),
        "write_iops": total(columns[3]),
        "util_percent": own.disk_util_percent,
        "avg_util_percent": total(busy) / len(busy) if busy else 0.0,
        "devices": sorted(devices, key=lambda each: str(each["device"])),
    }


def _fans(sample: HostSample) -> dict[str, Any]:
    speeds = [fan.speed_rpm for fan in sample.fans]
    devices = sorted(({"label": fan.label, "speed_rpm": fan.speed_rpm} for fan in sample.fans), key=_label)
    return {"count": len(speeds), "max_rpm": top(speeds), "avg_rpm": average(speeds), "devices": devices}


def _label(fan: dict[str, Any]) -> str:
    return str(fan["label"])


def _gpu(sample: HostSample, own: Figures) -> dict[str, Any]:
    gpus = sorted((gpu for gpu in sample.gpus if is_whole(gpu.gpu_id)), key=lambda each: each.gpu_index)
    devices = [
        {
            "gpu_index": gpu.gpu_index,
            "name": gpu.model,
            "uuid": "" if gpu.gpu_id.startswith(_INDEX) else gpu.gpu_id,
            "utilization_gpu_percent": gpu.utilization_percent,
            "utilization_memory_percent": gpu.memory_bus_utilization_percent,
            "memory_total_bytes": gpu.vram_total_bytes or 0,
            "memory_used_bytes": gpu.vram_used_bytes or 0,
            "memory_percent": gpu.vram_used_percent,
            "temperature_c": gpu.temperature_celsius,
            "fan_speed_percent": gpu.fan_percent,
            "power_w": gpu.power_watts,
            "power_limit_w": gpu.power_limit_watts,
        }
        for gpu in gpus
    ]
    memory: Sequence[float | None] = [gpu.vram_used_percent for gpu in gpus]
    return {
        "present": bool(devices),
        "count": len(devices),
        "top_util_percent": own.gpu_top_util_percent,
        "avg_util_percent": average([gpu.utilization_percent for gpu in gpus]),
        "top_memory_percent": top(memory),
        "avg_memory_percent": average(memory),
        "devices": devices,
    }


# ---------------------------------------------------------------- failures


def render_error(error: ApplianceError, head: Head) -> Answer:
    """Render a failure: ``{"ok":false,"error":T}``, with what a client needs to go on."""
    model: dict[str, Any] = {"ok": False, "error": error.message}
    if error.hint:
        model["hint"] = error.hint
    if error.field:
        model["field"] = error.field
    if isinstance(error, TooManyRequests):
        model["error"] = "Too many requests. Please try again later."
    if isinstance(error, Described):
        model |= error.more
    elif isinstance(error, NotAuthenticated) and not head.path.startswith(PROGRAMS):
        model |= {"error": "Authentication required.", "auth_required": True, "login_url": login_url(head)}
    return Answer(model=model, status=error.status, headers=error.headers)


PROGRAMS: Final = ("/api/ingest/", "/api/agent/")
"""Where programs call, which no login page helps."""


class Described(ApplianceError):
    """A failure whose answer carries more than its words."""

    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.more = more


def login_url(head: Head) -> str:
    """Return where a browser logs in and is led back from."""
    query = head.raw_query.decode("latin-1")
    asked = f"{head.path}?{query}" if query else head.path
    return f"{head.connection.get(PUBLIC_URL, '')}/accounts/google/login/?next={quote(asked, safe='')}"


def query(head: Head) -> dict[str, str]:
    """Return the query's parameters; of several with one name the last counts, as the clients' server has it."""
    text = head.raw_query.decode("latin-1")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=64, errors="replace"))
    except ValueError:  # more fields than any client sends
        return {}
