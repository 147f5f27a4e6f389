"""The words of the build swarm: states, kinds and outcomes."""

from enum import StrEnum
from typing import Final


class PackageState(StrEnum):
    """Where a package stands. ``received`` and ``failed`` are final; ``blocked`` comes back after a while."""

    NEEDED = "needed"
    DELEGATED = "delegated"
    RECEIVED = "received"
    BLOCKED = "blocked"
    FAILED = "failed"


OPEN: Final = frozenset({PackageState.NEEDED, PackageState.DELEGATED})
"""States of packages that are still to be built."""


class DroneStatus(StrEnum):
    """Whether a drone was heard of lately."""

    ONLINE = "online"
    OFFLINE = "offline"


class DroneType(StrEnum):
    """What kind of machine a drone is; only the first two may ever be rebooted."""

    LXC = "lxc"
    QEMU = "qemu"
    BARE_METAL = "bare-metal"
    UNKNOWN = "unknown"


class DroneKind(StrEnum):
    """What a drone works on: needed packages, or (a sweeper) the blocked ones."""

    DRONE = "drone"
    SWEEPER = "sweeper"


class SessionStatus(StrEnum):
    """Whether a session has anything left to build."""

    ACTIVE = "active"
    COMPLETED = "completed"


class Outcome(StrEnum):
    """What a report can say; any other word is kept as said and counts as ``failed``."""

    SUCCESS = "success"
    FAILED = "failed"
    RETURNED = "returned"
    MASKED = "masked"
    MISSING_BINARY = "missing_binary"
    UPLOAD_FAILED = "upload_failed"
