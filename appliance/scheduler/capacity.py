"""What hosts have, what of it is free, and who holds the rest; integers only, so that nothing drifts."""

from collections.abc import Iterable, Sequence
from typing import Final

from attrs import define, field, frozen

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
    only_named: str = ""
    """Why it takes no job that does not ask for it by name, in words; empty when it does."""


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


@define(eq=False)
class GpuRoom:
    """What is free of one GPU."""

    gpu: GpuCapacity
    milli_gpu: int
    vram_mib: int


@define(eq=False)
class HostRoom:
    """What is free of one host."""

    host: HostCapacity
    millicores: int
    memory_mib: int
    storage_mib: int
    gpus: dict[str, GpuRoom]
    """By uuid; only those that are not blocked, and of a GPU that is cut into MIG instances only these."""
    milli_gpu: int
    """Free of all of them together."""

    @classmethod
    def of(cls, host: HostCapacity) -> "HostRoom":
        """Return what is free of a host now; of a blocked one it is the same, for `Room` leaves those out."""
        cut = {gpu.parent_gpu_id for gpu in host.gpus}
        gpus = {
            gpu.gpu_id: GpuRoom(gpu, gpu.free_milli_gpu, gpu.free_vram_mib)
            for gpu in host.gpus
            if not gpu.blocked and gpu.gpu_id not in cut
        }
        return cls(
            host=host,
            millicores=host.free_millicores,
            memory_mib=host.free_memory_mib,
            storage_mib=host.free_storage_mib,
            gpus=gpus,
            milli_gpu=sum(gpu.milli_gpu for gpu in gpus.values()),
        )

    def copy(self) -> "HostRoom":
        """Return one with as much free, of its own."""
        gpus = {gpu_id: GpuRoom(part.gpu, part.milli_gpu, part.vram_mib) for gpu_id, part in self.gpus.items()}
        return HostRoom(self.host, self.millicores, self.memory_mib, self.storage_mib, gpus, self.milli_gpu)

    def shift(self, needs: Needs, parts: Sequence[tuple[str, int, int]], sign: int) -> None:
        """Take (``sign`` -1) or give back (+1) what an attempt holds here."""
        self.millicores += sign * needs.millicores
        self.memory_mib += sign * needs.memory_mib
        self.storage_mib += sign * needs.storage_mib
        for gpu_id, milli_gpu, vram_mib in parts:
            part = self.gpus.get(gpu_id)
            if part is not None:
                part.milli_gpu += sign * milli_gpu
                self.milli_gpu += sign * milli_gpu
                part.vram_mib += sign * (part.gpu.vram_mib if milli_gpu == WHOLE_MILLI_GPU else vram_mib)


class Room:
    """A working copy of what is free, for one decision: attempts are taken in and given back in thought."""

    def __init__(self, hosts: Iterable[HostCapacity]) -> None:
        """Start from what is free now of the hosts that are not blocked."""
        self.hosts = {host.host_id: HostRoom.of(host) for host in hosts if not host.blocked}

    def copy(self) -> "Room":
        """Return a room with as much free, of its own."""
        room = Room(())
        room.hosts = {host_id: host.copy() for host_id, host in self.hosts.items()}
        return room

    def take(self, needs: Needs, placement: Placement) -> None:
        """Hold what an attempt needs, where it is placed."""
        host = self.hosts.get(placement.host_id)
        if host is not None:
            host.shift(needs, placement.parts, -1)

    def give_back(self, needs: Needs, placement: Placement) -> None:
        """Free what an attempt holds; of a host or GPU that is not there or blocked, nothing."""
        host = self.hosts.get(placement.host_id)
        if host is not None:
            host.shift(needs, placement.parts, 1)

    @property
    def most(self) -> tuple[int, int, int, int]:
        """The most that any host has free: millicores, memory, storage, thousandths of GPUs; -1 without a host."""
        rooms = self.hosts.values()
        return (
            max((room.millicores for room in rooms), default=-1),
            max((room.memory_mib for room in rooms), default=-1),
            max((room.storage_mib for room in rooms), default=-1),
            max((room.milli_gpu for room in rooms), default=-1),
        )

    @property
    def fingerprint(self) -> tuple[object, ...]:
        """Equal for rooms in which the same requests fit."""
        return tuple(
            (
                host_id,
                room.millicores,
                room.memory_mib,
                room.storage_mib,
                room.host.engines,
                tuple((gpu_id, part.milli_gpu, part.vram_mib) for gpu_id, part in room.gpus.items()),
            )
            for host_id, room in self.hosts.items()
        )


@frozen(kw_only=True)
class Held:
    """What the attempts on one host hold together."""

    millicores: int = 0
    memory_mib: int = 0
    storage_mib: int = 0


@define
class Holdings:
    """What attempts hold of cores, memory and storage, by attempt: holding or releasing twice is once."""

    _by_attempt: dict[str, tuple[str, Held]] = field(factory=dict, init=False)
    _by_host: dict[str, Held] = field(factory=dict, init=False)

    def hold(self, attempt_id: str, needs: Needs, placement: Placement) -> bool:
        """Hold it; ``False`` when the attempt holds already (nothing changes, whatever it asks for)."""
        if attempt_id in self._by_attempt:
            return False
        held = Held(millicores=needs.millicores, memory_mib=needs.memory_mib, storage_mib=needs.storage_mib)
        self._by_attempt[attempt_id] = (placement.host_id, held)
        self._add(placement.host_id, held, 1)
        return True

    def release(self, attempt_id: str) -> bool:
        """Release all that the attempt holds; ``False`` when it holds nothing."""
        known = self._by_attempt.pop(attempt_id, None)
        if known is None:
            return False
        self._add(*known, -1)
        return True

    def on(self, host_id: str) -> Held:
        """Return what is held on a host."""
        return self._by_host.get(host_id, Held())

    def _add(self, host_id: str, held: Held, sign: int) -> None:
        before = self.on(host_id)
        self._by_host[host_id] = Held(
            millicores=before.millicores + sign * held.millicores,
            memory_mib=before.memory_mib + sign * held.memory_mib,
            storage_mib=before.storage_mib + sign * held.storage_mib,
        )
