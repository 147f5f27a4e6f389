"""What the machine registry thinks in: machines, pools, and what a beat says."""

from typing import Final

from attrs import define, field, frozen

from .life import State, Status, state

SURFACE: Final = "machine_registry"
DEFAULT_POOL: Final = "default"
DEFAULT_PROVIDER: Final = "generic"
NAME_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
"""What pools, providers and GPUs of ours are called."""
GPU_NAMES: Final = (
    "A10G", "A100-40", "A100-80", "L4", "T4", "H100", "A6000", "RTX4090", "L40S", "MPS", "any",
)  # fmt: skip
"""The names that clients know; all are always counted."""
ANY_GPU: Final = "any"
"""Under which GPUs of pools without a GPU name are counted."""


@frozen(kw_only=True)
class Pool:
    """A pool of machines."""

    name: str
    gpu: str = ""
    provider: str = DEFAULT_PROVIDER
    is_configured: bool = False
    """Written in TOML (or always there): not to be changed over the API."""


@define  # not frozen: one is made for every beat, and that takes ten times as long
class Metrics:
    """What a keepalive reports; what it leaves out is 0, as in the documented API."""

    total_cpu_available: int = 0
    """Millicores."""
    total_memory_available: int = 0
    """MB by the document, bytes by the agents; see `quantities.memory_bytes`."""
    total_disk_space_bytes: int = 0
    cpu_utilization_pct: float = 0.0
    memory_utilization_pct: float = 0.0
    total_disk_free_bytes: int = 0
    worker_count: int = 0
    container_count: int = 0
    free_gpu_count: int = 0
    cache_usage_pct: float = 0.0
    cache_capacity: int = 0
    cache_memory_usage: int = 0
    cache_cpu_usage: float = 0.0


@define
class Inference:
    """What a keepalive says of a model server beside the agent."""

    status: str = ""
    """``stopped``, ``starting``, ``running`` or ``error``."""
    ip: str = ""
    port: int = 0
    models: list[str] | None = None


@define(kw_only=True, eq=False)
class Machine:
    """One machine; only `Machines` changes it. Times that end in ``_us`` alone are those of the steady clock."""

    provider: str
    pool: str
    machine_id: str
    host_id: str
    """In the inventory and in core's series."""
    status: Status
    deadline_us: int
    heard_us: int
    hostname: str = ""
    cpu_millicores: int = 0
    memory_mib: int = 0
    gpu_count: int = 0
    private_ip: str = ""
    agent_version: str = ""
    created_unix_us: int = 0
    registered_unix_us: int | None = None
    last_keepalive_unix_us: int | None = None
    last_worker_unix_us: int | None = None
    metrics: Metrics | None = None
    inference: Inference | None = None
    credential_id: str = ""
    """With which it was made, or registered last."""
    gpu_model: str = ""
    """What its GPUs are called where the pool has no name for them; known of the local machine alone."""
    is_local: bool = False
    """The host we run on: no agent, no token, always ready."""
    told: State = State.PENDING
    """What people and other parts were told last."""
    sampled_us: int | None = None
    """When its figures were given to core's series last."""
    sampled: Metrics | None = None
    """Those figures."""
    sender: tuple[str, str] | None = None
    """Address and version of who beat last."""
    sender_before: tuple[str, str] | None = None
    turns: int = 0
    """How often in a row two senders have taken turns."""
    turned_us: int = 0
    """When the sender was another one last."""
    listed: bytes | None = None
    """Its JSON in lists, until something of it changes."""
    listed_head: tuple[str, bytes] | None = None
    """What seldom changes of that JSON, with the name of the GPUs in it."""
    reply_head: bytes | None = None
    """The start of the answer to its keepalives, likewise."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Provider, pool and id: the same id may exist in two pools."""
        return self.provider, self.pool, self.machine_id

    @property
    def foreign_id(self) -> str:
        """Its name in the inventory."""
        return "/".join(self.key)

    def state(self, now_us: int) -> State:
        """Return what it is at a moment of the steady clock."""
        if self.is_local:
            return State.READY
        return state(self.status, self.deadline_us, self.heard_us, now_us)

    def changed(self) -> None:
        """Forget the JSON made of it."""
        self.listed = self.listed_head = self.reply_head = None


@define(kw_only=True, eq=False)
class Found:
    """Something that people should hear of; `watch` tells them."""

    kind: str
    machine: Machine
    words: str
    data: dict[str, object] = field(factory=dict)
