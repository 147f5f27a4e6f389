"""The swarm's events as lines of a log."""

import time
from typing import Final

from .chronicle import Chronicle
from .states import SwarmEvent
from .wire.plain import plain

PAGE: Final = 1000
SECOND_US: Final = 1_000_000
_LEVELS: Final = {
    "alert": "ERROR",
    "blocked": "WARNING",
    "escalate": "WARNING",
    "escalation": "WARNING",
    "fail": "WARNING",
    "grounded": "WARNING",
    "stale": "WARNING",
    "warn": "WARNING",
}
_PARTS: Final = {
    "register": "control_plane",
    "control": "control_plane",
    "queue": "control_plane",
    "session": "control_plane",
    "escalate": "self_healing",
    "escalation": "self_healing",
    "heal": "self_healing",
    "alert": "self_healing",
    "warn": "self_healing",
    "reboot": "self_healing",
    "release": "releases",
    "profile": "profiles",
    "snapshot": "profiles",
    "clean": "admin",
}


def line_of(event: SwarmEvent) -> str:
    """Return an event as a line, its time in UTC."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(event.unix_us // SECOND_US))
    level, part = _LEVELS.get(event.type, "INFO"), _PARTS.get(event.type, "scheduler")
    words = plain(" ".join(event.message.splitlines()))
    return f"{at} {level} [{part}] {words}"


async def log_lines(chronicle: Chronicle, count: int) -> list[str]:
    """Return the last lines, oldest first."""
    found: list[SwarmEvent] = []
    before_id = 0
    while len(found) < count:
        wanted = min(PAGE, count - len(found))
        page = await chronicle.history(limit=wanted, before_id=before_id)
        found += page
        if len(page) < wanted:
            break
        before_id = page[-1].event_id
    return [line_of(event) for event in reversed(found)]
