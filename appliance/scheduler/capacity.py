"""What hosts have, what of it is free, and who holds the rest; integers only, so that nothing drifts."""

from collections.abc import Iterable
from typing import Final

from attrs import define, frozen

from appliance.jobs import WHOLE_MILLI_GPU, Needs, Placement

PARTS_MAX: Final = 64
"""GPUs that one attempt may hold: what the ledger takes in one booking."""


@frozen(kw_only=True)
class EngineOffer:
    """A task engine of a host."""

    name: str
    features: frozenset[str] = frozenset()
    """As `appliance.engines.EngineStatus.features`; ``gpu`` and ``network`` decide what it may be given."""
    unsafe: str = ""
    """What it cannot keep apart from the appliance, in words; empty when it can."""
    is_allowed: bool = True
    """Whether the configuration lets it be used although it is unsafe."""
    blocked: str = ""
    """Why it takes no work now (absent, does not answer), in words; empty when it does."""


@frozen(kw_only=True)
class GpuCapacity:
    """A GPU, or a MIG instance of one."""

    gpu_id: str
    model: str
    vram_mib: int
    parent_gpu_id: str | None = None
    """Set for a MIG instance."""
    mig_profile: str = ""
    free_milli_gpu: int = WHOLE_MILLI_GPU
    """As the ledger says: what neither attempts nor shared workers nor reservations hold."""
    free_vram_mib: int
    blocked: str = ""
    """Why no new work goes there (cordoned, unhealthy, lost), in words; empty when it may."""


@frozen(kw_only=True)
class HostCapacity:
    """A host: what it has in all, and what is held of it."""

    host_id: str
    hostname: str
    engines: tuple[EngineOffer, ...] = ()
    """In order of preference."""
    millicores: int
    memory_mib: int
    storage_mib: int
    allocated_millicores: int = 0
    allocated_memory_mib: int = 0
    allocated_storage_mib: int = 0
    gpus: tuple[GpuCapacity, ...] = ()
    blocked: str = ""
    """Why no new work goes there, in words; empty when it may."""

    @property
    def free_millicores(self) -> int:
        """Thousandths of a core that nothing holds; never below 0."""
        return max(0, self.millicores - self.allocated_millicores)

    @property
    def free_memory_mib(self) -> int:
        """Memory that nothing holds; never below 0."""
        return max(0, self.memory_mib - self.allocated_memory_mib)

    @property
    def free_storage_mib(self) -> int:
        """Storage that nothing holds; never below 0."""
        return max(0, self.storage_mib - self.allocated_storage_mib)


class Room:
    """A working copy of what is free, for one decision: attempts are taken in and given back in thought."""

    def __init__(self, hosts: Iterable[HostCapacity]) -> None:
        """Start from what is free of ``hosts`` now."""
        raise NotImplementedError

    def take(self, needs: Needs, placement: Placement) -> None:
        """Hold what an attempt needs, where it is placed."""
        raise NotImplementedError

    def give_back(self, needs: Needs, placement: Placement) -> None:
        """Free what `take` held; of a host or GPU that is not there, nothing."""
        raise NotImplementedError


@frozen(kw_only=True)
class Held:
    """What the attempts on one host hold together."""

    millicores: int = 0
    memory_mib: int = 0
    storage_mib: int = 0


@define
class Holdings:
    """What attempts hold of cores, memory and storage, by attempt: holding or releasing twice is once."""

    def hold(self, attempt_id: str, needs: Needs, placement: Placement) -> bool:
        """Hold it; ``False`` when the attempt holds already (nothing changes, whatever it asks for)."""
        raise NotImplementedError

    def release(self, attempt_id: str) -> bool:
        """Release all that the attempt holds; ``False`` when it holds nothing."""
        raise NotImplementedError

    def on(self, host_id: str) -> Held:
        """Return what is held on a host."""
        raise NotImplementedError
