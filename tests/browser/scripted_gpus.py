"""A plugin that is dropped into an appliance under test: three GPUs that move, hostile names, two panels.

It knows only the public contract. A file ``no-gpu`` beside it takes the driver
away, a file ``xid`` makes one XID happen.
"""

import os
from pathlib import Path

from attrs import define, field

from appliance.plugin import (
    Core,
    DeviceEvent,
    DeviceReading,
    DeviceUnavailable,
    Gpu,
    GpuProcess,
    GpuSample,
    Host,
    Panel,
    PanelContent,
    PanelRow,
    Parts,
    hookimpl,
)

appliance_api = 1
HOSTILE = "<script>document.title='broken-into'</script><img src=x onerror=alert(1)>"
GIB = 2**30
MODEL = "Scripted H200"


def _gpu(index: int) -> Gpu:
    return Gpu(
        gpu_id=f"GPU-{index}",
        index=index,
        vendor="nvidia",
        model=MODEL,
        vram_total_bytes=141 * GIB,
        driver_version="1.0",
    )


MIG = Gpu(
    gpu_id="MIG-1",
    index=0,
    vendor="nvidia",
    model=f"{MODEL} MIG 1g.18gb",
    vram_total_bytes=18 * GIB,
    parent_gpu_id="GPU-1",
    mig_profile="1g.18gb",
)


@define
class Scripted:
    """A backend whose readings change with every pass."""

    name: str = "scripted"
    passes: int = field(default=0, init=False)

    def open(self) -> str:
        if Path(__file__).with_name("no-gpu").exists():
            raise DeviceUnavailable("the scripted driver is not loaded", hint="remove the file no-gpu")
        return "driver 1.0, 3 GPUs"

    def read(self, now_unix_us: int) -> DeviceReading:
        self.passes += 1
        happened = Path(__file__).with_name("xid")
        events: tuple[DeviceEvent, ...] = ()
        if happened.exists():
            happened.unlink()
            events = (DeviceEvent(kind="gpu.xid", gpu_id="GPU-0", message=f"XID 79 {HOSTILE}", level="critical"),)
        return DeviceReading(gpus=(_gpu(0), _gpu(1), MIG, _gpu(2)), samples=self._samples(now_unix_us), events=events)

    def _samples(self, now: int) -> tuple[GpuSample, ...]:
        busy = GpuSample(
            gpu_id="GPU-0",
            gpu_index=0,
            model=MODEL,
            taken_at_unix_us=now,
            vram_total_bytes=141 * GIB,
            vram_used_bytes=31 * GIB,
            utilization_percent=float(20 + self.passes * 7 % 70),
            temperature_celsius=61.0,
            power_watts=500.0 + self.passes % 50,
            power_limit_watts=700.0,
            clock_sm_mhz=1980.0,
            clock_memory_mhz=3201.0,
            throttle_reasons=("power cap",),
            processes=(
                GpuProcess(pid=5_000_001, command=f"python {HOSTILE}", vram_used_bytes=31 * GIB, sm_percent=87.0),
            ),
            missing={"fan_percent": f"this GPU has no fan {HOSTILE}"},
        )
        parted = GpuSample(
            gpu_id="GPU-1",
            gpu_index=1,
            model=MODEL,
            taken_at_unix_us=now,
            vram_total_bytes=141 * GIB,
            vram_used_bytes=9 * GIB,
            power_watts=300.0,
            power_limit_watts=700.0,
            temperature_celsius=50.0,
            processes=(),
            missing={"utilization_percent": "MIG is on: the driver has no figure for the whole GPU"},
        )
        instance = GpuSample(
            gpu_id="MIG-1",
            gpu_index=0,
            model=MIG.model,
            taken_at_unix_us=now,
            vram_total_bytes=18 * GIB,
            vram_used_bytes=9 * GIB,
            processes=(
                GpuProcess(
                    pid=os.getpid(),
                    vram_used_bytes=9 * GIB,
                    missing={"sm_percent": "MIG: the driver has no per-process figure"},
                ),
            ),
            missing={"utilization_percent": "MIG: the driver has no figure per instance"},
        )
        asleep = GpuSample(gpu_id="GPU-2", gpu_index=2, model=MODEL, taken_at_unix_us=now, asleep=True)
        return busy, parted, instance, asleep

    def close(self) -> None:
        """Nothing is held."""


@hookimpl
def appliance_device_backends(host: Host) -> list[Scripted]:
    """Offer the scripted GPUs."""
    return [Scripted()]


@hookimpl
def appliance_setup(core: Core) -> Parts:
    """Add one panel that works and one that does not."""

    def works() -> PanelContent:
        return PanelContent(
            rows=[PanelRow(label="fan 1", value=f"1200 rpm {HOSTILE}", percent=40.0)], note="from the test"
        )

    def fails() -> PanelContent:
        raise ValueError("the sensor is unplugged")

    return Parts(
        panels=[Panel(name="works", title="Fan curve", read=works), Panel(name="fails", title="Broken", read=fails)]
    )
