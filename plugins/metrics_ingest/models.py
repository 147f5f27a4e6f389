"""What metrics ingest thinks in: servers, and the state its handlers share."""

from collections.abc import Mapping
from typing import Any

from attrs import define, field, frozen

SURFACE = "metrics_ingest"
LOCAL_SLUG = "local"


def is_whole(gpu_id: str) -> bool:
    """Whether an id is a GPU's, not that of a MIG instance: clients know GPUs by their index, which the two share."""
    return not gpu_id.startswith("MIG-")


@define(kw_only=True, eq=False)
class Server:
    """One monitored server: as registered, and when it was heard of last. Only `Servers` and ingest change it."""

    server_id: int
    slug: str
    name: str
    hostname: str = ""
    description: str = ""
    is_active: bool = True
    is_local: bool = False
    """The host we run on: the local agent samples it, and no token of it exists."""
    series_id: str
    """Under which core's series hold its samples."""
    agent_user: str = ""
    agent_info: Mapping[str, Any] = field(factory=dict)
    agent_version: str = ""
    last_ip: str = ""
    last_seen_unix_us: int | None = None
    """By our own clock."""
    latest_unix_us: int | None = None
    """Time of its newest sample, by its own clock."""
    snapshot_count: int = 0
    """Samples taken into history; those of which only rollups are left count too."""
    owner: str = ""
    """The person who registered it; empty for the appliance's own."""
    created_unix_us: int = 0
    revision: int = 0
    """Changes with everything but the last sample."""
    code: int | None = None
    """Verdict of its newest sample, where that is known without asking the database."""
    in_flight: int = 0
    """Batches that are being stored now."""
    agent_raw: bytes = b""
    """What the agent said last about itself, as sent: agents repeat it with every sample."""
    row_revision: int = -1
    row_head: bytes = b""
    row_tail: bytes = b""
    """The JSON around what changes with every sample, as of ``row_revision``."""


@frozen(kw_only=True)
class Agent:
    """What an agent says about itself and its host, cut to what is kept."""

    version: str = ""
    hostname: str = ""
    user: str = ""
    info: Mapping[str, Any] = field(factory=dict)
