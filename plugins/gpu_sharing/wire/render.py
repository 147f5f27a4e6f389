"""Answers from what we think in."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal, TypeVar

from attrs import frozen
from msgspec import UNSET, UnsetType

from appliance.plugin import Answer, ApplianceError, Head

from ..admission import advisory
from ..hosts import connection_url
from ..life import TokenStatus, token_status
from ..models import Agent, Gpu, Share, Worker
from .answers import (
    AgentItem,
    GpuItem,
    InstalledAgent,
    PublicShareInfo,
    ShareListItem,
    TokenStatusResponse,
    WorkerConfig,
    WorkerConnection,
    WorkerItem,
)
from .times import iso, iso_of

ValueT = TypeVar("ValueT")

REMOTE: Final = "its agent sets the limits; nothing here can check that they hold"


@frozen(kw_only=True)
class Limits:
    """Whether a worker's limits hold, and why or why not."""

    limits: Literal["none", "advisory", "enforced"]
    reason: str = ""


LimitsOf = Callable[[Worker, Agent], Limits]


def limits_of(worker: Worker, agent: Agent) -> Limits:
    """Return what holds for a worker where nothing on this host enforces its limits."""
    if not worker.claim.is_fraction:
        return Limits(limits="none")
    own = set(worker.gpu_ids)
    others = [
        other.claim
        for other in agent.workers.values()
        if other is not worker and not own.isdisjoint(other.gpu_ids) and other.claim.holds
    ]
    beside = advisory(True, worker.gpu_ids, others).removeprefix("advisory: ")
    return Limits(limits="advisory", reason=beside or REMOTE)


def _if_any(value: ValueT | None) -> ValueT | UnsetType:
    return UNSET if value is None else value


# ---------------------------------------------------------------- agents and workers


def gpu_item(gpu: Gpu, used_by_worker: str | None = None) -> GpuItem:
    """Return a GPU; ``used_by_worker`` is derived from workers, since agents never say it."""
    return GpuItem(
        gpu_id=gpu.gpu_id,
        gpu_index=gpu.gpu_index,
        vendor=gpu.vendor,
        model=gpu.model,
        vram_mb=gpu.vram_mb,
        driver_version=_if_any(gpu.driver_version),
        cuda_version=_if_any(gpu.cuda_version),
        used_by_worker=used_by_worker,
    )


def users(workers: Iterable[Worker]) -> dict[str, str]:
    """Return which running worker uses each GPU; the oldest, where several do."""
    found: dict[str, str] = {}
    for worker in sorted(workers, key=lambda each: (each.created_unix_us, each.worker_id)):
        if worker.status == "running":
            for gpu_id in worker.gpu_ids:
                found.setdefault(gpu_id, worker.worker_id)
    return found


def worker_item(
    worker: Worker, agent: Agent, *, limits: LimitsOf = limits_of, used: Mapping[str, str] | None = None
) -> WorkerItem:
    """Return a worker of an agent.

    :param used: the agent's `users`, where they are known.
    """
    used = users(agent.workers.values()) if used is None else used
    gpus = _gpus_of(worker, agent)
    found = limits(worker, agent)
    return WorkerItem(
        worker_id=worker.worker_id,
        agent_id=agent.agent_id,
        agent_hostname=agent.hostname,
        name=worker.name,
        gpu_ids=list(worker.gpu_ids),
        gpu_indices=[gpu.gpu_index for gpu in gpus],
        gpus=[gpu_item(gpu, used.get(gpu.gpu_id)) for gpu in gpus],
        listen_port=worker.listen_port,
        enabled=worker.enabled,
        is_default=worker.is_default,
        status=str(worker.status),
        pid=_if_any(worker.pid),
        restarts=worker.restarts,
        connections=[
            WorkerConnection(
                client_ip=peer.client_ip,
                connected_at=iso_of(since),
                client_port=_if_any(peer.client_port),
                client_pid=_if_any(peer.client_pid),
            )
            for peer, since in worker.connections.items()
        ],
        vram_mb=_if_any(worker.vram_mb),
        compute_percent=_if_any(worker.compute_percent),
        isolation_mode=_if_any(worker.isolation_mode),
        limits=found.limits,
        limits_reason=found.reason,
        started_at=iso(worker.started_unix_us),
        created_at=iso_of(worker.created_unix_us),
    )


def agent_item(agent: Agent, status: str, *, limits: LimitsOf = limits_of) -> AgentItem:
    """Return an agent with its GPUs and workers."""
    used = users(agent.workers.values())
    return AgentItem(
        agent_id=agent.agent_id,
        hostname=agent.hostname,
        status=str(status),
        os=agent.os,
        arch=agent.arch,
        network_ips=list(agent.network_ips),
        gpuCount=len(agent.gpus),
        gpu_count=len(agent.gpus),
        gpu_summary=gpu_summary(agent.gpus),
        gpus=[gpu_item(gpu, used.get(gpu.gpu_id)) for gpu in agent.gpus],
        workers=[worker_item(worker, agent, limits=limits, used=used) for worker in agent.workers.values()],
        last_seen_at=iso(agent.last_seen_unix_us),
        created_at=iso_of(agent.created_unix_us),
    )


def gpu_summary(gpus: Sequence[Gpu]) -> str | None:
    """Return ``2x RTX 4090, 1x H200``; ``None`` without GPUs."""
    counted = Counter(gpu.model or gpu.vendor for gpu in gpus)
    return ", ".join(f"{count}x {model}" for model, count in counted.items()) or None


def worker_config(worker: Worker, agent: Agent, share_codes: list[str]) -> WorkerConfig:
    """Return what an agent should run as one worker."""
    return WorkerConfig(
        worker_id=worker.worker_id,
        gpu_ids=list(worker.gpu_ids),
        gpu_indices=[gpu.gpu_index for gpu in _gpus_of(worker, agent)],
        vram_mb=_if_any(worker.vram_mb),
        compute_percent=_if_any(worker.compute_percent),
        isolation_mode=_if_any(worker.isolation_mode),
        listen_port=worker.listen_port,
        enabled=worker.enabled,
        share_codes=share_codes,
    )


def _gpus_of(worker: Worker, agent: Agent) -> list[Gpu]:
    by_id = {gpu.gpu_id: gpu for gpu in agent.gpus}
    return [by_id[gpu_id] for gpu_id in worker.gpu_ids if gpu_id in by_id]


# ---------------------------------------------------------------- tokens and shares


def token_state(
    token_id: str,
    *,
    expires_unix_us: int,
    used_unix_us: int | None,
    now_unix_us: int,
    agent: InstalledAgent | None = None,
) -> TokenStatusResponse:
    """Return what became of an install token; ``is_expired`` is true only of one that was not used in time."""
    status = token_status(used_unix_us=used_unix_us, expires_unix_us=expires_unix_us, now_unix_us=now_unix_us)
    return TokenStatusResponse(
        token_id=token_id,
        status=status.value,
        expires_at=iso_of(expires_unix_us),
        used_at=iso(used_unix_us),
        is_expired=status is TokenStatus.EXPIRED,
        agent=_if_any(agent),
    )


def hardware_vendor(worker: Worker, agent: Agent) -> str:
    """Return the vendor of a worker's first GPU, by which clients choose their libraries; empty where it has none."""
    return next((gpu.vendor for gpu in _gpus_of(worker, agent)), "")


def url_of(share: Share, worker: Worker) -> str:
    """Return where guests connect: the share's own port of our relay, or else the worker's port."""
    return connection_url(share.connection_ip, share.relay_port or worker.listen_port)


def short_link(base: str, code: str) -> str:
    """Return ``{base}/s/{code}``."""
    return f"{base.rstrip('/')}/s/{code}"


def share_item(share: Share, worker: Worker, agent: Agent, *, base: str, access: str = "redeemed") -> ShareListItem:
    """Return a share as its owner sees it.

    :param base: what short links begin with.
    :param access: who may connect to a share that does not say.
    """
    relayed = share.relay_port is not None
    return ShareListItem(
        share_id=share.share_id,
        short_code=share.short_code,
        short_link=short_link(base, share.short_code),
        worker_id=share.worker_id,
        hardware_vendor=hardware_vendor(worker, agent),
        connection_url=url_of(share, worker),
        expires_at=iso(share.expires_unix_us),
        max_uses=share.max_uses,
        used_count=share.used_count,
        created_at=iso_of(share.created_unix_us),
        protocol=share.protocol,
        access=(share.access or access) if relayed else UNSET,
        networks=list(share.networks) if relayed else UNSET,
        max_connections=_if_any(share.max_connections) if relayed else UNSET,
    )


def public_share(share: Share, worker: Worker, agent: Agent) -> PublicShareInfo:
    """Return a share as a guest sees it: neither its owner nor its limits."""
    return PublicShareInfo(
        worker_id=share.worker_id,
        hardware_vendor=hardware_vendor(worker, agent),
        connection_url=url_of(share, worker),
        agent_arch=agent.arch,
    )


# ---------------------------------------------------------------- failures


def render_error(error: ApplianceError, head: Head) -> Answer:
    """Render any failure: ``{"error","hint"}``, which is what the clients print."""
    return Answer(model={"error": error.message, "hint": error.hint}, status=error.status, headers=error.headers)
