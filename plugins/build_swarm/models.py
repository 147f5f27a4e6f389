"""The words that every part of the swarm uses."""

import re
from typing import Final

SURFACE: Final = "build_swarm"
"""The public documented surface (usually port 8100) and our own API."""
ADMIN_SURFACE: Final = "build_swarm_admin"
"""The documented admin surface (usually port 8093)."""
VERSION: Final = "0.4.0-alpha"
"""The version of the documented API; what the appliance is itself is at ``/api/v1/health``."""
ORCHESTRATOR: Final = "build-swarm-v3"
"""How the documented server calls itself to drones."""

NAME_CHARACTERS: Final = 63
NAME_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
"""Names and ids of drones: they become file names, command arguments and parts of paths."""
_name: Final = re.compile(NAME_PATTERN)


def is_name(text: str) -> bool:
    """Whether a text may name a drone."""
    return _name.fullmatch(text) is not None
