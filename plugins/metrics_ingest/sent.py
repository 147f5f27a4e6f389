"""What an agent sends, in the types that real agents use; anything else is read by `lenient`.

The wire's names are those of the fields' renaming; the attributes are those of core's samples, so that the series take
these objects as they are and nothing has to be made of them first. What agents never send is ``None`` for all of them.
Numbers are finite by the parser's rules and integers fit 64 bits by ours; a missing value and null are the same.
"""

from typing import Annotated, Any, ClassVar, Final

import msgspec

INTEGER_LIMIT: Final = 2**63
Whole = Annotated[int, msgspec.Meta(ge=-INTEGER_LIMIT, le=INTEGER_LIMIT - 1)]


class SentDisk(msgspec.Struct, gc=False):
    """Counters of one disk since boot."""

    device: str
    read_bytes_total: Whole | None = None
    write_bytes_total: Whole | None = None
    read_count_total: Whole | None = None
    write_count_total: Whole | None = None
    busy_time_ms_total: Whole | None = None


_GPU_NAMES: Final = {
    "model": "name",
    "gpu_id": "uuid",
    "utilization_percent": "utilization_gpu_percent",
    "memory_bus_utilization_percent": "utilization_memory_percent",
    "vram_total_bytes": "memory_total_bytes",
    "vram_used_bytes": "memory_used_bytes",
    "vram_used_percent": "memory_percent",
    "temperature_celsius": "temperature_c",
    "fan_percent": "fan_speed_percent",
    "power_watts": "power_w",
    "power_limit_watts": "power_limit_w",
}


class SentGpu(msgspec.Struct, gc=False, rename=_GPU_NAMES):
    """Readings of one GPU."""

    gpu_index: Whole
    model: str | None = None
    gpu_id: str | None = None
    utilization_percent: float | None = None
    memory_bus_utilization_percent: float | None = None
    vram_total_bytes: Whole | None = None
    vram_used_bytes: Whole | None = None
    vram_used_percent: float | None = None
    temperature_celsius: float | None = None
    fan_percent: float | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None

    encoder_percent: ClassVar[None] = None
    decoder_percent: ClassVar[None] = None
    memory_temperature_celsius: ClassVar[None] = None
    energy_millijoules_total: ClassVar[None] = None
    clock_sm_mhz: ClassVar[None] = None
    clock_memory_mhz: ClassVar[None] = None
    pcie_rx_bytes_per_s: ClassVar[None] = None
    pcie_tx_bytes_per_s: ClassVar[None] = None
    nvlink_rx_bytes_total: ClassVar[None] = None
    nvlink_tx_bytes_total: ClassVar[None] = None
    ecc_corrected_total: ClassVar[None] = None
    ecc_uncorrected_total: ClassVar[None] = None


class SentFan(msgspec.Struct, gc=False):
    """One fan of the host."""

    label: str
    speed_rpm: float | None = None


_SAMPLE_NAMES: Final = {
    "cpu_percent": "cpu_usage_percent",
    "cpu_temperature_celsius": "cpu_temperature_c",
    # Of these two nothing is read: they are set after every reading, whatever a body says under such names.
    "host_id": "(host_id)",
    "taken_at_unix_us": "(taken_at_unix_us)",
}


class SentSample(msgspec.Struct, kw_only=True, rename=_SAMPLE_NAMES):
    """Readings of one host."""

    host_id: str = ""
    taken_at_unix_us: int = 0
    collected_at: str | None = None
    cpu_percent: float | None = None
    cpu_user_percent: float | None = None
    cpu_system_percent: float | None = None
    cpu_iowait_percent: float | None = None
    cpu_load_1: float | None = None
    cpu_load_5: float | None = None
    cpu_load_15: float | None = None
    cpu_frequency_mhz: float | None = None
    cpu_temperature_celsius: float | None = None
    cpu_count_logical: Whole | None = None
    cpu_count_physical: Whole | None = None
    memory_total_bytes: Whole | None = None
    memory_used_bytes: Whole | None = None
    memory_available_bytes: Whole | None = None
    memory_percent: float | None = None
    swap_total_bytes: Whole | None = None
    swap_used_bytes: Whole | None = None
    swap_percent: float | None = None
    network_rx_bytes_total: Whole | None = None
    network_tx_bytes_total: Whole | None = None
    process_count: Whole | None = None
    disks: list[SentDisk | None] | None = None
    """``None`` stands for an entry that is no object; it is passed over, and keeps the places of the others."""
    gpus: list[SentGpu | None] | None = None
    fans: list[SentFan | None] | None = None
    networks: ClassVar[tuple[Any, ...]] = ()


class SentBody(SentSample, kw_only=True):
    """One payload: a sample beside an agent, or a sample itself."""

    sample: SentSample | None = None
    agent: msgspec.Raw = msgspec.Raw(b"")


ONE: Final = msgspec.json.Decoder(SentBody)
MANY: Final = msgspec.json.Decoder(list[SentBody])
