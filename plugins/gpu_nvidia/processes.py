"""Who uses a GPU: compute and graphics processes with their memory and share of the SMs."""

from typing import Any

import pynvml
from attrs import define, field

from appliance.plugin import GpuProcess

from .asking import Asker
from .words import MIG_PROCESS

NO_SAMPLE = "the driver took no sample of this process in this interval"
NO_MEMORY = "the driver has no memory figure for this process"


@define
class Processes:
    """Reads the processes of one device; keeps how far the driver's utilisation samples have been read."""

    is_instance: bool = False
    _seen_until_us: int = field(default=0, init=False)

    def read(self, ask: Asker) -> tuple[GpuProcess, ...] | None:
        """Return the processes, by pid; ``None`` when the driver does not list them."""
        compute = ask("processes", pynvml.nvmlDeviceGetComputeRunningProcesses)
        graphics = ask("graphics_processes", pynvml.nvmlDeviceGetGraphicsRunningProcesses)
        ask.missing.pop("graphics_processes", None)  # no field of ours; GPUs for computing have none
        if compute is None and graphics is None:
            return None
        ask.missing.pop("processes", None)
        found = {each.pid: ("graphics", each) for each in graphics or ()}
        found |= {each.pid: ("compute", each) for each in compute or ()}
        shares, why = self._shares(ask) if found else ({}, None)
        return tuple(
            self._process(pid, kind, each, shares.get(pid), why) for pid, (kind, each) in sorted(found.items())
        )

    def _process(self, pid: int, kind: str, each: Any, share: float | None, why: str | None) -> GpuProcess:
        missing = {}
        memory = each.usedGpuMemory
        if memory is None:
            missing["vram_used_bytes"] = NO_MEMORY
        if share is None:
            missing["sm_percent"] = why or NO_SAMPLE
        return GpuProcess(pid=pid, vram_used_bytes=memory, sm_percent=share, kind=kind, missing=missing)

    def _shares(self, ask: Asker) -> tuple[dict[int, float], str | None]:
        """Return the mean SM share by pid since the last pass, and why there is none."""
        if self.is_instance:
            return {}, MIG_PROCESS
        try:
            samples = pynvml.nvmlDeviceGetProcessUtilization(ask.handle, self._seen_until_us)
        except pynvml.NVMLError as error:
            if error.value == pynvml.NVML_ERROR_NOT_FOUND:  # nothing was busy since the last pass
                return {}, None
            ask.refused("sm_percent", error)
            return {}, ask.missing.pop("sm_percent")
        sums: dict[int, list[int]] = {}
        for sample in samples:
            if sample.smUtil <= 100:
                sums.setdefault(sample.pid, []).append(sample.smUtil)
            self._seen_until_us = max(self._seen_until_us, sample.timeStamp)
        return {pid: round(sum(values) / len(values), 1) for pid, values in sums.items()}, None
