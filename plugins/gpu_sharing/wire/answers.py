"""What is answered: the documented fields, and the further ones that the clients read.

A field that is ``UNSET`` is left out; ``null`` is written where the document has it. Lists are never null, integers
never have a fraction, and times are RFC 3339, since Go refuses anything else.
"""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType


class Success(Struct, frozen=True, kw_only=True):
    """Done."""

    success: bool = True


class License(Struct, frozen=True, kw_only=True):
    """A signed licence; agents pass both texts on to their workers."""

    plain: str
    encrypted: str


# ---------------------------------------------------------------- tokens


class GenerateTokenResponse(Struct, frozen=True, kw_only=True):
    """An install token, shown this once."""

    token_id: str
    token: str
    expires_at: str
    install_command: str


class InstalledAgent(Struct, frozen=True, kw_only=True):
    """The agent that was installed with a token."""

    agent_id: str
    hostname: str
    status: str


class TokenStatusResponse(Struct, frozen=True, kw_only=True):
    """What became of an install token."""

    token_id: str
    status: str
    expires_at: str
    used_at: str | None
    is_expired: bool
    agent: InstalledAgent | UnsetType = UNSET


class PatResponse(Struct, frozen=True, kw_only=True):
    """A personal access token, shown this once."""

    token: str
    expires_at: str | None
    created_at: str


class PatInfo(Struct, frozen=True, kw_only=True):
    """What is known of the personal access token."""

    exists: bool
    expires_at: str | None = None
    last_used_at: str | None = None
    created_at: str | None = None
    token: str | None = None
    """Always null: it is not kept, so it cannot be shown again."""


# ---------------------------------------------------------------- agents and workers


class AgentRegisterResponse(Struct, frozen=True, kw_only=True):
    """What an agent needs from now on; the secret is shown this once."""

    agent_id: str
    agent_secret: str
    license: License


class GpuItem(Struct, frozen=True, kw_only=True):
    """One GPU of an agent."""

    gpu_id: str
    gpu_index: int
    vendor: str
    model: str
    vram_mb: int
    driver_version: str | UnsetType = UNSET
    cuda_version: str | UnsetType = UNSET
    used_by_worker: str | None = None


class WorkerConnection(Struct, frozen=True, kw_only=True):
    """Somebody who is connected to a worker."""

    client_ip: str
    connected_at: str
    """When it was first reported."""
    client_port: int | UnsetType = UNSET
    client_pid: int | UnsetType = UNSET


class WorkerItem(Struct, frozen=True, kw_only=True):
    """One worker, in lists, alone, and inside its agent."""

    worker_id: str
    agent_id: str
    agent_hostname: str
    name: str
    gpu_ids: list[str]
    gpu_indices: list[int]
    gpus: list[GpuItem]
    listen_port: int
    enabled: bool
    is_default: bool
    status: str
    pid: int | UnsetType = UNSET
    restarts: int
    connections: list[WorkerConnection]
    vram_mb: int | UnsetType = UNSET
    compute_percent: int | UnsetType = UNSET
    isolation_mode: str | UnsetType = UNSET
    limits: Literal["none", "advisory", "enforced"]
    """Whether anything keeps the worker within ``vram_mb`` and ``compute_percent``."""
    limits_reason: str
    """Why they are advisory, or what enforces them."""
    started_at: str | None
    created_at: str


class Workers(Struct, frozen=True, kw_only=True):
    """A list of workers."""

    workers: list[WorkerItem]


class AgentItem(Struct, frozen=True, kw_only=True):
    """One agent, in lists and alone. The document's ``gpuCount`` is the clients' ``gpu_count``."""

    agent_id: str
    hostname: str
    status: str
    os: str
    arch: str
    network_ips: list[str]
    gpuCount: int  # noqa: N815 (the documented name)
    gpu_count: int
    gpu_summary: str | None
    gpus: list[GpuItem]
    workers: list[WorkerItem]
    last_seen_at: str | None
    created_at: str


class Agents(Struct, frozen=True, kw_only=True):
    """A list of agents."""

    agents: list[AgentItem]


class WorkerConfig(Struct, frozen=True, kw_only=True):
    """What an agent should run."""

    worker_id: str
    gpu_ids: list[str]
    gpu_indices: list[int]
    vram_mb: int | UnsetType = UNSET
    compute_percent: int | UnsetType = UNSET
    isolation_mode: str | UnsetType = UNSET
    listen_port: int
    enabled: bool
    share_codes: list[str]
    """Never empty, since agents do not take an empty list for one; see `codes.DeadCodes`."""


class AgentConfigResponse(Struct, frozen=True, kw_only=True):
    """All that an agent should run."""

    config_version: int
    workers: list[WorkerConfig]
    license: License


class StatusReportResponse(Struct, frozen=True, kw_only=True):
    """What an agent hears after each report."""

    success: bool = True
    config_version: int
    license: License | None
    """``null``: keep the one you have."""
    worker_share_codes: dict[str, list[str]]


# ---------------------------------------------------------------- shares


class ShareListItem(Struct, frozen=True, kw_only=True):
    """One share, as its owner sees it."""

    share_id: str
    short_code: str
    short_link: str
    worker_id: str
    hardware_vendor: str
    connection_url: str
    expires_at: str | None
    max_uses: int | None
    used_count: int
    created_at: str
    protocol: str
    access: str | UnsetType = UNSET
    """Who may connect; left out where no relay of ours stands in front."""
    networks: list[str] | UnsetType = UNSET
    max_connections: int | UnsetType = UNSET


class Shares(Struct, frozen=True, kw_only=True):
    """A list of shares."""

    shares: list[ShareListItem]


class PublicShareInfo(Struct, frozen=True, kw_only=True):
    """What a guest gets."""

    worker_id: str
    hardware_vendor: str
    connection_url: str
    agent_arch: str
    """Beyond the document: which client libraries fit."""
