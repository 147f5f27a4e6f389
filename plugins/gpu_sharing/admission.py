"""Which workers fit on an agent's GPUs, and where one goes that names none: decisions without I/O.

* A **fraction** is a worker with ``vram_mb`` or ``compute_percent``: so much of *each* of its GPUs. On one GPU the
  fractions never add up to more than its memory, nor to more than 100 %.
* A worker with neither is **unlimited**: it may use whole GPUs, counts as 0, and may share them with anybody. Where it
  does, the fractions beside it are *advisory*: nothing keeps its hands off their part.
* A **port** belongs to one worker of an agent, enabled or not, so that a worker that is enabled again finds its own.
* Disabled workers hold no GPU; whoever enables one has it admitted again. One that is still stopping holds its part.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Final

from attrs import frozen

from appliance.plugin import BadInput, Conflict

WHOLE_PERCENT: Final = 100
PORTS: Final = range(1024, 65_536)
"""What ``listen_port`` may be."""
GPUS_FIELD: Final = "$.gpu_ids"


@frozen(kw_only=True)
class AgentGpu:
    """One GPU of an agent."""

    gpu_id: str
    index: int
    vram_mb: int
    unfit: str = ""
    """Why placement passes it by (cordoned, unhealthy), in words; who names it gets it all the same."""


@frozen(kw_only=True)
class Claim:
    """What a worker has, or asks for, of its agent."""

    worker_id: str
    """Empty for one that is being made."""
    name: str
    listen_port: int
    gpu_ids: tuple[str, ...] = ()
    """Empty: placement picks one."""
    vram_mb: int | None = None
    compute_percent: int | None = None
    holds: bool = True
    """Whether it is enabled, or stopping still."""

    @property
    def is_fraction(self) -> bool:
        """Whether it asks for part of its GPUs only."""
        return self.vram_mb is not None or self.compute_percent is not None


@frozen(kw_only=True)
class Left:
    """What the fractions on a GPU leave; below zero where the GPU has shrunk under them."""

    vram_mb: int
    compute_percent: int
    fractions: int
    unlimited: int


@frozen(kw_only=True)
class Admission:
    """A claim that fits."""

    gpu_ids: tuple[str, ...]
    """As the agent spells them."""
    advisory: str = ""
    """Why nothing keeps others off its part, in words; empty when fractions alone are beside it."""


def admit(claim: Claim, *, gpus: Sequence[AgentGpu], others: Iterable[Claim]) -> Admission:
    """Return where a worker goes.

    The same questions have the same answers, whatever the order of ``gpus`` and ``others``.

    :param gpus: those of the agent.
    :param others: the agent's workers; the claim's own worker is passed over.
    :raises BadInput: a GPU is not the agent's, or is named twice.
    :raises Conflict: the port is taken, or the GPUs have too little left.
    """
    beside = [other for other in others if not claim.worker_id or other.worker_id != claim.worker_id]
    for other in sorted(beside, key=lambda each: each.worker_id):
        if other.listen_port == claim.listen_port:
            raise Conflict(
                f"port {claim.listen_port} is taken by the worker {other.name!r} of this agent",
                hint=f"take another listen_port, such as {_free_port(claim.listen_port, beside)}",
            )
    known = {gpu.gpu_id: gpu for gpu in gpus}
    holding = [other for other in beside if other.holds]
    if claim.gpu_ids:
        gpu_ids = resolve(claim.gpu_ids, known)
        if claim.holds:
            _require_fit(claim, [known[gpu_id] for gpu_id in gpu_ids], holding)
    else:
        gpu_ids = (_place(claim, gpus, holding),)
    return Admission(gpu_ids=gpu_ids, advisory=advisory(claim.is_fraction, gpu_ids, holding))


def resolve(asked: Sequence[str], known: Mapping[str, object]) -> tuple[str, ...]:
    """Return GPU ids as the agent spells them; the same GPU is found under another case.

    :raises BadInput: one is not the agent's, or is named twice.
    """
    folded = {gpu_id.casefold(): gpu_id for gpu_id in known}
    found: list[str] = []
    for place, gpu_id in enumerate(asked):
        field = f"{GPUS_FIELD}[{place}]"
        spelt = gpu_id if gpu_id in known else folded.get(gpu_id.casefold())
        if spelt is None:
            hint = f"it has {', '.join(sorted(known))}" if known else "it has no GPUs"
            raise BadInput(f"{field}: the agent has no GPU {gpu_id[:128]!r}", field=field, hint=hint[:500])
        if spelt in found:
            raise BadInput(f"{field}: the GPU {spelt!r} is named twice", field=field)
        found.append(spelt)
    return tuple(found)


def left(gpu: AgentGpu, holding: Iterable[Claim]) -> Left:
    """Return what is left of a GPU beside the workers that hold it."""
    vram_mb, percent, fractions, unlimited = gpu.vram_mb, WHOLE_PERCENT, 0, 0
    for each in holding:
        if gpu.gpu_id in each.gpu_ids:
            vram_mb -= each.vram_mb or 0
            percent -= each.compute_percent or 0
            fractions += each.is_fraction
            unlimited += not each.is_fraction
    return Left(vram_mb=vram_mb, compute_percent=percent, fractions=fractions, unlimited=unlimited)


def advisory(is_fraction: bool, gpu_ids: Sequence[str], holding: Iterable[Claim]) -> str:
    """Return why a fraction on these GPUs is advisory; empty when it is not, and for unlimited workers.

    :param holding: the other workers.
    """
    if not is_fraction:
        return ""
    names = sorted({other.name for other in holding if not other.is_fraction and set(other.gpu_ids) & set(gpu_ids)})
    if not names:
        return ""
    shown = ", ".join(repr(name) for name in names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"advisory: without limits on the same GPU: {shown}"


def _require_fit(claim: Claim, gpus: Iterable[AgentGpu], holding: Sequence[Claim]) -> None:
    for gpu in gpus:
        reason = _why_not(claim, gpu, left(gpu, holding))
        if reason:
            raise Conflict(reason, hint="take less, another GPU, or leave gpu_ids out")


def _why_not(claim: Claim, gpu: AgentGpu, has: Left) -> str:
    if claim.vram_mb is not None and claim.vram_mb > has.vram_mb:
        return f"GPU {gpu.gpu_id!r} has {max(0, has.vram_mb)} of {gpu.vram_mb} MB left, {claim.vram_mb} are asked for"
    if claim.compute_percent is not None and claim.compute_percent > has.compute_percent:
        return f"GPU {gpu.gpu_id!r} has {max(0, has.compute_percent)} % left, {claim.compute_percent} % are asked for"
    return ""


def _place(claim: Claim, gpus: Iterable[AgentGpu], holding: Sequence[Claim]) -> str:
    """Return the GPU for a worker that names none.

    A fraction goes where it leaves least, so that whole GPUs stay free, and beside unlimited workers only where it
    must; an unlimited worker goes where the fewest others are. Ties fall to the lowest index.
    """
    fitting: list[tuple[tuple[int, ...], int, str]] = []
    reasons: list[str] = []
    for gpu in sorted(gpus, key=lambda each: (each.index, each.gpu_id)):
        has = left(gpu, holding)
        reason = f"GPU {gpu.gpu_id!r} is {gpu.unfit}" if gpu.unfit else claim.holds and _why_not(claim, gpu, has)
        if reason:
            reasons.append(reason)
        elif claim.is_fraction:
            fitting.append(((has.unlimited, has.vram_mb, has.compute_percent), gpu.index, gpu.gpu_id))
        else:
            fitting.append(((has.fractions, has.unlimited), gpu.index, gpu.gpu_id))
    if fitting:
        return min(fitting)[2]
    raise Conflict(
        "no GPU of this agent fits" if reasons else "this agent has no GPUs, so it can have no worker",
        hint="; ".join(reasons[:4])[:500],
    )


def _free_port(taken: int, others: Iterable[Claim]) -> int:
    """Return the next port that no worker of the agent has."""
    ports = {other.listen_port for other in others}
    start = max(taken, PORTS.start)
    candidates = chain(range(start, PORTS.stop), range(PORTS.start, start))
    return next((port for port in candidates if port not in ports), taken)
