"""What GPU sharing thinks in: agents, their workers, and shares of those."""

from collections.abc import Mapping
from typing import Final

from attrs import define, field, frozen

from .admission import AgentGpu, Claim

SURFACE: Final = "gpu_sharing"
DEFAULT_PORT: Final = 9001
"""Where an agent's default worker listens."""
DEFAULT_WORKER: Final = "default"


@frozen(kw_only=True)
class Gpu:
    """One GPU as its agent registered it."""

    gpu_id: str
    gpu_index: int
    vendor: str
    """In lower case."""
    model: str
    vram_mb: int
    driver_version: str | None = None
    cuda_version: str | None = None


@frozen(kw_only=True)
class Peer:
    """Who is connected to a worker."""

    client_ip: str
    client_port: int | None = None
    client_pid: int | None = None


@define(kw_only=True, eq=False)
class Worker:
    """One worker; only `Book` changes it."""

    worker_id: str
    agent_id: str
    name: str
    gpu_ids: tuple[str, ...]
    listen_port: int
    enabled: bool = True
    is_default: bool = False
    status: str = "pending"
    """``pending``, ``running``, ``stopping`` or ``stopped``."""
    pid: int | None = None
    restarts: int = 0
    vram_mb: int | None = None
    compute_percent: int | None = None
    isolation_mode: str | None = None
    started_unix_us: int | None = None
    created_unix_us: int
    stopping_since_us: int | None = None
    """By the steady clock, when it was disabled."""
    listed_us: int | None = None
    """By the steady clock, when its agent's report had it last."""
    connections: Mapping[Peer, int] = field(factory=dict)
    """When each peer was first seen, in microseconds since the epoch."""

    @property
    def claim(self) -> Claim:
        """What it has of its agent."""
        return Claim(
            worker_id=self.worker_id,
            name=self.name,
            listen_port=self.listen_port,
            gpu_ids=self.gpu_ids,
            vram_mb=self.vram_mb,
            compute_percent=self.compute_percent,
            holds=self.enabled or self.status == "stopping",
        )


@define(kw_only=True, eq=False)
class Agent:
    """One agent with its workers; only `Book` changes it."""

    agent_id: str
    owner: str
    """The person's id; empty for the appliance's own."""
    hostname: str
    os: str
    arch: str
    network_ips: tuple[str, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    host_id: str
    """In the inventory and in core's series."""
    config_version: int = 1
    last_seen_unix_us: int | None = None
    heard_us: int | None = None
    """By the steady clock, when it reported last in this run."""
    fetched_us: int | None = None
    """By the steady clock, when it fetched its configuration last in this run."""
    told: str = ""
    """The status that people were told of last."""
    has_shut_down: bool = False
    """It has said that it ends, and nothing since."""
    reported_from: str = ""
    is_local: bool = False
    license_expires_unix_us: int = 0
    """Of the licence that it was given last."""
    license_given: str = ""
    """The plain text of the one that it was given last in this run."""
    created_unix_us: int
    workers: dict[str, Worker] = field(factory=dict)

    def gpu(self, gpu_id: str) -> Gpu | None:
        """Return a GPU by its id, whatever the case."""
        wanted = gpu_id.lower()
        return next((gpu for gpu in self.gpus if gpu.gpu_id.lower() == wanted), None)

    def claims(self) -> list[Claim]:
        """Return what its workers have."""
        return [worker.claim for worker in self.workers.values()]

    def admissible(self, unfit: Mapping[str, str] | None = None) -> list[AgentGpu]:
        """Return its GPUs as admission looks at them."""
        reasons = unfit or {}
        return [
            AgentGpu(
                gpu_id=gpu.gpu_id, index=gpu.gpu_index, vram_mb=gpu.vram_mb, unfit=reasons.get(gpu.gpu_id.lower(), "")
            )
            for gpu in self.gpus
        ]


@define(kw_only=True, eq=False)
class Share:
    """One share of a worker; only `Book` changes it."""

    share_id: str
    short_code: str
    worker_id: str
    agent_id: str
    owner: str
    connection_ip: str
    protocol: str = "native"
    expires_unix_us: int | None = None
    max_uses: int | None = None
    used_count: int = 0
    access: str | None = None
    """Who may connect through the relay: ``open``, ``cidr`` or ``redeemed``; as the settings say when ``None``."""
    networks: tuple[str, ...] = ()
    max_connections: int | None = None
    relay_port: int | None = None
    """Of this host, where the relay stands in front; ``None`` for workers of other hosts."""
    created_unix_us: int

    def is_over(self, now_unix_us: int) -> bool:
        """Whether its time has come."""
        return self.expires_unix_us is not None and now_unix_us >= self.expires_unix_us

    def is_used_up(self) -> bool:
        """Whether its link has been followed as often as it may be."""
        return self.max_uses is not None and self.used_count >= self.max_uses
