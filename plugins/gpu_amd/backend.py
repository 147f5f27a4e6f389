"""The AMD backend: the kernel's files for every GPU, with amdsmi's answers where it loads."""

from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

from attrs import define, evolve, field

from appliance.plugin import DeviceAbsent, DeviceReading, DeviceUnavailable, Gpu, GpuSample, Host

from . import smi
from .fdinfo import Processes
from .files import text
from .sysfs import FIGURES, NOT_REPORTED, Card, addresses

WITHOUT_SMI: Final = "only amdsmi (ROCm) reports it, and it does not load here"
SMI_FIGURES: Final = ("energy_millijoules_total", "throttle_reasons")
NO_SUCH_FIGURE: Final = {
    "encoder_percent": "the amdgpu driver has no figure for it",
    "decoder_percent": "the amdgpu driver has no figure for it",
    "pcie_rx_bytes_per_s": "reading it blocks the amdgpu driver for a second",
    "pcie_tx_bytes_per_s": "reading it blocks the amdgpu driver for a second",
}


@define
class Amd:
    """AMD GPUs; for one thread."""

    host: Host
    load: Callable[[Host], ModuleType | None] = smi.load
    _cards: list[tuple[Card, Gpu]] = field(factory=list, init=False)
    _smi: smi.Smi | None = field(default=None, init=False)
    _processes: Processes = field(init=False)
    _found: list[str] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self._processes = Processes(self.host)

    @property
    def name(self) -> str:
        """What it is called in ``/readyz``, ``doctor`` and the dashboard."""
        return "amd"

    def open(self) -> str:
        """Find the GPUs that the amdgpu driver has, and amdsmi if it loads."""
        self._found = addresses(self.host)
        if not self._found:
            raise DeviceAbsent("no AMD GPU: no such PCI device on this host")
        root = self.host.path("/sys/bus/pci/devices")
        cards = [Card(root / address, address, index) for index, address in enumerate(self._found)]
        driven = [card for card in cards if card.is_asleep or card.is_driven]
        if not driven:
            raise DeviceUnavailable(
                "there is an AMD GPU, and the amdgpu driver is not loaded for it",
                hint="sudo modprobe amdgpu; if that fails, look at `dmesg`",
            )
        self._open_smi()
        version = text(self.host.path("/sys/module/amdgpu/version"))
        self._cards = []
        for card in driven:
            known = self._smi.identity(card.address) if self._smi and not card.is_asleep else {}
            self._cards.append((card, evolve(card.identity(version), **known)))
        how = "amdsmi and sysfs" if self._smi else "sysfs (amdsmi does not load)"
        count = len(self._cards)
        return f"amdgpu {version or 'of this kernel'}, read through {how}, {count} GPU{'' if count == 1 else 's'}"

    def read(self, now_unix_us: int) -> DeviceReading:
        """Read every GPU that is awake."""
        found = addresses(self.host)
        if found != self._found:
            self.close()
            self.open()
        awake = [card for card, _ in self._cards if not card.is_asleep]
        processes = self._processes.read(self._processes.kfd_ids()) if awake else {}
        samples = [
            self._sample(card, gpu, processes, now_unix_us) if card in awake else _asleep(gpu, now_unix_us)
            for card, gpu in self._cards
        ]
        return DeviceReading(gpus=tuple(gpu for _, gpu in self._cards), samples=tuple(samples))

    def close(self) -> None:
        """Let go of amdsmi."""
        held, self._smi = self._smi, None
        if held is not None:
            held.close()

    def _open_smi(self) -> None:
        module = self.load(self.host)
        if module is None:
            return
        opened = smi.Smi(module)
        try:
            opened.open()
        except Exception:  # its exceptions differ between versions; the kernel's files are there without it
            return
        self._smi = opened

    def _sample(self, card: Card, gpu: Gpu, processes: dict[str, Any], now_unix_us: int) -> GpuSample:
        values = card.read()
        if self._smi is not None:
            values |= self._smi.read(card.address)
        missing = dict(NO_SUCH_FIGURE)
        missing |= {name: NOT_REPORTED for name in FIGURES.split() if values.get(name) is None}
        if self._smi is None:
            missing |= dict.fromkeys(SMI_FIGURES, WITHOUT_SMI)
        return GpuSample(
            gpu_id=gpu.gpu_id,
            gpu_index=gpu.index,
            model=gpu.model,
            taken_at_unix_us=now_unix_us,
            processes=tuple(processes.get(card.address, ())),
            missing=missing,
            **values,
        )


def _asleep(gpu: Gpu, now_unix_us: int) -> GpuSample:
    return GpuSample(
        gpu_id=gpu.gpu_id,
        gpu_index=gpu.index,
        model=gpu.model,
        taken_at_unix_us=now_unix_us,
        vram_total_bytes=gpu.vram_total_bytes,
        asleep=True,
        missing={"utilization_percent": "the GPU is asleep, and asking would wake it"},
    )
