"""What does not change about a GPU while the driver is open; asked once."""

import re
from typing import Any

import pynvml

from appliance.plugin import Gpu

from .asking import Asker

MIG_PROFILE = re.compile(r"MIG (\S+)")


def read_gpu(ask: Asker, index: int, driver_version: str) -> Gpu | None:
    """Return the identity of a physical GPU; ``None`` when not even its uuid can be had."""
    uuid = ask("gpu_id", pynvml.nvmlDeviceGetUUID)
    if not uuid:
        return None
    memory = ask("vram_total_bytes", pynvml.nvmlDeviceGetMemoryInfo)
    pci = ask("pci_address", pynvml.nvmlDeviceGetPciInfo)
    limits = ask("power_limit_max_watts", pynvml.nvmlDeviceGetPowerManagementLimitConstraints)
    capability = ask("compute_capability", pynvml.nvmlDeviceGetCudaComputeCapability)
    return Gpu(
        gpu_id=uuid,
        index=index,
        vendor="nvidia",
        model=ask("model", pynvml.nvmlDeviceGetName) or "NVIDIA GPU",
        vram_total_bytes=memory.total if memory else None,
        driver_version=driver_version,
        pci_address=_text(pci.busId) if pci else None,
        serial=ask("serial", pynvml.nvmlDeviceGetSerial),
        vbios_version=ask("vbios_version", pynvml.nvmlDeviceGetVbiosVersion),
        compute_capability=f"{capability[0]}.{capability[1]}" if capability else None,
        power_limit_max_watts=limits[1] / 1000 if limits else None,
        clock_sm_max_mhz=_float(ask("clock_sm_max_mhz", pynvml.nvmlDeviceGetMaxClockInfo, pynvml.NVML_CLOCK_SM)),
        clock_memory_max_mhz=_float(
            ask("clock_memory_max_mhz", pynvml.nvmlDeviceGetMaxClockInfo, pynvml.NVML_CLOCK_MEM)
        ),
        pcie_link_generation_max=ask("pcie_link_generation_max", pynvml.nvmlDeviceGetMaxPcieLinkGeneration),
        pcie_link_width_max=ask("pcie_link_width_max", pynvml.nvmlDeviceGetMaxPcieLinkWidth),
    )


def read_instance(ask: Asker, parent: Gpu) -> Gpu | None:
    """Return the identity of a MIG instance of ``parent``."""
    uuid = ask("gpu_id", pynvml.nvmlDeviceGetUUID)
    if not uuid:
        return None
    name = ask("model", pynvml.nvmlDeviceGetName) or parent.model
    memory = ask("vram_total_bytes", pynvml.nvmlDeviceGetMemoryInfo)
    profile = MIG_PROFILE.search(name)
    return Gpu(
        gpu_id=uuid,
        index=parent.index,
        vendor="nvidia",
        model=name,
        vram_total_bytes=memory.total if memory else None,
        driver_version=parent.driver_version,
        pci_address=parent.pci_address,
        parent_gpu_id=parent.gpu_id,
        mig_profile=profile[1] if profile else None,
        compute_capability=parent.compute_capability,
    )


def _text(value: Any) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


def _float(value: int | None) -> float | None:
    return None if value is None else float(value)
