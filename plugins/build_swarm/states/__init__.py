"""What the build swarm thinks in: drones, packages, sessions, builds and events, and what is asked and answered.

Wall-clock times are microseconds since the epoch and end in ``_unix_us``; they are shown and never decide anything.
What decides are moments of a clock that never jumps, which end in ``_us``.
"""

from .answers import (
    BuildStatistics,
    Completed,
    Controlled,
    DroneTiming,
    Figures,
    Heartbeat,
    Progress,
    Queued,
    QueueRequest,
    Registered,
    Report,
    StopWork,
    Timing,
    Work,
)
from .things import (
    NO_NEEDS,
    Build,
    Drone,
    Package,
    PackageNeeds,
    Session,
    SwarmEvent,
)
from .words import (
    OPEN,
    DroneKind,
    DroneStatus,
    DroneType,
    Outcome,
    PackageState,
    SessionStatus,
)

__all__ = [
    "NO_NEEDS",
    "OPEN",
    "Build",
    "BuildStatistics",
    "Completed",
    "Controlled",
    "Drone",
    "DroneKind",
    "DroneStatus",
    "DroneTiming",
    "DroneType",
    "Figures",
    "Heartbeat",
    "Outcome",
    "Package",
    "PackageNeeds",
    "PackageState",
    "Progress",
    "QueueRequest",
    "Queued",
    "Registered",
    "Report",
    "Session",
    "SessionStatus",
    "StopWork",
    "SwarmEvent",
    "Timing",
    "Work",
]
