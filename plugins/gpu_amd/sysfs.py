"""AMD GPUs through sysfs and hwmon, as the amdgpu driver documents them (kernel.org, gpu/amdgpu)."""

import re
from pathlib import Path
from typing import Any, Final

from attrs import define, field

from appliance.plugin import Gpu, Host

from .files import names, number, text

AMD: Final = "0x1002"
ADDRESS: Final = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9a-f]")
DISPLAY_CLASSES: Final = ("0x0300", "0x0302", "0x0380", "0x1200")
ACTIVE_CLOCK: Final = re.compile(r"^\s*\S+:\s*(\d{1,6})Mhz\s*\*", re.IGNORECASE | re.MULTILINE)
ANY_CLOCK: Final = re.compile(r"^\s*\S+:\s*(\d{1,6})Mhz", re.IGNORECASE | re.MULTILINE)
ERRORS: Final = re.compile(r"^(ue|ce):\s*(\d{1,18})", re.MULTILINE)
SPEED: Final = re.compile(r"(\d{1,3}(?:\.\d)?) GT/s")
GENERATIONS: Final = {2.5: 1, 5.0: 2, 8.0: 3, 16.0: 4, 32.0: 5, 64.0: 6}

NOT_REPORTED: Final = "the amdgpu driver does not report it for this GPU"
FIGURES: Final = (
    "vram_total_bytes vram_used_bytes utilization_percent memory_bus_utilization_percent temperature_celsius "
    "memory_temperature_celsius fan_percent power_watts power_limit_watts clock_sm_mhz clock_memory_mhz "
    "ecc_corrected_total ecc_uncorrected_total pcie_link_generation pcie_link_width"
)


def addresses(host: Host) -> list[str]:
    """Return the PCI addresses of AMD's display and compute devices."""
    root = host.path("/sys/bus/pci/devices")
    found = [name for name in names(root) if ADDRESS.fullmatch(name) and text(root / name / "vendor") == AMD]
    return [name for name in found if (text(root / name / "class") or "")[:6] in DISPLAY_CLASSES]


@define
class Card:
    """One GPU's folder in sysfs."""

    folder: Path
    address: str
    index: int
    _hwmon: Path | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        monitors = names(self.folder / "hwmon")
        self._hwmon = self.folder / "hwmon" / monitors[0] if monitors else None

    @property
    def is_driven(self) -> bool:
        """Whether the amdgpu driver has this device."""
        return number(self.folder / "mem_info_vram_total") is not None

    @property
    def is_asleep(self) -> bool:
        """Whether it is in runtime suspend; reading this does not wake it, reading anything below would."""
        return text(self.folder / "power" / "runtime_status") == "suspended"

    def identity(self, driver_version: str | None) -> Gpu:
        """Return what does not change; wakes a sleeping GPU no more than its static files do."""
        unique = text(self.folder / "unique_id")
        usable = unique is not None and re.fullmatch(r"[0-9a-f]{16}", unique) and int(unique, 16)
        device = (text(self.folder / "device") or "").removeprefix("0x")
        return Gpu(
            gpu_id=f"AMD-{unique}" if usable else f"AMD-{self.address}",
            index=self.index,
            vendor="amd",
            model=text(self.folder / "product_name") or f"AMD GPU (device {device or 'unknown'})",
            vram_total_bytes=number(self.folder / "mem_info_vram_total"),
            driver_version=driver_version,
            pci_address=self.address,
            serial=text(self.folder / "serial_number"),
            vbios_version=text(self.folder / "vbios_version"),
            power_limit_max_watts=_scaled(self._monitor("power1_cap_max"), 1_000_000),
            clock_sm_max_mhz=_highest(text(self.folder / "pp_dpm_sclk")),
            clock_memory_max_mhz=_highest(text(self.folder / "pp_dpm_mclk")),
            pcie_link_generation_max=_generation(text(self.folder / "max_link_speed")),
            pcie_link_width_max=number(self.folder / "max_link_width"),
        )

    def read(self) -> dict[str, Any]:
        """Return the fields of a sample that sysfs has; ``None`` where it has none."""
        heat = self._temperatures()
        errors = self._errors()
        watts = self._monitor("power1_average")
        if watts is None:
            watts = self._monitor("power1_input")  # newer chips report the moment, not the mean
        return {
            "vram_total_bytes": number(self.folder / "mem_info_vram_total"),
            "vram_used_bytes": number(self.folder / "mem_info_vram_used"),
            "utilization_percent": _percent(number(self.folder / "gpu_busy_percent")),
            "memory_bus_utilization_percent": _percent(number(self.folder / "mem_busy_percent")),
            "temperature_celsius": heat.get("edge", heat.get("junction")),
            "memory_temperature_celsius": heat.get("mem"),
            "fan_percent": self._fan_percent(),
            "power_watts": _scaled(watts, 1_000_000),
            "power_limit_watts": _scaled(self._monitor("power1_cap"), 1_000_000),
            "clock_sm_mhz": _active(text(self.folder / "pp_dpm_sclk")) or _scaled(self._monitor("freq1_input"), 1e6),
            "clock_memory_mhz": _active(text(self.folder / "pp_dpm_mclk"))
            or _scaled(self._monitor("freq2_input"), 1e6),
            "ecc_corrected_total": errors.get("ce"),
            "ecc_uncorrected_total": errors.get("ue"),
            "pcie_link_generation": _generation(text(self.folder / "current_link_speed")),
            "pcie_link_width": number(self.folder / "current_link_width"),
        }

    def _monitor(self, name: str) -> int | None:
        return number(self._hwmon / name) if self._hwmon else None

    def _temperatures(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for place in (1, 2, 3):
            value = self._monitor(f"temp{place}_input")
            label = text(self._hwmon / f"temp{place}_label") if self._hwmon else None
            if value is not None and -100_000 < value < 250_000:
                found[label or ("edge" if place == 1 else f"temp{place}")] = value / 1000
        return found

    def _fan_percent(self) -> float | None:
        speed, most = self._monitor("fan1_input"), self._monitor("fan1_max")
        if speed is not None and most:
            return round(min(100.0, speed * 100 / most), 1)
        drive = self._monitor("pwm1")
        return None if drive is None else round(min(100.0, drive * 100 / 255), 1)

    def _errors(self) -> dict[str, int]:
        """Return corrected and uncorrected errors of all blocks together."""
        sums: dict[str, int] = {}
        for name in names(self.folder / "ras"):
            if name.endswith("_err_count"):
                for kind, count in ERRORS.findall(text(self.folder / "ras" / name) or ""):
                    sums[kind] = sums.get(kind, 0) + int(count)
        return sums


def _percent(value: int | None) -> float | None:
    return float(value) if value is not None and 0 <= value <= 100 else None


def _scaled(value: int | None, divisor: float) -> float | None:
    return None if value is None else value / divisor


def _active(table: str | None) -> float | None:
    found = ACTIVE_CLOCK.search(table or "")
    return float(found[1]) if found else None


def _highest(table: str | None) -> float | None:
    clocks = [float(clock) for clock in ANY_CLOCK.findall(table or "")]
    return max(clocks) if clocks else None


def _generation(speed: str | None) -> int | None:
    found = SPEED.match(speed or "")
    return GENERATIONS.get(float(found[1])) if found else None
