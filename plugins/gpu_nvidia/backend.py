"""The NVML backend: which GPUs there are, and one pass over all of them."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import pynvml
from attrs import define, evolve, field

from appliance.plugin import DeviceEvent, DeviceReading, DeviceUnavailable, Gpu, GpuSample, Host

from . import pci
from .asking import Asker, DriverGone, GpuLost
from .events import DriverEvents
from .identity import read_gpu, read_instance
from .reading import Device, Instance
from .words import cannot_open

LOOK_AGAIN_SECONDS: Final = 60.0
"""How often the driver is opened anew while a GPU is lost, and the bus looked at for new ones."""


@define
class Nvml:
    """NVIDIA GPUs through NVML; for one thread."""

    host: Host
    monotonic: Callable[[], float] = time.monotonic
    _driver: str = field(default="", init=False)
    _devices: list[Device] = field(factory=list, init=False)
    _asleep: list[Gpu] = field(factory=list, init=False)
    """GPUs that have been asleep ever since the driver was opened, and so were never asked."""
    _instances: dict[str, Instance] = field(factory=dict, init=False)
    _events: DriverEvents = field(factory=DriverEvents, init=False)
    _is_open: bool = field(default=False, init=False)
    _problems: list[str] = field(factory=list, init=False)
    """What could not be had when the driver was opened."""
    _misses_one: bool = field(default=False, init=False)
    _looked_at: float = field(default=0.0, init=False)
    _remaps: dict[str, tuple[bool, bool]] = field(factory=dict, init=False)

    @property
    def name(self) -> str:
        """What it is called in ``/readyz``, ``doctor`` and the dashboard."""
        return "nvidia"

    def open(self) -> str:
        """Connect to NVML and identify every GPU that is awake."""
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise cannot_open(error, has_hardware=bool(pci.gpus(self.host))) from error
        self._is_open = True
        self._looked_at = self.monotonic()
        try:
            self._driver = pynvml.nvmlSystemGetDriverVersion()
            library = pynvml.nvmlSystemGetNVMLVersion()
            self._enumerate()
        except pynvml.NVMLError as error:
            raise cannot_open(error, has_hardware=True) from error
        except DriverGone as error:
            raise DeviceUnavailable(f"the NVIDIA driver went away while it was opened: {error}") from error
        self._problems += self._events.open([device.ask.handle for device in self._devices])
        count = len(self._devices) + len(self._asleep)
        models = ", ".join(sorted({gpu.model for gpu in [*(each.gpu for each in self._devices), *self._asleep]}))
        counted = f"{count} GPU{'' if count == 1 else 's'}" + (f" ({models})" if models else "")
        return f"driver {self._driver}, NVML {library}, {counted}"

    def read(self, now_unix_us: int) -> DeviceReading:
        """Read every GPU that is awake; a driver that was reloaded meanwhile is opened again at once."""
        if self._should_look_again():
            self._reopen()
        try:
            return self._pass(now_unix_us)
        except DriverGone as error:
            why = error
        self._reopen()
        try:
            reading = self._pass(now_unix_us)
        except DriverGone as error:
            raise DeviceUnavailable(
                f"the NVIDIA driver has gone away: {error}", hint="sudo modprobe nvidia; then look at `dmesg`"
            ) from error
        told = tuple(
            DeviceEvent(
                kind="gpu.driver_reloaded",
                gpu_id=gpu.gpu_id,
                message=f"GPU {gpu.index} ({gpu.model}): the driver was reloaded ({why})",
                level="info",
                data={"driver_version": self._driver},
            )
            for gpu in reading.gpus
            if gpu.parent_gpu_id is None
        )
        return evolve(reading, events=(*told, *reading.events))

    def close(self) -> None:
        """Let go of the driver."""
        if not self._is_open:
            return
        self._is_open = False
        self._events.close()
        self._devices, self._asleep, self._instances, self._problems = [], [], {}, []
        try:
            pynvml.nvmlShutdown()
        except pynvml.NVMLError:
            return  # a driver that has gone away has nothing left to close

    def _reopen(self) -> None:
        self.close()
        self.open()

    def _should_look_again(self) -> bool:
        """Whether a GPU may have come, woken up for the first time, or come back."""
        if any(not pci.is_asleep(self.host, gpu.pci_address or "") for gpu in self._asleep):
            return True
        if self.monotonic() - self._looked_at < LOOK_AGAIN_SECONDS:
            return False
        self._looked_at = self.monotonic()
        return self._misses_one or len(pci.gpus(self.host)) > len(self._devices) + len(self._asleep)

    def _enumerate(self) -> None:
        """Identify the GPUs; one that is asleep is known only by what the kernel and the driver's files say."""
        self._misses_one = False
        on_the_bus = pci.gpus(self.host)
        asleep = [each for each in on_the_bus if pci.is_asleep(self.host, each.address)]
        sleepers = {each.address for each in asleep}
        if asleep:
            # To ask for a handle by index would wake the sleeping ones; by address only the one that is named.
            awake = [each for each in on_the_bus if each.address not in sleepers]
            for each in awake:
                index = on_the_bus.index(each)
                self._identify(index, partial(pynvml.nvmlDeviceGetHandleByPciBusId, each.address))
        else:
            for index in range(pynvml.nvmlDeviceGetCount()):
                self._identify(index, partial(pynvml.nvmlDeviceGetHandleByIndex, index))
        for each in asleep:
            self._asleep.append(
                Gpu(
                    gpu_id=each.uuid or f"NVIDIA-{each.address}",
                    index=on_the_bus.index(each),
                    vendor="nvidia",
                    model=each.model or "NVIDIA GPU (asleep)",
                    driver_version=self._driver,
                    pci_address=each.address,
                )
            )

    def _identify(self, index: int, get: Callable[[], Any]) -> None:
        try:
            ask = Asker(get())
            gpu = read_gpu(ask, index, self._driver)
        except pynvml.NVMLError as error:
            if error.value == pynvml.NVML_ERROR_UNINITIALIZED:
                raise
            self._misses_one = True
            self._problems.append(f"GPU {index} cannot be opened: {error}")
            return
        except GpuLost as error:
            self._misses_one = True
            self._problems.append(f"GPU {index} is gone: {error}")
            return
        if gpu is None:
            self._problems.append(f"GPU {index} has no uuid: {ask.missing.get('gpu_id')}")
            return
        self._devices.append(Device(gpu=gpu, ask=ask))

    def _pass(self, now_unix_us: int) -> DeviceReading:
        gpus: list[Gpu] = []
        samples: list[GpuSample] = []
        events: list[DeviceEvent] = []
        problems = list(self._problems)
        for device in self._devices:
            address = pci.sysfs_address(device.gpu.pci_address) if device.gpu.pci_address else ""
            if address and pci.is_asleep(self.host, address):
                gpus.append(device.gpu)
                samples.append(_asleep(device.gpu, now_unix_us))
                continue
            try:
                instances = self._mig_instances(device)
                sample = device.read(now_unix_us)
                gpus += [device.gpu, *(each.gpu for each in instances)]
                samples += [sample, *(each.read(now_unix_us) for each in instances)]
                events += self._remap_events(device.gpu, sample)
            except GpuLost as error:
                self._misses_one = True
                problems.append(f"GPU {device.gpu.index} ({device.gpu.model}) is gone: {error}")
        for gpu in self._asleep:
            gpus.append(gpu)
            samples.append(_asleep(gpu, now_unix_us))
        events += self._events.read({gpu.gpu_id: gpu for gpu in (each.gpu for each in self._devices)})
        return DeviceReading(gpus=tuple(gpus), samples=tuple(samples), events=tuple(events), problems=tuple(problems))

    def _mig_instances(self, device: Device) -> list[Instance]:
        mode = device.ask("mig_mode", pynvml.nvmlDeviceGetMigMode)
        is_on = bool(mode and mode[0] == pynvml.NVML_DEVICE_MIG_ENABLE)
        if is_on != device.mig_is_on:
            device.ask = Asker(device.ask.handle)  # what is not supported differs with MIG on and off
            device.mig_is_on = is_on
        if not is_on:
            return []
        found = []
        for place in range(device.ask("mig_count", pynvml.nvmlDeviceGetMaxMigDeviceCount) or 0):
            try:
                handle = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(device.ask.handle, place)
                uuid = pynvml.nvmlDeviceGetUUID(handle)
            except pynvml.NVMLError as error:
                if error.value != pynvml.NVML_ERROR_NOT_FOUND:  # no instance in this place
                    device.ask.refused("mig_count", error)
                continue
            instance = self._instances.get(uuid)
            if instance is None:
                ask = Asker(handle)
                gpu = read_instance(ask, device.gpu)
                if gpu is None:
                    continue
                instance = self._instances[uuid] = Instance(gpu=gpu, ask=ask)
            instance.ask.handle = handle
            found.append(instance)
        return found

    def _remap_events(self, gpu: Gpu, sample: GpuSample) -> list[DeviceEvent]:
        """Tell when a row remap comes to wait for a reset, or fails."""
        now = (bool(sample.remap_pending), bool(sample.remap_failed))
        before = self._remaps.get(gpu.gpu_id, (False, False))
        self._remaps[gpu.gpu_id] = now
        place, events = f"GPU {gpu.index} ({gpu.model})", []
        if now[0] and not before[0]:
            text = f"{place}: a faulty memory row is to be remapped; reset the GPU to have it done"
            events.append(DeviceEvent(kind="gpu.ecc", gpu_id=gpu.gpu_id, message=text, data={"remap": "pending"}))
        if now[1] and not before[1]:
            text = f"{place}: remapping a faulty memory row failed; the GPU needs service"
            data = {"remap": "failed"}
            events.append(DeviceEvent(kind="gpu.ecc", gpu_id=gpu.gpu_id, message=text, level="critical", data=data))
        return events


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
