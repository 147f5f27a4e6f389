"""Builds the scripted NVML library and writes its scripts."""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from attrs import define, field

SOURCES = Path(__file__).parent
FLAGS = [
    "-std=gnu11",
    "-O2",
    "-g",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-pedantic",
    "-shared",
    "-fPIC",
    "-fvisibility=hidden",
    "-pthread",
    "-Wl,-soname,libnvidia-ml.so.1",
]
VARIABLE = "NVML_SCRIPT"

H200: dict[str, Any] = {
    "name": "NVIDIA H200",
    "serial": "1654422001234",
    "vbios": "96.00.B7.00.01",
    "memory_total": 150754820096,
    "memory_used": 33501282304,
    "memory_reserved": 630194176,
    "utilization": 87,
    "memory_utilization": 41,
    "encoder": 0,
    "decoder": 0,
    "temperature": 61,
    "memory_temperature": 70,
    "power": 512300,
    "power_limit": 700000,
    "power_limit_max": 700000,
    "energy": "123456789",
    "clock_sm": 1980,
    "clock_memory": 3201,
    "clock_sm_max": 1980,
    "clock_memory_max": 3201,
    "pcie_generation": 5,
    "pcie_width": 16,
    "pcie_generation_max": 5,
    "pcie_width_max": 16,
    "pcie_rx": 1_000_000,
    "pcie_tx": 2_000_000,
    "nvlink_rx": 10,
    "nvlink_tx": 20,
    "ecc_corrected": 0,
    "ecc_uncorrected": 0,
    "ecc_corrected_lifetime": 3,
    "ecc_uncorrected_lifetime": 0,
    "rows_corrected": 0,
    "rows_uncorrected": 0,
    "remap_pending": 0,
    "remap_failed": 0,
    "throttle": 4,
    "pstate": 0,
    "compute_major": 9,
    "compute_minor": 0,
    "mig_mode": 0,
}
"""An H200 at work: no fan, power capped."""


def compiler() -> str | None:
    """Return the C compiler of this machine, ``None`` when there is none."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def build(folder: Path) -> Path:
    """Compile the library into ``folder`` and return its path; warnings are errors."""
    target = folder / "libnvidia-ml.so.1"
    found = compiler()
    assert found, "the scripted NVML library needs a C compiler"
    sources = [str(path) for path in sorted(SOURCES.glob("*.c"))]
    subprocess.run([found, *FLAGS, "-o", str(target), *sources, "-lm"], check=True)
    return target


def load(library: Path) -> None:
    """Load the library into this process, so that nvidia-ml-py finds it by its name."""
    ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


def uuid_of(index: int) -> str:
    """Return the uuid of the GPU that `gpu` writes for ``index``."""
    return f"GPU-00000000-0000-4000-8000-{index:012d}"


def pci_of(index: int) -> str:
    """Return the PCI address of the GPU that `gpu` writes for ``index``, as NVML spells it."""
    return f"00000000:{0x1B + index:02X}:00.0"


def gpu(index: int = 0, *lines: str, **figures: Any) -> list[str]:
    """Return the lines of one H200; a figure of ``None`` is one that it does not support."""
    said = {"pci": pci_of(index)} | H200 | figures
    return [
        f"gpu {uuid_of(index)}",
        *(f"  {name} {value}" for name, value in said.items() if value is not None),
        *(f"  {line}" for line in lines),
    ]


@define
class Script:
    """The script file of one test."""

    path: Path
    generation: int = 1
    head: list[str] = field(factory=lambda: ["driver 580.82.07", "library 13.580.82.07"])
    _version: int = field(default=0, init=False)

    def write(self, *parts: list[str] | str) -> None:
        """Say what the driver has now; in force from the next call on."""
        lines = [*self.head, f"generation {self.generation}"]
        for part in parts:
            lines += [part] if isinstance(part, str) else part
        # The size tells versions apart where the file system's clock is too coarse to.
        self._version += 1
        lines.append("#" * self._version)
        fresh = self.path.with_suffix(".new")
        fresh.write_text("\n".join(lines) + "\n", encoding="ascii")
        os.replace(fresh, self.path)
