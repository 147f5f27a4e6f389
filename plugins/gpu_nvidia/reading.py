"""One reading of one GPU or MIG instance."""

from typing import Any, Final

import pynvml
from attrs import define, field

from appliance.plugin import Gpu, GpuSample

from .asking import Asker
from .processes import Processes
from .words import MIG_PARENT, MIG_SHARED, MIG_UTILIZATION, NOT_SUPPORTED, PCIE, throttle_reasons

ALL_LINKS: Final = 0xFFFFFFFF
FIELDS: Final = (
    ("memory_temperature_celsius", pynvml.NVML_FI_DEV_MEMORY_TEMP),
    ("nvlink_rx_bytes_total", (pynvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX, ALL_LINKS)),
    ("nvlink_tx_bytes_total", (pynvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX, ALL_LINKS)),
    ("pcie_rx_bytes_per_s", pynvml.NVML_FI_DEV_PCIE_COUNT_RX_BYTES),
    ("pcie_tx_bytes_per_s", pynvml.NVML_FI_DEV_PCIE_COUNT_TX_BYTES),
)
"""Asked for in one call; the two of PCIe are byte counters, and become rates here."""

OF_THE_WHOLE_GPU: Final = [
    "temperature_celsius",
    "memory_temperature_celsius",
    "fan_percent",
    "power_watts",
    "power_limit_watts",
    "energy_millijoules_total",
    "clock_sm_mhz",
    "clock_memory_mhz",
    "pcie_rx_bytes_per_s",
    "pcie_tx_bytes_per_s",
    "nvlink_rx_bytes_total",
    "nvlink_tx_bytes_total",
    "ecc_corrected_total",
    "ecc_uncorrected_total",
    "throttle_reasons",
]


def _value(found: Any) -> float | int | None:
    """Return the member of NVML's union that ``valueType`` names."""
    members = {
        pynvml.NVML_VALUE_TYPE_DOUBLE: "dVal",
        pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
        pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
        pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
        pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
        pynvml.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
        pynvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: "usVal",
    }
    member = members.get(found.valueType)
    return getattr(found.value, member) if member else None


@define
class Device:
    """One physical GPU as it is read again and again."""

    gpu: Gpu
    ask: Asker
    mig_is_on: bool = False
    _processes: Processes = field(factory=Processes, init=False)
    _pcie: dict[str, tuple[int, int]] = field(factory=dict, init=False)

    def read(self, now_unix_us: int) -> GpuSample:
        """Read everything; raises `GpuLost` or `DriverGone`."""
        ask = self.ask
        ask.missing = {}
        values = self._use() | self._power_and_heat() | self._faults() | self._fields(now_unix_us)
        if self.mig_is_on:
            processes = None
            ask.missing["processes"] = MIG_PARENT
            if values["utilization_percent"] is None:
                ask.missing["utilization_percent"] = MIG_UTILIZATION
        else:
            processes = self._processes.read(ask)
        state = ask("performance_state", pynvml.nvmlDeviceGetPerformanceState)
        return GpuSample(
            gpu_id=self.gpu.gpu_id,
            gpu_index=self.gpu.index,
            model=self.gpu.model,
            taken_at_unix_us=now_unix_us,
            performance_state=f"P{state}" if state is not None and state < 32 else None,
            processes=processes,
            missing=ask.missing,
            **values,
        )

    def _use(self) -> dict[str, Any]:
        ask = self.ask
        used = ask("utilization_percent", pynvml.nvmlDeviceGetUtilizationRates)
        if used is None:
            ask.missing["memory_bus_utilization_percent"] = ask.missing["utilization_percent"]
        encoder = ask("encoder_percent", pynvml.nvmlDeviceGetEncoderUtilization)
        decoder = ask("decoder_percent", pynvml.nvmlDeviceGetDecoderUtilization)
        return read_memory(ask) | {
            "utilization_percent": float(used.gpu) if used else None,
            "memory_bus_utilization_percent": float(used.memory) if used else None,
            "encoder_percent": float(encoder[0]) if encoder else None,
            "decoder_percent": float(decoder[0]) if decoder else None,
            "clock_sm_mhz": _float(ask("clock_sm_mhz", pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_SM)),
            "clock_memory_mhz": _float(ask("clock_memory_mhz", pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_MEM)),
            "pcie_link_generation": ask("pcie_link_generation", pynvml.nvmlDeviceGetCurrPcieLinkGeneration),
            "pcie_link_width": ask("pcie_link_width", pynvml.nvmlDeviceGetCurrPcieLinkWidth),
        }

    def _power_and_heat(self) -> dict[str, Any]:
        ask = self.ask
        watts = ask("power_watts", pynvml.nvmlDeviceGetPowerUsage)
        limit = ask("power_limit_watts", pynvml.nvmlDeviceGetEnforcedPowerLimit)
        heat = ask("temperature_celsius", pynvml.nvmlDeviceGetTemperature, pynvml.NVML_TEMPERATURE_GPU)
        fan = ask("fan_percent", pynvml.nvmlDeviceGetFanSpeed)
        if ask.missing.get("fan_percent") == NOT_SUPPORTED:
            ask.missing["fan_percent"] = "this GPU has no fan of its own"
        return {
            "power_watts": watts / 1000 if watts is not None else None,
            "power_limit_watts": limit / 1000 if limit is not None else None,
            "energy_millijoules_total": ask("energy_millijoules_total", pynvml.nvmlDeviceGetTotalEnergyConsumption),
            "temperature_celsius": _float(heat),
            "fan_percent": _float(fan),
        }

    def _faults(self) -> dict[str, Any]:
        ask = self.ask
        bits = ask("throttle_reasons", _throttle_bits)
        rows = ask("remapped_rows_corrected", pynvml.nvmlDeviceGetRemappedRows)
        if rows is None:
            why = ask.missing["remapped_rows_corrected"]
            ask.missing |= dict.fromkeys(("remapped_rows_uncorrected", "remap_pending", "remap_failed"), why)
        return {
            "throttle_reasons": throttle_reasons(bits) if bits is not None else None,
            "remapped_rows_corrected": rows[0] if rows else None,
            "remapped_rows_uncorrected": rows[1] if rows else None,
            "remap_pending": bool(rows[2]) if rows else None,
            "remap_failed": bool(rows[3]) if rows else None,
            "ecc_corrected_total": self._ecc("ecc_corrected_total", 0, pynvml.NVML_VOLATILE_ECC),
            "ecc_uncorrected_total": self._ecc("ecc_uncorrected_total", 1, pynvml.NVML_VOLATILE_ECC),
            "ecc_corrected_lifetime": self._ecc("ecc_corrected_lifetime", 0, pynvml.NVML_AGGREGATE_ECC),
            "ecc_uncorrected_lifetime": self._ecc("ecc_uncorrected_lifetime", 1, pynvml.NVML_AGGREGATE_ECC),
        }

    def _ecc(self, name: str, kind: int, span: int) -> int | None:
        found: int | None = self.ask(name, pynvml.nvmlDeviceGetTotalEccErrors, kind, span)
        if self.ask.missing.get(name) == NOT_SUPPORTED:
            self.ask.missing[name] = "this GPU has no ECC, or it is switched off"
        return found

    def _fields(self, now_unix_us: int) -> dict[str, Any]:
        wanted = [(name, code) for name, code in FIELDS if self.ask.supports(name)]
        values: dict[str, Any] = {name: None for name, _ in FIELDS}
        if wanted:
            found = self.ask("fields", pynvml.nvmlDeviceGetFieldValues, [code for _, code in wanted])
            why = self.ask.missing.pop("fields", None)
            if found is None:
                self.ask.missing |= {name: why or NOT_SUPPORTED for name, _ in wanted}
            for (name, _), each in zip(wanted, found or (), strict=False):
                self.ask.code(name, each.nvmlReturn)
                if each.nvmlReturn == pynvml.NVML_SUCCESS:
                    values[name] = self._field(name, _value(each), now_unix_us)
        for name in ("pcie_rx_bytes_per_s", "pcie_tx_bytes_per_s"):
            if self.ask.missing.get(name) == NOT_SUPPORTED:
                self.ask.missing[name] = PCIE
        return values

    def _field(self, name: str, value: float | None, now_unix_us: int) -> float | None:
        if value is None:
            return None
        if name.startswith("nvlink"):
            return int(value) * 1024  # the driver counts KiB
        if not name.startswith("pcie"):
            return float(value)
        total = int(value)
        before = self._pcie.get(name)
        self._pcie[name] = (total, now_unix_us)
        if before is None or total < before[0] or now_unix_us <= before[1]:
            return None  # the first reading, or the driver's counter ran over
        return (total - before[0]) * 1_000_000 / (now_unix_us - before[1])


@define
class Instance:
    """One MIG instance as it is read again and again."""

    gpu: Gpu
    ask: Asker
    _processes: Processes = field(factory=lambda: Processes(is_instance=True), init=False)

    def read(self, now_unix_us: int) -> GpuSample:
        """Read what the driver has for an instance: memory and processes."""
        self.ask.missing = dict.fromkeys(OF_THE_WHOLE_GPU, MIG_SHARED)
        self.ask.missing |= dict.fromkeys(
            ("utilization_percent", "memory_bus_utilization_percent", "encoder_percent", "decoder_percent"),
            MIG_UTILIZATION,
        )
        return GpuSample(
            gpu_id=self.gpu.gpu_id,
            gpu_index=self.gpu.index,
            model=self.gpu.model,
            taken_at_unix_us=now_unix_us,
            processes=self._processes.read(self.ask),
            missing=self.ask.missing,
            **read_memory(self.ask),
        )


def read_memory(ask: Asker) -> dict[str, Any]:
    """Return total and used memory as `nvidia-smi` counts them: what the driver reserves is not used."""
    memory = ask("vram_used_bytes", pynvml.nvmlDeviceGetMemoryInfo, pynvml.nvmlMemory_v2)
    if memory is None:  # drivers before R510
        memory = ask("vram_total_bytes", pynvml.nvmlDeviceGetMemoryInfo)
        if memory is not None:
            ask.missing.pop("vram_used_bytes", None)
    return {
        "vram_total_bytes": memory.total if memory else None,
        "vram_used_bytes": memory.used if memory else None,
    }


def _throttle_bits(handle: Any) -> int:
    try:
        return int(pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle))
    except pynvml.NVMLError as error:
        if error.value != pynvml.NVML_ERROR_FUNCTION_NOT_FOUND:
            raise
        return int(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))  # drivers before R535


def _float(value: int | None) -> float | None:
    return None if value is None else float(value)
