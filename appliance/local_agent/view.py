"""What is known of this host now, as the documents of our own API: the same with and without a running appliance."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import field, fields, frozen

from appliance.backends import BackendStatus
from appliance.clock import to_unix_s
from appliance.devices import Gpu, GpuProcess, GpuSample, HostFacts, HostSample
from appliance.inventory.health import Fault, judge

MOST_PROCESSES: Final = 20
"""Of the overview; ``/api/appliance/processes`` has them all."""

Rates = Mapping[str, Mapping[str, float | None]]


def _names(cls: type[Any], *without: str) -> tuple[str, ...]:
    return tuple(each.name for each in fields(cls) if each.name not in without)


IDENTITY: Final = _names(Gpu)
LATEST_GPU: Final = _names(GpuSample, "gpu_id", "gpu_index", "model", "taken_at_unix_us", "processes")
LATEST_HOST: Final = _names(
    HostSample, "host_id", "taken_at_unix_us", "disks", "networks", "fans", "filesystems", "gpus"
)
PROCESS: Final = _names(GpuProcess)


@frozen(kw_only=True)
class View:
    """Everything the documents are made of."""

    host_id: str
    facts: HostFacts
    sample: HostSample | None
    gpus: Sequence[Gpu]
    backends: Sequence[BackendStatus]
    now_unix_us: int
    sample_seconds: float | None = None
    lost: Sequence[Gpu] = ()
    """GPUs that were there and are gone."""
    faults: Mapping[str, Sequence[Fault]] = field(factory=dict)
    """What drivers reported lately, by GPU id, oldest first."""
    marks: Mapping[str, Sequence[tuple[str, str]]] = field(factory=dict)
    """Kind and reason of the inventory's marks, by GPU id."""
    host_rates: Mapping[str, float | None] = field(factory=dict)
    disk_rates: Rates = field(factory=dict)
    network_rates: Rates = field(factory=dict)
    gpu_rates: Rates = field(factory=dict)

    def host(self) -> dict[str, Any]:
        """Return ``GET /api/appliance/host``."""
        facts = {name: getattr(self.facts, name) for name in _names(HostFacts)}
        sample = self.sample
        return {
            "host_id": self.host_id,
            **facts,
            "sample_seconds": self.sample_seconds,
            "latest": None if sample is None else self._latest(sample),
        }

    def devices(self) -> list[dict[str, Any]]:
        """Return the gpu items of ``GET /api/appliance/devices``."""
        samples = {sample.gpu_id: sample for sample in self.sample.gpus} if self.sample else {}
        present = [self._gpu(gpu, samples.get(gpu.gpu_id)) for gpu in self.gpus]
        return present + [self._gpu(gpu, None, is_lost=True) for gpu in self.lost]

    def backend_items(self) -> list[dict[str, Any]]:
        """Return how every backend is doing."""
        return [
            {
                "name": each.name,
                "state": each.state,
                "ok": each.ok,
                "present": each.present,
                "message": each.message,
                "hint": each.hint,
                "problems": list(each.problems),
            }
            for each in self.backends
        ]

    def processes(self) -> list[dict[str, Any]]:
        """Return the processes of all GPUs, most memory first."""
        found = []
        for sample in self.sample.gpus if self.sample else ():
            for process in sample.processes or ():
                place = {"gpu_id": sample.gpu_id, "gpu_index": sample.gpu_index, "model": sample.model}
                found.append(process_item(process) | place)
        return sorted(found, key=lambda item: (-(item["vram_used_bytes"] or 0), item["gpu_index"], item["pid"]))

    def processes_of(self, gpu_id: str) -> list[dict[str, Any]]:
        """Return the processes of one GPU, most memory first."""
        return [process_item(process) for process in self._processes(gpu_id)]

    def overview(self) -> dict[str, Any]:
        """Return ``GET /api/appliance/overview``, without the panels."""
        return {
            "at_unix_s": to_unix_s(self.now_unix_us),
            "host": self.host(),
            "gpus": self.devices(),
            "processes": self.processes()[:MOST_PROCESSES],
            "backends": self.backend_items(),
        }

    def _latest(self, sample: HostSample) -> dict[str, Any]:
        rates = {name: self.host_rates.get(name) for name in ("network_rx_bytes_per_s", "network_tx_bytes_per_s")}
        return {
            "taken_at_unix_s": to_unix_s(sample.taken_at_unix_us),
            **{name: getattr(sample, name) for name in LATEST_HOST},
            **rates,
            "disks": [_with_rates(disk, self.disk_rates.get(disk.device), DISK_RATES) for disk in sample.disks],
            "networks": [
                _with_rates(card, self.network_rates.get(card.interface), NETWORK_RATES) for card in sample.networks
            ],
            "fans": [_plain(fan) for fan in sample.fans],
            "filesystems": [_plain(each) for each in sample.filesystems],
        }

    def _gpu(self, gpu: Gpu, sample: GpuSample | None, *, is_lost: bool = False) -> dict[str, Any]:
        unreadable = None
        if sample is None and not is_lost:
            backend = next((each for each in self.backends if each.name == gpu.vendor), None)
            unreadable = "its backend has not read it yet" if backend is None or backend.ok else backend.message
        health = judge(
            sample,
            is_lost=is_lost,
            unreadable=unreadable,
            faults=self.faults.get(gpu.gpu_id, ()),
            now_unix_us=self.now_unix_us,
        )
        state = "lost" if is_lost else "unknown" if sample is None else "asleep" if sample.asleep else "present"
        marks = [{"mark": kind, "reason": reason} for kind, reason in self.marks.get(gpu.gpu_id, ())]
        top = self._processes(gpu.gpu_id)[:1]
        return {
            "host_id": self.host_id,
            **{name: getattr(gpu, name) for name in IDENTITY},
            "state": state,
            "marks": marks,
            "health": health.level,
            "health_text": health.text,
            "latest": None if sample is None else self._gpu_latest(sample),
            "top_process": process_item(top[0]) if top else None,
        }

    def _gpu_latest(self, sample: GpuSample) -> dict[str, Any]:
        rates = self.gpu_rates.get(sample.gpu_id, {})
        return {
            "taken_at_unix_s": to_unix_s(sample.taken_at_unix_us),
            **{name: getattr(sample, name) for name in LATEST_GPU},
            **{name: rates.get(name) for name in GPU_RATES},
            "process_count": None if sample.processes is None else len(sample.processes),
        }

    def _processes(self, gpu_id: str) -> list[GpuProcess]:
        for sample in self.sample.gpus if self.sample else ():
            if sample.gpu_id == gpu_id:
                return sorted(sample.processes or (), key=lambda each: (-(each.vram_used_bytes or 0), each.pid))
        return []


DISK_RATES: Final = ("read_bytes_per_s", "write_bytes_per_s", "reads_per_s", "writes_per_s", "busy_percent")
NETWORK_RATES: Final = ("rx_bytes_per_s", "tx_bytes_per_s", "rx_errors_per_s", "tx_errors_per_s")
GPU_RATES: Final = ("nvlink_rx_bytes_per_s", "nvlink_tx_bytes_per_s")


def process_item(process: GpuProcess) -> dict[str, Any]:
    """Return one process as the API shows it."""
    return {name: getattr(process, name) for name in PROCESS}


def _plain(item: Any) -> dict[str, Any]:
    return {name: getattr(item, name) for name in _names(type(item))}


def _with_rates(item: Any, rates: Mapping[str, float | None] | None, names: Sequence[str]) -> dict[str, Any]:
    return _plain(item) | {name: (rates or {}).get(name) for name in names}
