"""What is known of a host and its GPUs: identities and readings, as every backend and reader shares them.

``None`` always means "not reported"; it never means zero. Fields made with `gauge` or `counter` are the ones that
become time series; everything else is identity or live-only detail.
"""

from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

SERIES: Final = "series"
"""Key of the attrs metadata that marks a field as a time series: ``"gauge"`` or ``"counter"``."""


def gauge(**options: Any) -> Any:
    """Declare a float that is charted as it is; ``None`` when not reported."""
    return field(default=None, metadata={SERIES: "gauge"}, **options)


def counter(**options: Any) -> Any:
    """Declare a running integer total since boot, of which rates are derived; ``None`` when not reported."""
    return field(default=None, metadata={SERIES: "counter"}, **options)


@frozen(kw_only=True)
class Gpu:
    """One accelerator, or one MIG instance of one, by what never changes while it is there."""

    gpu_id: str
    """The driver's uuid (``GPU-...``, ``MIG-...``); for AMD ``AMD-`` and the chip's unique id, else the PCI address."""
    index: int
    """The driver's own order at the time of reading; never an identity."""
    vendor: str
    """``nvidia`` or ``amd``."""
    model: str
    vram_total_bytes: int | None = None
    driver_version: str | None = None
    pci_address: str | None = None
    parent_gpu_id: str | None = None
    """Set for a MIG instance: the physical GPU."""
    mig_profile: str | None = None
    """Such as ``1g.10gb``; set for a MIG instance."""
    serial: str | None = None
    vbios_version: str | None = None
    compute_capability: str | None = None
    power_limit_max_watts: float | None = None
    clock_sm_max_mhz: float | None = None
    clock_memory_max_mhz: float | None = None
    pcie_link_generation_max: int | None = None
    pcie_link_width_max: int | None = None


@frozen(kw_only=True)
class GpuProcess:
    """One process that uses a GPU now."""

    pid: int
    user: str | None = None
    command: str | None = None
    container: str | None = None
    task: str | None = None
    vram_used_bytes: int | None = None
    sm_percent: float | None = None
    kind: str = "compute"
    """``compute`` or ``graphics``."""
    missing: Mapping[str, str] = field(factory=dict)
    """Why a value is ``None``, by field name (``{"sm_percent": "MIG: the driver has no per-process figure"}``)."""


@frozen(kw_only=True)
class GpuSample:
    """One reading of one GPU."""

    gpu_id: str
    gpu_index: int
    model: str
    taken_at_unix_us: int
    vram_total_bytes: int | None = gauge()
    vram_used_bytes: int | None = gauge()
    vram_used_percent: float | None = field(metadata={SERIES: "gauge"})
    """Share of the memory that is used; derived from used and total unless it is given."""
    utilization_percent: float | None = gauge()
    memory_bus_utilization_percent: float | None = gauge()
    """Share of time the memory bus was busy (NVML "memory utilisation"); not memory used."""
    encoder_percent: float | None = gauge()
    decoder_percent: float | None = gauge()
    temperature_celsius: float | None = gauge()
    memory_temperature_celsius: float | None = gauge()
    fan_percent: float | None = gauge()
    power_watts: float | None = gauge()
    power_limit_watts: float | None = gauge()
    energy_millijoules_total: int | None = counter()
    clock_sm_mhz: float | None = gauge()
    clock_memory_mhz: float | None = gauge()
    pcie_rx_bytes_per_s: float | None = gauge()
    pcie_tx_bytes_per_s: float | None = gauge()
    nvlink_rx_bytes_total: int | None = counter()
    nvlink_tx_bytes_total: int | None = counter()
    ecc_corrected_total: int | None = counter()
    ecc_uncorrected_total: int | None = counter()
    pcie_link_generation: int | None = None
    pcie_link_width: int | None = None
    remapped_rows_corrected: int | None = None
    remapped_rows_uncorrected: int | None = None
    remap_pending: bool | None = None
    remap_failed: bool | None = None
    ecc_corrected_lifetime: int | None = None
    """Over the GPU's life, where `ecc_corrected_total` counts since the driver was loaded."""
    ecc_uncorrected_lifetime: int | None = None
    performance_state: str | None = None
    throttle_reasons: tuple[str, ...] | None = None
    """In words (``"power cap"``, ``"thermal, hardware"``); empty when the clocks run free."""
    processes: tuple[GpuProcess, ...] | None = None
    asleep: bool = False
    """The device is in runtime suspend; nothing was asked of it, so as not to wake it."""
    missing: Mapping[str, str] = field(factory=dict)
    """Why a value is ``None``, by field name, where the reason is known."""

    @vram_used_percent.default
    def _used_share(self) -> float | None:
        if self.vram_used_bytes is None or not self.vram_total_bytes:
            return None
        return 100.0 * self.vram_used_bytes / self.vram_total_bytes


@frozen(kw_only=True)
class DiskSample:
    """One block device; counters since boot."""

    device: str
    read_bytes_total: int | None = counter()
    write_bytes_total: int | None = counter()
    read_count_total: int | None = counter()
    write_count_total: int | None = counter()
    busy_time_ms_total: int | None = counter()


@frozen(kw_only=True)
class NetworkSample:
    """One network interface; counters since it came up."""

    interface: str
    rx_bytes_total: int | None = counter()
    tx_bytes_total: int | None = counter()
    rx_errors_total: int | None = counter()
    tx_errors_total: int | None = counter()


@frozen(kw_only=True)
class FanSample:
    """One fan of the host."""

    label: str
    speed_rpm: float | None = gauge()


@frozen(kw_only=True)
class FilesystemSample:
    """One mounted file system on a real device; live-only."""

    mountpoint: str
    device: str
    fstype: str
    total_bytes: int | None = None
    used_bytes: int | None = None
    free_bytes: int | None = None


@frozen(kw_only=True)
class HostFacts:
    """What a host is, by what does not change while it runs."""

    hostname: str
    kernel: str | None = None
    system: str | None = None
    """The distribution as it calls itself (``Debian GNU/Linux 12 (bookworm)``)."""
    cpu_model: str | None = None


@frozen(kw_only=True)
class HostSample:
    """One reading of one host, its devices included."""

    host_id: str
    taken_at_unix_us: int
    cpu_percent: float | None = gauge()
    cpu_user_percent: float | None = gauge()
    cpu_system_percent: float | None = gauge()
    cpu_iowait_percent: float | None = gauge()
    cpu_load_1: float | None = gauge()
    cpu_load_5: float | None = gauge()
    cpu_load_15: float | None = gauge()
    cpu_frequency_mhz: float | None = gauge()
    cpu_temperature_celsius: float | None = gauge()
    cpu_count_logical: int | None = gauge()
    cpu_count_physical: int | None = gauge()
    memory_total_bytes: int | None = gauge()
    memory_used_bytes: int | None = gauge()
    memory_available_bytes: int | None = gauge()
    memory_percent: float | None = gauge()
    swap_total_bytes: int | None = gauge()
    swap_used_bytes: int | None = gauge()
    swap_percent: float | None = gauge()
    network_rx_bytes_total: int | None = counter()
    network_tx_bytes_total: int | None = counter()
    process_count: int | None = gauge()
    uptime_seconds: float | None = None
    cpu_core_percents: tuple[float, ...] = ()
    """Busy share of each logical core; live-only, since hosts with hundreds of cores would drown the series."""
    disks: tuple[DiskSample, ...] = ()
    networks: tuple[NetworkSample, ...] = ()
    fans: tuple[FanSample, ...] = ()
    filesystems: tuple[FilesystemSample, ...] = ()
    gpus: tuple[GpuSample, ...] = ()
