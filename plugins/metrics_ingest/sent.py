"""What an agent sends, by the names and types that real agents use; anything else is read by `lenient`.

The attributes are the wire's names. Numbers are finite by the parser's rules and integers fit 64 bits by ours; a
missing value and null are the same.
"""

from typing import Annotated, Final

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


class SentGpu(msgspec.Struct, gc=False):
    """Readings of one GPU."""

    gpu_index: Whole
    name: str | None = None
    uuid: str | None = None
    utilization_gpu_percent: float | None = None
    utilization_memory_percent: float | None = None
    memory_total_bytes: Whole | None = None
    memory_used_bytes: Whole | None = None
    memory_percent: float | None = None
    temperature_c: float | None = None
    fan_speed_percent: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None


class SentFan(msgspec.Struct, gc=False):
    """One fan of the host."""

    label: str
    speed_rpm: float | None = None


class SentSample(msgspec.Struct, kw_only=True):
    """Readings of one host."""

    collected_at: str | None = None
    cpu_usage_percent: float | None = None
    cpu_user_percent: float | None = None
    cpu_system_percent: float | None = None
    cpu_iowait_percent: float | None = None
    cpu_load_1: float | None = None
    cpu_load_5: float | None = None
    cpu_load_15: float | None = None
    cpu_frequency_mhz: float | None = None
    cpu_temperature_c: float | None = None
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


class SentBody(SentSample, kw_only=True):
    """One payload: a sample beside an agent, or a sample itself."""

    sample: SentSample | None = None
    agent: msgspec.Raw = msgspec.Raw(b"")


ONE: Final = msgspec.json.Decoder(SentBody)
MANY: Final = msgspec.json.Decoder(list[SentBody])
