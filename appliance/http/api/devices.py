"""This host and its GPUs over our own API: what is there now, who uses it, and how it went.

Every key carries its unit; a key whose value is ``null`` is not reported, with the reason in the nearest ``missing``
(``{"fan_percent": "this GPU has no fan"}``). All endpoints are GET and need a viewer.

``GET /api/appliance/devices`` (a *gpu item* is used everywhere below)::

    {"items": [{
       "gpu_id": "GPU-6f0e...", "host_id": "5b1c...", "index": 0, "vendor": "nvidia", "model": "NVIDIA H200",
       "vram_total_bytes": 150754820096, "driver_version": "580.82.07", "pci_address": "00000000:1B:00.0",
       "parent_gpu_id": null, "mig_profile": null, "serial": "165...", "vbios_version": "96.00.B7.00.01",
       "compute_capability": "9.0", "power_limit_max_watts": 700.0, "clock_sm_max_mhz": 1980.0,
       "clock_memory_max_mhz": 3201.0, "pcie_link_generation_max": 5, "pcie_link_width_max": 16,
       "state": "present",              # present | asleep | lost (was there, is gone) | unknown (not readable)
       "marks": [{"mark": "cordoned", "reason": "XID 79"}],
       "health": "ok",                  # ok | warning | critical
       "health_text": "ok",             # "thermal throttling (hardware)", "row remap pending: reset the GPU"
       "latest": {                      # null before the first reading of this GPU
          "taken_at_unix_s": 1795236300.25, "vram_total_bytes": 150754820096, "vram_used_bytes": 33501282304,
          "utilization_percent": 87.0, "memory_bus_utilization_percent": 41.0, "encoder_percent": 0.0,
          "decoder_percent": 0.0, "temperature_celsius": 61.0, "memory_temperature_celsius": 70.0,
          "fan_percent": null, "power_watts": 512.3, "power_limit_watts": 700.0,
          "energy_millijoules_total": 123456789, "clock_sm_mhz": 1980.0, "clock_memory_mhz": 3201.0,
          "pcie_rx_bytes_per_s": null, "pcie_tx_bytes_per_s": null,
          "nvlink_rx_bytes_total": 1, "nvlink_tx_bytes_total": 2,
          "ecc_corrected_total": 0, "ecc_uncorrected_total": 0, "pcie_link_generation": 5, "pcie_link_width": 16,
          "remapped_rows_corrected": 0, "remapped_rows_uncorrected": 0, "remap_pending": false,
          "remap_failed": false, "ecc_corrected_lifetime": 0, "ecc_uncorrected_lifetime": 0,
          "performance_state": "P0", "throttle_reasons": ["power cap"], "asleep": false,
          "nvlink_rx_bytes_per_s": null, "nvlink_tx_bytes_per_s": null, "process_count": 1,
          "missing": {"fan_percent": "this GPU has no fan"}},
       "top_process": {"pid": 48123, "user": "ana", "command": "python train.py", "container": "jupyter-ana",
          "task": null, "vram_used_bytes": 33501282304, "sm_percent": 87.0, "kind": "compute", "missing": {}}
     }],
     "next": null,
     "backends": [{"name": "nvidia", "state": "ok", "ok": true, "present": true,
        "message": "driver 580.82.07, NVML 13.580.82.07, 1 GPU", "hint": "", "problems": []}]}

A backend's ``state`` is ``starting``, ``ok``, ``absent`` (no such hardware or driver here: nothing to mend),
``unavailable`` (it should work and does not; ``message`` says why and ``hint`` what to do) or ``hung`` (the driver
does not answer).

``GET /api/appliance/devices/{gpu_id}``: one gpu item with ``processes``: the list of all (shape of ``top_process``).

``GET /api/appliance/host``::

    {"host_id": "5b1c...", "hostname": "gpu-box-01", "kernel": "6.1.0-30-amd64", "system": "Debian GNU/Linux 12",
     "cpu_model": "AMD EPYC 9654", "sample_seconds": 2.0,
     "latest": {                        # null before the first reading
        "taken_at_unix_s": 1795236300.25, "uptime_seconds": 86400.0,
        "cpu_percent": 12.5, "cpu_user_percent": 9.0, "cpu_system_percent": 3.0, "cpu_iowait_percent": 0.5,
        "cpu_core_percents": [10.0, 15.0], "cpu_load_1": 0.5, "cpu_load_5": 0.4, "cpu_load_15": 0.3,
        "cpu_frequency_mhz": 2400.0, "cpu_temperature_celsius": 51.0, "cpu_count_logical": 2,
        "cpu_count_physical": 1, "memory_total_bytes": 1, "memory_used_bytes": 1, "memory_available_bytes": 1,
        "memory_percent": 41.0, "swap_total_bytes": 0, "swap_used_bytes": 0, "swap_percent": 0.0,
        "network_rx_bytes_total": 1, "network_tx_bytes_total": 1,
        "network_rx_bytes_per_s": 1.5, "network_tx_bytes_per_s": 1.5, "process_count": 140,
        "disks": [{"device": "nvme0n1", "read_bytes_total": 1, "write_bytes_total": 1, "read_count_total": 1,
           "write_count_total": 1, "busy_time_ms_total": 1, "read_bytes_per_s": 1.5, "write_bytes_per_s": 1.5,
           "reads_per_s": 1.5, "writes_per_s": 1.5, "busy_percent": 3.0}],
        "networks": [{"interface": "eth0", "rx_bytes_total": 1, "tx_bytes_total": 1, "rx_errors_total": 0,
           "tx_errors_total": 0, "rx_bytes_per_s": 1.5, "tx_bytes_per_s": 1.5,
           "rx_errors_per_s": 0.0, "tx_errors_per_s": 0.0}],
        "fans": [{"label": "fan1", "speed_rpm": 1200.0}],
        "filesystems": [{"mountpoint": "/", "device": "/dev/nvme0n1p1", "fstype": "ext4", "total_bytes": 1,
           "used_bytes": 1, "free_bytes": 1}]}}

Rates (``*_per_s``, ``busy_percent``) are ``null`` on the first reading.

``GET /api/appliance/processes``: the processes on every GPU, most memory first; items are process items with
``gpu_id``, ``gpu_index`` and ``model`` besides: ``{"items": [...], "next": null}``.

``GET /api/appliance/series?host=H&metrics=cpu_percent,memory_percent&from_unix_s=F&to_unix_s=T&max_points=600`` and
``GET /api/appliance/devices/{gpu_id}/series?metrics=...`` (columnar: ready for a chart; ``at_unix_s`` is the x axis
of every column, ``null`` where nothing was read). ``host`` defaults to this host, ``to_unix_s`` to now,
``from_unix_s`` to 15 minutes before. ``tier`` is ``raw`` or the length of the stored buckets (``10 s``, ``1 min``
...), ``step_seconds`` the length of a point. A metric of which nothing is stored in the window has no column. A host
metric is a name of ``latest`` above; those of devices are written ``disks.nvme0n1.read_bytes_per_s``,
``networks.eth0.rx_bytes_per_s``, ``fans.fan1.speed_rpm`` and ``gpus.GPU-6f0e....utilization_percent``
(``devices/{gpu_id}/series`` takes the bare name)::

    {"host_id": "5b1c...", "from_unix_s": 1795235400.0, "to_unix_s": 1795236300.0, "step_seconds": 2.0,
     "tier": "raw",
     "at_unix_s": [1795236296.2, 1795236298.2],
     "series": [{"metric": "cpu_percent", "min": [1.0, 2.0], "max": [1.0, 2.0], "mean": [1.0, 2.0]}]}

``GET /api/appliance/overview``: all the above at once::

    {"at_unix_s": 1795236300.3, "host": {host}, "gpus": [gpu item, ...], "processes": [process item, ... at most 20],
     "panels": [...as core's panels provider gives them...], "backends": [backend, ...]}

``GET /api/appliance/overview/stream`` (server-sent events): first ``event: overview`` with the document above, then
one ``event: sample`` after each sample with the same document without ``panels`` (they are in ``event: panels``,
``{"panels": [...]}``, every few seconds).
"""

import math
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

import trio
from attrs import field, frozen
from attrs.validators import and_, ge, le, max_len

from appliance.clock import to_unix_s
from appliance.credentials.kinds import PERSON
from appliance.errors import BadInput, Busy, NotFound
from appliance.events import Lagged
from appliance.http.api.device_models import DevicePage, GpuDetail, HostItem, Overview, ProcessPage, SeriesWindow
from appliance.http.api.state import CoreState
from appliance.local_agent.service import LocalAgent
from appliance.local_agent.view import View
from appliance.surface import Call, ServerEvent, Surface

KINDS: Final = {"gpus": "gpu", "disks": "disk", "networks": "network", "fans": "fan"}
"""Device kinds as this API spells them, and as series do."""
MOST_METRICS: Final = 200
MOST_POINTS: Final = 5000
DEFAULT_SPAN_SECONDS: Final = 900.0
LATEST_UNIX_S: Final = 253_402_300_800.0
"""The year 10000."""
PANELS_SECONDS: Final = 5.0
LOST_SHOWN_US: Final = 24 * 3_600_000_000
"""How long a GPU that is gone is still shown as lost."""

api = Surface("core", prefixes=("/api/appliance",), unknown_fields="refuse")


@frozen(kw_only=True)
class PageQuery:
    """How many items are wanted."""

    limit: int = field(default=1000, validator=and_(ge(1), le(1000)))


@frozen(kw_only=True)
class WindowQuery:
    """Which metrics are wanted, over which window."""

    metrics: str = field(default="", validator=max_len(16_000))
    """Comma-separated."""
    host: str = field(default="", validator=max_len(200))
    from_unix_s: float | None = None
    to_unix_s: float | None = None
    max_points: int = field(default=600, validator=and_(ge(10), le(MOST_POINTS)))


def agent_of(state: CoreState) -> LocalAgent:
    """Return the local agent, or raise `Busy` while it has not started."""
    if state.agent is None:
        raise Busy("the local agent is not running", hint="try again in a moment")
    return state.agent


def view_of(state: CoreState) -> View:
    """Return what is known of this host now."""
    now_unix_us, agent = state.now(), agent_of(state)
    known = {gpu.gpu_id: gpu for gpu in state.inventory.gpus(state.host_id)}
    present = {gpu.gpu_id for gpu in agent.gpus}
    leaving = agent.leaving
    lost = [
        gpu.gpu
        for gpu in known.values()
        if gpu.gpu_id not in present
        and gpu.gpu.parent_gpu_id is None
        and (gpu.gpu_id in leaving or (not gpu.present and now_unix_us - gpu.changed_at_unix_us < LOST_SHOWN_US))
    ]
    marks = {gpu.gpu_id: [(str(mark.kind), mark.reason) for mark in gpu.marks] for gpu in known.values() if gpu.marks}
    return agent.view(now_unix_us=now_unix_us, lost=lost, marks=marks)


@api.get("/api/appliance/devices", caller=PERSON, answer=DevicePage)
async def devices(call: Call[None]) -> Mapping[str, Any]:
    """List the GPUs of this host with their newest reading, and how they are read."""
    view = view_of(call.state)
    return {"items": view.devices(), "next": None, "backends": view.backend_items()}


@api.get("/api/appliance/devices/{gpu_id}", caller=PERSON, answer=GpuDetail)
async def device(call: Call[None]) -> Mapping[str, Any]:
    """Show one GPU with all its processes."""
    view = view_of(call.state)
    item = _item(view, call.path["gpu_id"])
    return item | {"processes": view.processes_of(item["gpu_id"])}


@api.get("/api/appliance/host", caller=PERSON, answer=HostItem)
async def host(call: Call[None]) -> Mapping[str, Any]:
    """Show this host with its newest reading."""
    return view_of(call.state).host()


@api.get("/api/appliance/processes", caller=PERSON, query=PageQuery, answer=ProcessPage)
async def processes(call: Call[None]) -> Mapping[str, Any]:
    """List the processes that use a GPU, most memory first."""
    wanted: PageQuery = call.query
    return {"items": view_of(call.state).processes()[: wanted.limit], "next": None}


@api.get("/api/appliance/series", caller=PERSON, query=WindowQuery, answer=SeriesWindow)
async def series(call: Call[None]) -> Mapping[str, Any]:
    """Show how metrics of a host and its devices went."""
    state: CoreState = call.state
    wanted: WindowQuery = call.query
    return await _window(state, wanted, wanted.host or state.host_id, [_parsed(name) for name in _listed(wanted)])


@api.get("/api/appliance/devices/{gpu_id}/series", caller=PERSON, query=WindowQuery, answer=SeriesWindow)
async def device_series(call: Call[None]) -> Mapping[str, Any]:
    """Show how metrics of one GPU went."""
    state: CoreState = call.state
    wanted: WindowQuery = call.query
    gpu = state.inventory.gpu(call.path["gpu_id"])
    names = [(name, f"gpu.{name}", gpu.gpu_id) for name in _listed(wanted)]
    return await _window(state, wanted, wanted.host or gpu.host_id, names)


@api.get("/api/appliance/overview", caller=PERSON, answer=Overview)
async def overview(call: Call[None]) -> Mapping[str, Any]:
    """Show everything the first page shows."""
    state: CoreState = call.state
    return view_of(state).overview() | {"panels": await _panels(state)}


@api.stream("/api/appliance/overview/stream", caller=PERSON, answer=Overview)
async def overview_stream(call: Call[None]) -> AsyncIterator[ServerEvent]:
    """Tell the overview once, then what each sample changes."""
    state: CoreState = call.state
    with_panels_at = trio.current_time()
    yield ServerEvent(event="overview", data=view_of(state).overview() | {"panels": await _panels(state)})
    # A reader that goes away closes this generator; the inner one would keep its subscription otherwise.
    async with aclosing(_samples(state)) as samples:
        async for _ in samples:
            yield ServerEvent(event="sample", data=view_of(state).overview())
            if trio.current_time() - with_panels_at >= PANELS_SECONDS:
                with_panels_at = trio.current_time()
                yield ServerEvent(event="panels", data={"panels": await _panels(state)})


async def _samples(state: CoreState) -> AsyncGenerator[None, None]:
    """Yield once for each sample, or less often to a reader that cannot keep up."""
    while True:
        with state.events.subscribe("sample", backlog=8) as subscription:
            try:
                async for event in subscription:
                    if event.kind == "sample" and event.subject == state.host_id:
                        yield
            except Lagged:
                continue  # what was missed is in the next one
            return


async def _panels(state: CoreState) -> Sequence[Any]:
    return list(await state.panels()) if state.panels is not None else []


def _item(view: View, gpu_id: str) -> dict[str, Any]:
    for item in view.devices():
        if item["gpu_id"] == gpu_id:
            return item
    raise NotFound("GPU", gpu_id, hint="GET /api/appliance/devices lists them")


def _listed(wanted: WindowQuery) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in wanted.metrics.split(",") if name.strip()))
    if not names:
        raise BadInput("metrics are wanted, such as cpu_percent,memory_percent", field="$.metrics")
    if len(names) > MOST_METRICS:
        raise BadInput(f"at most {MOST_METRICS} metrics at once", field="$.metrics")
    return names


def _parsed(name: str) -> tuple[str, str, str | None]:
    """Split ``gpus.ID.power_watts`` into itself, the metric of the series and the device (which may hold dots)."""
    kind, dot, rest = name.partition(".")
    if not dot:
        return name, name, None
    device_name, _, metric = rest.rpartition(".")
    if kind not in KINDS or not device_name or not metric:
        raise BadInput(
            f"no metric {name[:100]!r}", hint="a metric of a device is written gpus.ID.power_watts", field="$.metrics"
        )
    return name, f"{KINDS[kind]}.{metric}", device_name


async def _window(
    state: CoreState, wanted: WindowQuery, host_id: str, names: Sequence[tuple[str, str, str | None]]
) -> Mapping[str, Any]:
    to_unix_us = _unix_us(wanted.to_unix_s, state.now(), "$.to_unix_s")
    from_unix_us = _unix_us(wanted.from_unix_s, to_unix_us - int(DEFAULT_SPAN_SECONDS * 1_000_000), "$.from_unix_s")
    found = await state.series.window(
        host_id,
        metrics={metric for _, metric, _ in names},
        from_unix_us=from_unix_us,
        to_unix_us=to_unix_us,
        max_points=wanted.max_points,
        devices={device_name for _, _, device_name in names if device_name is not None},
    )
    columns = {(column.metric, column.device): column for column in found.columns}
    shown = [
        {"metric": name, "min": column.minimum, "max": column.maximum, "mean": column.mean}
        for name, metric, device_name in names
        if (column := columns.get((metric, device_name))) is not None
    ]
    return {
        "host_id": host_id,
        "from_unix_s": to_unix_s(from_unix_us),
        "to_unix_s": to_unix_s(to_unix_us),
        "step_seconds": found.step_seconds or agent_of(state).sample_seconds(),
        "tier": _tier(found.tier_seconds),
        "at_unix_s": [to_unix_s(at) for at in found.times_unix_us],
        "series": shown,
    }


def _tier(seconds: float) -> str:
    if not seconds:
        return "raw"
    for length, unit in ((3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _unix_us(unix_s: float | None, default_us: int, place: str) -> int:
    if unix_s is None:
        return default_us
    if not math.isfinite(unix_s) or not 0 <= unix_s <= LATEST_UNIX_S:
        raise BadInput("a time is in seconds since 1970", field=place)
    return int(unix_s * 1_000_000)
