"""What happened in the swarm: the last events in memory, seven days of them on disk."""

from collections.abc import Mapping
from typing import Any, Final

from attrs import define

from appliance.plugin import Core

from .states import SwarmEvent

RING_MAX: Final = 200


@define(eq=False)
class Chronicle:
    """The events of the swarm. Reading the ring is immediate; what is noted is on disk within a second."""

    core: Core

    def note(self, type: str, message: str, *, drone: str = "", details: Mapping[str, Any] | None = None) -> SwarmEvent:
        """Remember that something happened now.

        :param drone: name of the drone that it is about.
        """
        raise NotImplementedError

    def recent(
        self, *, after_id: int = 0, since_unix_us: int = 0, limit: int = RING_MAX, type: str = ""
    ) -> list[SwarmEvent]:
        """Return the newest events of the ring that fit, oldest first."""
        raise NotImplementedError

    @property
    def latest_id(self) -> int:
        """Id of the newest event; 0 before any."""
        raise NotImplementedError

    async def history(
        self, *, since_unix_us: int = 0, limit: int = 500, type: str = "", drone: str = "", before_id: int = 0
    ) -> list[SwarmEvent]:
        """Return stored events (and those not yet stored) that fit, newest first.

        :param before_id: only events with a smaller id; 0: all.
        :param drone: name of a drone, or its id where an event's details tell it.
        """
        raise NotImplementedError
