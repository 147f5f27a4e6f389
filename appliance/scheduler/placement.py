"""Where a job can run: the first engine that can, the GPUs by uuid, and the reasons where it cannot."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final

from attrs import evolve, frozen

from appliance.jobs import WHOLE_MILLI_GPU, Job, Needs, Placement
from appliance.scheduler.capacity import PARTS_MAX, EngineOffer, GpuCapacity, GpuRoom, HostCapacity, HostRoom, Room

NETWORK_NEEDS_FEATURE: Final = "bridge"
GPUS_TOLD_MAX: Final = 16
"""GPUs that a reason names one by one."""

Parts = tuple[tuple[str, int, int], ...]


@frozen(kw_only=True, cache_hash=True)
class Request:
    """All of a job that decides where it can run; jobs with equal requests fit in the same places."""

    needs: Needs
    engine: str = ""
    """Only this one; empty takes any."""
    host_id: str = ""
    """Only this one; empty takes any."""
    network: str = "none"

    @classmethod
    def of(cls, job: Job) -> "Request":
        """Return the request of a job."""
        return _shared(cls(needs=job.needs, engine=job.engine, host_id=job.host_id, network=job.network))


@lru_cache(maxsize=4096)
def _shared(request: Request) -> Request:
    """Return one object for equal requests: a queue of a hundred thousand holds few different ones."""
    return request


@frozen(kw_only=True)
class Reason:
    """Why a job cannot run on one host."""

    host_id: str
    """Empty when there is no host at all."""
    code: str
    """``no_host``, ``other_host``, ``host_blocked``, ``engine``, ``cores``, ``memory``, ``storage``, ``gpus``."""
    message: str
    """In words, with figures."""
    is_for_good: bool = False
    """Whether it stays so when all that runs has ended and every mark is lifted."""


@frozen(kw_only=True)
class Refusal:
    """No host can take a job."""

    reasons: tuple[Reason, ...]
    """At least one per host, in the order of the hosts."""

    @property
    def is_for_good(self) -> bool:
        """Whether no host could take it when all that runs has ended and every mark is lifted."""
        hosts = {reason.host_id for reason in self.reasons}
        return hosts != {""} and hosts == {reason.host_id for reason in self.reasons if reason.is_for_good}


def find(request: Request, room: Room, *, without_host_id: str = "") -> Placement | None:
    """Return where the request fits best in what is left of the room, ``None`` when it fits nowhere.

    The same room and request always give the same answer. Of several hosts, the one is taken that has the fewest GPUs,
    then the fewest of them free, then the fewest cores free, so that large jobs find whole hosts. Parts of GPUs go
    where the least of a GPU is left, whole GPUs where the least memory does.

    :param without_host_id: leave out this host.
    """
    best: tuple[int, int, int, int] | None = None
    found: Placement | None = None
    for host in _asked(request, room):
        key = (len(host.gpus), host.milli_gpu, host.millicores, host.memory_mib)
        if (best is None or key < best) and host.host.host_id != without_host_id:
            placement = find_on(request, host)
            if placement is not None:
                best, found = key, placement
    return found


def _asked(request: Request, room: Room) -> Iterable[HostRoom]:
    if not request.host_id:
        return room.hosts.values()
    host = room.hosts.get(request.host_id)
    return () if host is None else (host,)


def find_on(request: Request, host: HostRoom) -> Placement | None:
    """Return how the request fits on one host, whichever it asks for; ``None`` when it does not."""
    needs = request.needs
    if (
        needs.millicores > host.millicores
        or needs.memory_mib > host.memory_mib
        or needs.storage_mib > host.storage_mib
        or needs.milli_gpu > host.milli_gpu
    ):
        return None
    offer = next((offer for offer in host.host.engines if not _engine_refusal(request, offer)), None)
    if offer is None:
        return None
    parts = _bind(needs, host.gpus.values())
    if parts is None:
        return None
    return Placement(host_id=host.host.host_id, engine=offer.name, parts=parts)


def place(request: Request, hosts: Iterable[HostCapacity]) -> Placement | Refusal:
    """Return where the request fits now, or why nowhere."""
    hosts = tuple(hosts)
    room = Room(hosts)
    return find(request, room) or Refusal(reasons=refusals(request, hosts, room))


def refusals(request: Request, hosts: Sequence[HostCapacity], room: Room) -> tuple[Reason, ...]:
    """Return why the request does not fit in what is left of the room; of hosts where it does, nothing."""
    if not hosts:
        return (Reason(host_id="", code="no_host", message="there is no host"),)
    return tuple(reason for host in hosts for reason in _refusals_on(request, host, room.hosts.get(host.host_id)))


def _refusals_on(request: Request, host: HostCapacity, left: HostRoom | None) -> Iterator[Reason]:
    host_id, needs = host.host_id, request.needs
    if request.host_id not in ("", host_id):
        message = f"the job asks for host {request.host_id!r}"
        yield Reason(host_id=host_id, code="other_host", message=message, is_for_good=True)
        return
    refused = {offer.name: _engine_refusal(request, offer) for offer in host.engines}
    if all(refused.values()):
        message = "; ".join(f"{name}: {why}" for name, why in refused.items()) or "the host has no task engine"
        for_good = all(_engine_refusal(request, evolve(offer, blocked="")) for offer in host.engines)
        yield Reason(host_id=host_id, code="engine", message=message, is_for_good=bool(refused) and for_good)
    free = left or HostRoom.of(host)
    for code, need, available, total, unit in (
        ("cores", needs.millicores, free.millicores, host.millicores, "thousandths of a core"),
        ("memory", needs.memory_mib, free.memory_mib, host.memory_mib, "MiB of memory"),
        ("storage", needs.storage_mib, free.storage_mib, host.storage_mib, "MiB of storage"),
    ):
        if need > available:
            message = f"needs {need} {unit}; {available} of {total} are free"
            yield Reason(host_id=host_id, code=code, message=message, is_for_good=need > total)
    if _bind(needs, free.gpus.values()) is None:
        yield _gpu_reason(needs, host, free)
    if left is None:
        yield Reason(host_id=host_id, code="host_blocked", message=host.blocked or "the host takes no work")


def _engine_refusal(request: Request, offer: EngineOffer) -> str:
    """Return in words why an engine cannot take the request; empty when it can."""
    if request.engine not in ("", offer.name):
        return f"the job asks for engine {request.engine!r}"
    if offer.only_named and request.engine != offer.name:
        return offer.only_named
    if offer.unsafe and not offer.is_allowed:
        return f"not allowed by the configuration: {offer.unsafe}"
    if request.needs.milli_gpu and "gpu" not in offer.features:
        return "cannot give GPUs to jobs"
    if request.network == NETWORK_NEEDS_FEATURE and "network" not in offer.features:
        return "cannot give network to jobs"
    return offer.blocked


def _bind(needs: Needs, gpus: Iterable[GpuRoom]) -> Parts | None:
    """Return the parts of GPUs to hold, ``None`` when there are not enough."""
    if not needs.milli_gpu:
        return ()
    whole, part = divmod(needs.milli_gpu, WHOLE_MILLI_GPU)
    if whole + bool(part) > PARTS_MAX:
        return None
    fitting = [gpu for gpu in gpus if gpu.milli_gpu > 0 and not _mismatch(needs, gpu.gpu)]
    parts: list[tuple[str, int, int]] = []
    if part:
        # The part first: it goes to a GPU that is shared already if it can, and leaves the whole ones whole.
        least = min(
            (gpu for gpu in fitting if gpu.milli_gpu >= part and gpu.vram_mib >= needs.gpu_vram_mib),
            key=lambda gpu: (gpu.milli_gpu, gpu.vram_mib),
            default=None,
        )
        if least is None:
            return None
        parts.append((least.gpu.gpu_id, part, needs.gpu_vram_mib))
        fitting.remove(least)
    if whole:
        free = [gpu for gpu in fitting if _is_whole(gpu)]
        if len(free) < whole:
            return None
        free.sort(key=lambda gpu: gpu.gpu.vram_mib)
        parts.extend((gpu.gpu.gpu_id, WHOLE_MILLI_GPU, gpu.gpu.vram_mib) for gpu in free[:whole])
    return tuple(parts)


def _is_whole(gpu: GpuRoom) -> bool:
    return gpu.milli_gpu == WHOLE_MILLI_GPU and gpu.vram_mib >= gpu.gpu.vram_mib


def _mismatch(needs: Needs, gpu: GpuCapacity) -> str:
    """Return in words why a GPU is never one for these needs; empty when it is."""
    if needs.gpu_ids and gpu.gpu_id not in needs.gpu_ids:
        return "the job asks for others"
    if needs.mig_profile and gpu.mig_profile != needs.mig_profile:
        return f"is no MIG instance of {needs.mig_profile}"
    # A MIG instance is never taken for a GPU, unless it is asked for by its profile or its uuid.
    if gpu.parent_gpu_id is not None and not needs.mig_profile and not needs.gpu_ids:
        return f"is a MIG instance of {gpu.mig_profile}, and the job asks for none"
    if needs.gpu_models and not any(model.casefold() in gpu.model.casefold() for model in needs.gpu_models):
        return f"is {gpu.model}"
    if needs.gpu_vram_mib > gpu.vram_mib:
        return f"has {gpu.vram_mib} MiB of memory"
    return ""


def _gpu_reason(needs: Needs, host: HostCapacity, free: HostRoom) -> Reason:
    whole, part = divmod(needs.milli_gpu, WHOLE_MILLI_GPU)
    wanted = " and ".join(
        text
        for text in (
            f"{whole} whole GPU{'s' if whole != 1 else ''}" if whole else "",
            f"{part} thousandths of a GPU" if part else "",
        )
        if text
    )
    if needs.gpu_vram_mib:
        wanted += f" with {needs.gpu_vram_mib} MiB"
    cut = {gpu.parent_gpu_id for gpu in host.gpus}
    told = [f"{gpu.gpu_id} {_why_not(needs, gpu, free.gpus.get(gpu.gpu_id), cut)}" for gpu in host.gpus]
    if len(told) > GPUS_TOLD_MAX:
        told = [*told[:GPUS_TOLD_MAX], f"and {len(told) - GPUS_TOLD_MAX} more"]
    if not told:
        told = ["the host has no GPUs"]
    if whole + bool(part) > PARTS_MAX:
        told = [f"an attempt may hold {PARTS_MAX} at most"]
    empty = [GpuRoom(gpu, WHOLE_MILLI_GPU, gpu.vram_mib) for gpu in host.gpus if gpu.gpu_id not in cut]
    return Reason(
        host_id=host.host_id,
        code="gpus",
        message=f"needs {wanted}: {'; '.join(told)}",
        is_for_good=_bind(needs, empty) is None,
    )


def _why_not(needs: Needs, gpu: GpuCapacity, left: GpuRoom | None, cut: set[str | None]) -> str:
    """Return in words what is with one GPU."""
    if gpu.gpu_id in cut:
        return "is divided into MIG instances"
    mismatch = _mismatch(needs, gpu)
    if mismatch:
        return mismatch
    if left is None:
        return f"takes no work: {gpu.blocked}"
    if _is_whole(left):
        return "is free"
    return f"has {left.milli_gpu} of 1000 parts and {left.vram_mib} of {gpu.vram_mib} MiB free"
