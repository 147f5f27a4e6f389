"""The shapes that `devices` answers with, for the OpenAPI document; made from the classes they show."""

from collections.abc import Mapping
from typing import Any

import attrs
from msgspec import Struct, defstruct

from appliance.devices import (
    DiskSample,
    FanSample,
    FilesystemSample,
    Gpu,
    GpuProcess,
    GpuSample,
    HostFacts,
    HostSample,
    NetworkSample,
)
from appliance.local_agent.view import (
    DISK_RATES,
    GPU_RATES,
    IDENTITY,
    LATEST_GPU,
    LATEST_HOST,
    NETWORK_RATES,
    PROCESS,
)


def shape(name: str, doc: str, *parts: tuple[type[Any], tuple[str, ...]], **more: Any) -> type[Any]:
    """Return a class with the named fields of other classes and some more, all of them required."""
    types: dict[str, Any] = {}
    for source, names in parts:
        declared = {each.name: each.type for each in attrs.fields(source)}
        types |= {field: declared[field] for field in names}
    types |= more
    return defstruct(name, list(types.items()), namespace={"__doc__": doc}, module=__name__, frozen=True, kw_only=True)


def _all(source: type[Any]) -> tuple[type[Any], tuple[str, ...]]:
    return source, tuple(each.name for each in attrs.fields(source))


def _rates(names: tuple[str, ...]) -> dict[str, Any]:
    return dict.fromkeys(names, float | None)


ProcessItem: Any = shape("ProcessItem", "One process that uses a GPU.", (GpuProcess, PROCESS))
PlacedProcessItem: Any = shape(
    "PlacedProcessItem",
    "One process and the GPU it uses.",
    (GpuProcess, PROCESS),
    gpu_id=str,
    gpu_index=int,
    model=str,
)
GpuLatest: Any = shape(
    "GpuLatest",
    "The newest reading of a GPU; null is not reported.",
    (GpuSample, LATEST_GPU),
    taken_at_unix_s=float,
    process_count=int | None,
    **_rates(GPU_RATES),
)


class GpuMark(Struct, frozen=True, kw_only=True):
    """One mark of the inventory on a GPU."""

    mark: str
    """``cordoned``, ``draining`` or ``unhealthy``."""
    reason: str


_GPU_MORE: dict[str, Any] = {
    "host_id": str,
    "state": str,
    "marks": list[GpuMark],
    "health": str,
    "health_text": str,
    "latest": GpuLatest | None,
    "top_process": ProcessItem | None,
}
GpuItem: Any = shape("GpuItem", "One GPU or MIG instance.", (Gpu, IDENTITY), **_GPU_MORE)
GpuDetail: Any = shape(
    "GpuDetail", "One GPU with all its processes.", (Gpu, IDENTITY), **_GPU_MORE, processes=list[ProcessItem]
)


class BackendItem(Struct, frozen=True, kw_only=True):
    """How one device backend is doing."""

    name: str
    state: str
    """``starting``, ``ok``, ``absent``, ``unavailable`` or ``hung``."""
    ok: bool
    present: bool
    message: str
    hint: str
    problems: list[str]


class DevicePage(Struct, frozen=True, kw_only=True):
    """The GPUs of this host and how they are read."""

    items: list[GpuItem]
    next: str | None
    backends: list[BackendItem]


class ProcessPage(Struct, frozen=True, kw_only=True):
    """Processes that use a GPU, most memory first."""

    items: list[PlacedProcessItem]
    next: str | None


DiskItem: Any = shape("DiskItem", "One disk.", _all(DiskSample), **_rates(DISK_RATES))
NetworkItem: Any = shape("NetworkItem", "One network interface.", _all(NetworkSample), **_rates(NETWORK_RATES))
HostLatest: Any = shape(
    "HostLatest",
    "The newest reading of the host; null is not reported.",
    (HostSample, LATEST_HOST),
    taken_at_unix_s=float,
    network_rx_bytes_per_s=float | None,
    network_tx_bytes_per_s=float | None,
    disks=list[DiskItem],
    networks=list[NetworkItem],
    fans=list[FanSample],
    filesystems=list[FilesystemSample],
)
HostItem: Any = shape(
    "HostItem",
    "This host.",
    _all(HostFacts),
    host_id=str,
    sample_seconds=float | None,
    latest=HostLatest | None,
)


class SeriesColumn(Struct, frozen=True, kw_only=True):
    """One metric over the window; ``null`` where nothing was read."""

    metric: str
    min: list[float | None]
    max: list[float | None]
    mean: list[float | None]


class SeriesWindow(Struct, frozen=True, kw_only=True):
    """Metrics over a window of time, column by column."""

    host_id: str
    from_unix_s: float
    to_unix_s: float
    step_seconds: float
    tier: str
    at_unix_s: list[float]
    series: list[SeriesColumn]


class Overview(Struct, frozen=True, kw_only=True):
    """Everything the first page shows."""

    at_unix_s: float
    host: HostItem
    gpus: list[GpuItem]
    processes: list[PlacedProcessItem]
    backends: list[BackendItem]
    panels: list[Mapping[str, Any]]
