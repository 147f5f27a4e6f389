"""What the inventory knows of hosts and GPUs."""

from enum import StrEnum

from attrs import field, frozen

from appliance.devices import Gpu


class MarkKind(StrEnum):
    """What a mark says; any of them keeps new work away."""

    CORDONED = "cordoned"
    """A person wants no new work there."""
    DRAINING = "draining"
    """No new work, and what runs is to end."""
    UNHEALTHY = "unhealthy"
    """The appliance or a plugin found it failing; ``reason`` says how."""


@frozen(kw_only=True)
class Mark:
    """One mark on a host or GPU."""

    kind: MarkKind
    reason: str
    who: str
    """Name of the person or part that set it."""
    set_at_unix_us: int


@frozen(kw_only=True)
class KnownGpu:
    """A GPU or MIG instance that has been seen at least once."""

    gpu: Gpu
    host_id: str
    present: bool
    """Whether its host reported it the last time it reported GPUs."""
    first_seen_unix_us: int
    changed_at_unix_us: int
    """When it last appeared, disappeared, moved or changed."""
    marks: tuple[Mark, ...] = ()

    @property
    def gpu_id(self) -> str:
        """The driver's uuid."""
        return self.gpu.gpu_id


@frozen(kw_only=True)
class KnownHost:
    """A host that has been seen at least once."""

    host_id: str
    hostname: str
    """What it calls itself; never an identity."""
    first_seen_unix_us: int
    last_seen_unix_us: int
    """By our own clock; on disk at most 5 s behind."""
    marks: tuple[Mark, ...] = ()
    aliases: tuple[tuple[str, str], ...] = field(default=())
    """(surface, foreign id): the names by which surfaces know this host."""
