"""What the figures of a host are called, in our words and in those of NVIDIA's dcgm-exporter.

Our names are ``appliance_<kind>_<field>``, the fields' names being those of `appliance.devices` with their units, so
that a figure has one name in the API, in the history and here.

The others are those of dcgm-exporter's ``default-counters.csv`` (and, for ECC, power limit, fan and total memory, of
the fields that it can be told to export): https://github.com/NVIDIA/dcgm-exporter/blob/main/etc/default-counters.csv.
Left out is what nobody here reads: PCIe replays, NVLink bandwidth in its units, vGPU licences, profiling.
"""

from collections.abc import Callable, Sequence
from typing import Final

from attrs import frozen

from appliance.devices import GpuSample
from appliance.series.fields import GPU, HOST, KINDS, Fields

MIB: Final = 2**20
GAUGE: Final = "gauge"
COUNTER: Final = "counter"

Column = Sequence[float | None]
"""One figure of many devices."""


@frozen
class Family:
    """One figure of a kind of device."""

    name: str
    words: str
    kind: str
    field: str


_RENAMED: Final = {
    # The endings _count, _sum and _bucket belong to histograms.
    "process_count": "processes",
}

WORDS: Final = {
    "": {
        "cpu_percent": "Busy share of all processors.",
        "cpu_user_percent": "Share of processor time spent in programs.",
        "cpu_system_percent": "Share of processor time spent in the kernel.",
        "cpu_iowait_percent": "Share of processor time spent waiting for disks.",
        "cpu_load_1": "Load average over 1 minute.",
        "cpu_load_5": "Load average over 5 minutes.",
        "cpu_load_15": "Load average over 15 minutes.",
        "cpu_frequency_mhz": "Mean processor clock.",
        "cpu_temperature_celsius": "Processor temperature.",
        "cpu_count_logical": "Logical processors.",
        "cpu_count_physical": "Processor cores.",
        "memory_total_bytes": "Main memory.",
        "memory_used_bytes": "Main memory in use.",
        "memory_available_bytes": "Main memory that programs could still get.",
        "memory_percent": "Share of main memory in use.",
        "swap_total_bytes": "Swap space.",
        "swap_used_bytes": "Swap space in use.",
        "swap_percent": "Share of swap space in use.",
        "network_rx_bytes_total": "Bytes received by all interfaces.",
        "network_tx_bytes_total": "Bytes sent by all interfaces.",
        "process_count": "Processes.",
    },
    "gpu": {
        "vram_total_bytes": "GPU memory.",
        "vram_used_bytes": "GPU memory in use.",
        "vram_used_percent": "Share of GPU memory in use.",
        "utilization_percent": "Share of time in which the GPU had work.",
        "memory_bus_utilization_percent": "Share of time in which GPU memory was read or written.",
        "encoder_percent": "Video encoder utilisation.",
        "decoder_percent": "Video decoder utilisation.",
        "temperature_celsius": "GPU temperature.",
        "memory_temperature_celsius": "GPU memory temperature.",
        "fan_percent": "GPU fan speed, as a share of the greatest.",
        "power_watts": "Power drawn.",
        "power_limit_watts": "Power limit in force.",
        "energy_millijoules_total": "Energy used since the driver was loaded.",
        "clock_sm_mhz": "Clock of the GPU's cores.",
        "clock_memory_mhz": "Clock of the GPU's memory.",
        "pcie_rx_bytes_per_s": "Received over PCIe now.",
        "pcie_tx_bytes_per_s": "Sent over PCIe now.",
        "nvlink_rx_bytes_total": "Bytes received over NVLink.",
        "nvlink_tx_bytes_total": "Bytes sent over NVLink.",
        "ecc_corrected_total": "Corrected memory errors since the driver was loaded.",
        "ecc_uncorrected_total": "Uncorrected memory errors since the driver was loaded.",
    },
    "disk": {
        "read_bytes_total": "Bytes read.",
        "write_bytes_total": "Bytes written.",
        "read_count_total": "Reads completed.",
        "write_count_total": "Writes completed.",
        "busy_time_ms_total": "Milliseconds in which the disk had work.",
    },
    "network": {
        "rx_bytes_total": "Bytes received.",
        "tx_bytes_total": "Bytes sent.",
        "rx_errors_total": "Packets received broken or not at all.",
        "tx_errors_total": "Packets that could not be sent.",
    },
    "fan": {"speed_rpm": "Fan speed."},
}
"""What each figure is, by kind and field."""


def _families(kind: Fields, names: tuple[str, ...], type_: str) -> tuple[Family, ...]:
    prefix = f"appliance_{kind.prefix or 'host'}_"
    words = WORDS.get(kind.prefix, {})
    return tuple(Family(prefix + _RENAMED.get(name, name), words.get(name, f"{name}."), type_, name) for name in names)


GAUGES: Final = {kind.prefix: _families(kind, kind.gauges, GAUGE) for kind in (HOST, *KINDS)}
"""Families of each kind's gauges, in the order in which rows have them."""
COUNTERS: Final = {kind.prefix: _families(kind, kind.counters, COUNTER) for kind in (HOST, *KINDS)}
"""Families of each kind's counters, in the order in which rows have them."""


@frozen
class DcgmFamily:
    """One figure by dcgm-exporter's name, made of one or two of ours."""

    name: str
    words: str
    kind: str
    fields: tuple[str, ...]
    make: Callable[..., Column] | None = None
    """Makes the figures of the columns of ``fields``; the first column as it is when ``None``."""


def _mib(column: Column) -> Column:
    return [None if value is None else int(value) // MIB for value in column]


def _free_mib(total: Column, used: Column) -> Column:
    # Drivers may briefly report used > total while a process is torn down.
    pairs = zip(total, used, strict=True)
    return [None if all_ is None or some is None else max(0, int(all_) - int(some)) // MIB for all_, some in pairs]


DCGM: Final = (
    DcgmFamily("DCGM_FI_DEV_SM_CLOCK", "SM clock frequency (in MHz).", GAUGE, ("clock_sm_mhz",)),
    DcgmFamily("DCGM_FI_DEV_MEM_CLOCK", "Memory clock frequency (in MHz).", GAUGE, ("clock_memory_mhz",)),
    DcgmFamily("DCGM_FI_DEV_MEMORY_TEMP", "Memory temperature (in C).", GAUGE, ("memory_temperature_celsius",)),
    DcgmFamily("DCGM_FI_DEV_GPU_TEMP", "GPU temperature (in C).", GAUGE, ("temperature_celsius",)),
    DcgmFamily("DCGM_FI_DEV_POWER_USAGE", "Power draw (in W).", GAUGE, ("power_watts",)),
    DcgmFamily("DCGM_FI_DEV_POWER_MGMT_LIMIT", "Power limit in force (in W).", GAUGE, ("power_limit_watts",)),
    DcgmFamily(
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
        "Total energy consumption since boot (in mJ).",
        COUNTER,
        ("energy_millijoules_total",),
    ),
    DcgmFamily("DCGM_FI_DEV_GPU_UTIL", "GPU utilization (in %).", GAUGE, ("utilization_percent",)),
    DcgmFamily("DCGM_FI_DEV_MEM_COPY_UTIL", "Memory utilization (in %).", GAUGE, ("memory_bus_utilization_percent",)),
    DcgmFamily("DCGM_FI_DEV_ENC_UTIL", "Encoder utilization (in %).", GAUGE, ("encoder_percent",)),
    DcgmFamily("DCGM_FI_DEV_DEC_UTIL", "Decoder utilization (in %).", GAUGE, ("decoder_percent",)),
    DcgmFamily("DCGM_FI_DEV_FAN_SPEED", "Fan speed (in %).", GAUGE, ("fan_percent",)),
    DcgmFamily("DCGM_FI_DEV_FB_TOTAL", "Framebuffer memory (in MiB).", GAUGE, ("vram_total_bytes",), _mib),
    DcgmFamily(
        "DCGM_FI_DEV_FB_FREE",
        "Framebuffer memory free (in MiB).",
        GAUGE,
        ("vram_total_bytes", "vram_used_bytes"),
        _free_mib,
    ),
    DcgmFamily("DCGM_FI_DEV_FB_USED", "Framebuffer memory used (in MiB).", GAUGE, ("vram_used_bytes",), _mib),
    DcgmFamily(
        "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL",
        "Total number of single-bit volatile ECC errors.",
        COUNTER,
        ("ecc_corrected_total",),
    ),
    DcgmFamily(
        "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL",
        "Total number of double-bit volatile ECC errors.",
        COUNTER,
        ("ecc_uncorrected_total",),
    ),
)
"""Figures that every server's GPUs may have."""


@frozen
class LiveFamily:
    """A figure that is known of this host's own GPUs only, since no history of it is kept."""

    name: str
    words: str
    kind: str
    read: Callable[[GpuSample], float | None]


LIVE: Final = (
    LiveFamily("appliance_gpu_asleep", "Whether the GPU is suspended.", GAUGE, lambda gpu: gpu.asleep),
    LiveFamily(
        "appliance_gpu_pcie_link_generation", "PCIe generation in use.", GAUGE, lambda g: g.pcie_link_generation
    ),
    LiveFamily("appliance_gpu_pcie_link_width", "PCIe lanes in use.", GAUGE, lambda gpu: gpu.pcie_link_width),
    LiveFamily(
        "appliance_gpu_remapped_rows_corrected",
        "Memory rows remapped for corrected errors.",
        GAUGE,
        lambda gpu: gpu.remapped_rows_corrected,
    ),
    LiveFamily(
        "appliance_gpu_remapped_rows_uncorrected",
        "Memory rows remapped for uncorrected errors.",
        GAUGE,
        lambda gpu: gpu.remapped_rows_uncorrected,
    ),
    LiveFamily("appliance_gpu_remap_pending", "Whether a row waits for a reset.", GAUGE, lambda gpu: gpu.remap_pending),
    LiveFamily(
        "appliance_gpu_remap_failed", "Whether a row could not be remapped.", GAUGE, lambda gpu: gpu.remap_failed
    ),
    LiveFamily(
        "appliance_gpu_ecc_corrected_lifetime_total",
        "Corrected memory errors over the GPU's life.",
        COUNTER,
        lambda gpu: gpu.ecc_corrected_lifetime,
    ),
    LiveFamily(
        "appliance_gpu_ecc_uncorrected_lifetime_total",
        "Uncorrected memory errors over the GPU's life.",
        COUNTER,
        lambda gpu: gpu.ecc_uncorrected_lifetime,
    ),
)

DCGM_LIVE: Final = (
    LiveFamily(
        "DCGM_FI_DEV_ECC_SBE_AGG_TOTAL",
        "Total number of single-bit persistent ECC errors.",
        COUNTER,
        lambda gpu: gpu.ecc_corrected_lifetime,
    ),
    LiveFamily(
        "DCGM_FI_DEV_ECC_DBE_AGG_TOTAL",
        "Total number of double-bit persistent ECC errors.",
        COUNTER,
        lambda gpu: gpu.ecc_uncorrected_lifetime,
    ),
    LiveFamily(
        "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS",
        "Number of remapped rows for uncorrectable errors.",
        COUNTER,
        lambda gpu: gpu.remapped_rows_uncorrected,
    ),
    LiveFamily(
        "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS",
        "Number of remapped rows for correctable errors.",
        COUNTER,
        lambda gpu: gpu.remapped_rows_corrected,
    ),
    LiveFamily(
        "DCGM_FI_DEV_ROW_REMAP_FAILURE", "Whether remapping of rows has failed.", GAUGE, lambda g: g.remap_failed
    ),
)

GPU_FIELDS: Final = {name: place for place, name in enumerate((*GPU.gauges, *GPU.counters))}
"""Where each figure of a GPU is among its gauges and counters."""
