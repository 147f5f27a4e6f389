"""An agent's figures as core's series take them: objects that are like samples, and cost a tenth to make."""

from typing import Any, ClassVar, Final

import msgspec

from .figures import Figures, GpuFigures, HostFigures
from .identities import series_id
from .models import Agent, Gpu

MIB: Final = 2**20


class AgentGpuSample(msgspec.Struct, gc=False):
    """Readings of one GPU, as `appliance.plugin.GpuSample` has them; what agents never report is ``None`` for all."""

    gpu_id: str
    gpu_index: int
    model: str
    vram_total_bytes: int
    vram_used_bytes: int | None
    vram_used_percent: float | None
    utilization_percent: float | None
    temperature_celsius: float | None
    power_watts: float | None
    pcie_rx_bytes_per_s: float | None
    pcie_tx_bytes_per_s: float | None

    memory_bus_utilization_percent: ClassVar[None] = None
    encoder_percent: ClassVar[None] = None
    decoder_percent: ClassVar[None] = None
    memory_temperature_celsius: ClassVar[None] = None
    fan_percent: ClassVar[None] = None
    power_limit_watts: ClassVar[None] = None
    energy_millijoules_total: ClassVar[None] = None
    clock_sm_mhz: ClassVar[None] = None
    clock_memory_mhz: ClassVar[None] = None
    nvlink_rx_bytes_total: ClassVar[None] = None
    nvlink_tx_bytes_total: ClassVar[None] = None
    ecc_corrected_total: ClassVar[None] = None
    ecc_uncorrected_total: ClassVar[None] = None


class AgentSample(msgspec.Struct, kw_only=True):
    """Readings of an agent's host, as `appliance.plugin.HostSample` has them."""

    host_id: str
    taken_at_unix_us: int
    cpu_percent: float | None
    memory_used_bytes: int | None
    memory_total_bytes: int | None
    memory_percent: float | None
    gpus: list[AgentGpuSample]

    disks: ClassVar[tuple[Any, ...]] = ()
    networks: ClassVar[tuple[Any, ...]] = ()
    fans: ClassVar[tuple[Any, ...]] = ()
    cpu_user_percent: ClassVar[None] = None
    cpu_system_percent: ClassVar[None] = None
    cpu_iowait_percent: ClassVar[None] = None
    cpu_load_1: ClassVar[None] = None
    cpu_load_5: ClassVar[None] = None
    cpu_load_15: ClassVar[None] = None
    cpu_frequency_mhz: ClassVar[None] = None
    cpu_temperature_celsius: ClassVar[None] = None
    cpu_count_logical: ClassVar[None] = None
    cpu_count_physical: ClassVar[None] = None
    memory_available_bytes: ClassVar[None] = None
    swap_total_bytes: ClassVar[None] = None
    swap_used_bytes: ClassVar[None] = None
    swap_percent: ClassVar[None] = None
    network_rx_bytes_total: ClassVar[None] = None
    network_tx_bytes_total: ClassVar[None] = None
    process_count: ClassVar[None] = None


def sample_of(agent: Agent, found: Figures, at_unix_us: int) -> AgentSample:
    """Return an agent's figures as one sample; those of GPUs that it does not have are left out."""
    host = found.host or HostFigures()
    used, total = host.memory_used_bytes, host.memory_total_bytes
    return AgentSample(
        host_id=agent.host_id,
        taken_at_unix_us=at_unix_us,
        cpu_percent=host.cpu_percent,
        memory_used_bytes=used,
        memory_total_bytes=total,
        memory_percent=100 * used / total if used is not None and total else None,
        gpus=[_gpu(agent, gpu, said) for gpu in agent.gpus if (said := found.gpus.get(gpu.gpu_id)) is not None],
    )


def _gpu(agent: Agent, gpu: Gpu, said: GpuFigures) -> AgentGpuSample:
    total, used = said.vram_total_bytes or gpu.vram_mb * MIB, said.vram_used_bytes
    return AgentGpuSample(
        series_id(agent, gpu.gpu_id),
        gpu.gpu_index,
        gpu.model,
        total,
        used,
        None if used is None or not total else 100.0 * used / total,
        said.utilization_percent,
        said.temperature_celsius,
        said.power_watts,
        said.pcie_rx_bytes_per_s,
        said.pcie_tx_bytes_per_s,
    )
