"""AMD's library (amdsmi), where it loads: for what the kernel's files do not tell.

It is tried in a child process first, because it can end the process or print to standard output when its version
and the driver's differ; the host's own copy comes before the bundled one for the same reason.
"""

import contextlib
import importlib
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Final

from attrs import define, field

from appliance.plugin import Host

PROBE: Final = "import sys; sys.path[:0] = sys.argv[1:]; import amdsmi; amdsmi.amdsmi_init(); amdsmi.amdsmi_shut_down()"
PROBE_SECONDS: Final = 20.0
NOT_REPORTED: Final = (None, "", "N/A")


def candidates(host: Host) -> Iterator[str]:
    """Yield folders to find the module in: the host's own first; an empty one is our own search path."""
    for root in dict.fromkeys([host.environment.get("ROCM_PATH", ""), "/opt/rocm"]):
        if root and host.path(f"{root}/share/amd_smi/amdsmi").is_dir():
            yield str(host.path(f"{root}/share/amd_smi"))
    yield ""


def probe(folder: str) -> bool:
    """Whether the module in ``folder`` imports and initialises, tried in a child process."""
    paths = [folder] if folder else []
    # Inside one file the bundled copy is on sys.path only of this process, so the child is told.
    paths += [path for path in sys.path if path]
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", PROBE, *paths],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def load(host: Host, works: Callable[[str], bool] = probe) -> ModuleType | None:
    """Return the module from the first place where it works, ``None`` when there is none."""
    for folder in candidates(host):
        module = _import(folder) if works(folder) else None
        if module is not None:
            return module
    return None


def _import(folder: str) -> ModuleType | None:
    if folder:
        sys.path.insert(0, folder)
    try:
        # It prints when it finds no library, and raises KeyError or AttributeError rather than ImportError.
        with contextlib.redirect_stdout(io.StringIO()):
            return importlib.import_module("amdsmi")
    except Exception:
        return None
    finally:
        if folder:
            sys.path.remove(folder)


@define
class Smi:
    """An initialised amdsmi; values by PCI address."""

    module: Any
    _handles: dict[str, Any] = field(factory=dict, init=False)

    def open(self) -> None:
        """Initialise the library and find the handle of every GPU."""
        self.module.amdsmi_init()
        self._handles = {}
        for handle in self.module.amdsmi_get_processor_handles():
            address = self._ask(self.module.amdsmi_get_gpu_device_bdf, handle)
            if isinstance(address, str):
                self._handles[address.lower()] = handle

    def close(self) -> None:
        """Let go of the library."""
        self._handles = {}
        with contextlib.suppress(Exception):
            self.module.amdsmi_shut_down()

    def identity(self, address: str) -> dict[str, Any]:
        """Return fields of `Gpu` for one GPU."""
        handle = self._handles.get(address)
        if handle is None:
            return {}
        asic = self._asked(self.module.amdsmi_get_gpu_asic_info, handle)
        board = self._asked(self.module.amdsmi_get_gpu_board_info, handle)
        driver = self._asked(self.module.amdsmi_get_gpu_driver_info, handle)
        return _known(
            {
                "model": asic.get("market_name") or board.get("product_name"),
                "serial": board.get("product_serial"),
                "driver_version": driver.get("driver_version"),
            }
        )

    def read(self, address: str) -> dict[str, Any]:
        """Return fields of `GpuSample` for one GPU; only those that it reports."""
        handle = self._handles.get(address)
        if handle is None:
            return {}
        sdk = self.module
        use = self._asked(sdk.amdsmi_get_gpu_activity, handle)
        power = self._asked(sdk.amdsmi_get_power_info, handle)
        errors = self._asked(sdk.amdsmi_get_gpu_total_ecc_count, handle)
        kinds, now = sdk.AmdSmiTemperatureType, sdk.AmdSmiTemperatureMetric.CURRENT
        return _known(
            {
                "utilization_percent": _percent(use.get("gfx_activity")),
                "memory_bus_utilization_percent": _percent(use.get("umc_activity")),
                "power_watts": _first(power, "current_socket_power", "average_socket_power", "socket_power"),
                "energy_millijoules_total": _energy(self._asked(sdk.amdsmi_get_energy_count, handle)),
                "temperature_celsius": _number(self._ask(sdk.amdsmi_get_temp_metric, handle, kinds.HOTSPOT, now)),
                "memory_temperature_celsius": _number(self._ask(sdk.amdsmi_get_temp_metric, handle, kinds.VRAM, now)),
                "clock_sm_mhz": self._clock(handle, sdk.AmdSmiClkType.GFX),
                "clock_memory_mhz": self._clock(handle, sdk.AmdSmiClkType.MEM),
                "ecc_corrected_total": _count(errors.get("correctable_count")),
                "ecc_uncorrected_total": _count(errors.get("uncorrectable_count")),
                "throttle_reasons": self._throttle_reasons(handle),
            }
        )

    def _clock(self, handle: Any, kind: Any) -> float | None:
        return _number(self._asked(self.module.amdsmi_get_clock_info, handle, kind).get("clk"))

    def _throttle_reasons(self, handle: Any) -> tuple[str, ...] | None:
        found = self._asked(self.module.amdsmi_get_violation_status, handle)
        words = {
            "active_ppt_pwr": "power cap",
            "active_socket_thrm": "thermal, socket",
            "active_hbm_thrm": "thermal, memory",
            "active_vr_thrm": "thermal, voltage regulator",
            "active_prochot_thrm": "thermal, hardware",
        }
        if not any(isinstance(found.get(name), bool) for name in words):
            return None
        return tuple(text for name, text in words.items() if found.get(name) is True)

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception:  # its exceptions differ between versions; a value it cannot give is one we do not have
            return None

    def _asked(self, function: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        found = self._ask(function, *arguments)
        return found if isinstance(found, dict) else {}


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in NOT_REPORTED}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _percent(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and 0 <= number <= 100 else None


def _first(values: dict[str, Any], *names: str) -> float | None:
    for name in names:
        number = _number(values.get(name))
        if number:  # a chip reports one of them and zero for the others
            return number
    return None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and 0 <= value < 2**63 else None


def _energy(found: dict[str, Any]) -> int | None:
    """Return millijoules from the accumulator, which counts in ``counter_resolution`` microjoules."""
    steps, microjoules = _number(found.get("energy_accumulator")), _number(found.get("counter_resolution"))
    return None if steps is None or not microjoules else int(steps * microjoules / 1000)
