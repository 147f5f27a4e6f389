"""Whether a drone works after it was restarted: it says so itself, or its program is seen to run."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol

import trio
from attrs import frozen

from appliance.plugin import ApplianceError

from ..states import Drone
from .hands import Hands

LOOK_SECONDS: Final = 0.25
GOOD_PROBES: Final = 2
"""In a row: a program that ends as soon as it starts may well be seen once."""


class HealthCheck(Protocol):
    """Says whether a drone came back."""

    async def __call__(self, hands: Hands, drone: Drone) -> str:
        """Return why it does not work, empty where it does."""
        ...


@frozen(kw_only=True)
class Health:
    """Restarts a drone's service, and waits for a newer heartbeat or for its program to run, whichever is first."""

    find: Callable[[str], Drone | None]
    """Finds a drone by its id."""
    process: str
    """Extended regular expression of the drone program's command line."""
    seconds: float
    """How long it may take."""
    probe_seconds: float = 5.0

    async def __call__(self, hands: Hands, drone: Drone) -> str:
        """Return why the drone does not work, empty where it does."""
        try:
            await hands.restart()
        except ApplianceError as error:
            return error.message
        heard_us = self._heard_us(drone)
        with trio.move_on_after(self.seconds) as waiting:
            async with trio.open_nursery() as nursery:

                async def until(sign: Callable[[], Awaitable[None]]) -> None:
                    await sign()
                    nursery.cancel_scope.cancel()

                nursery.start_soon(until, partial(self._heard, drone, heard_us))
                nursery.start_soon(until, partial(self._runs, hands))
        if not waiting.cancelled_caught:
            return ""
        return f"within {self.seconds:g} s it sent no heartbeat, and its program was not seen to run"

    async def _heard(self, drone: Drone, before_us: int) -> None:
        while self._heard_us(drone) == before_us:  # noqa: ASYNC110  heartbeats wake nobody
            await trio.sleep(LOOK_SECONDS)

    async def _runs(self, hands: Hands) -> None:
        good = 0
        while good < GOOD_PROBES:
            await trio.sleep(self.probe_seconds)
            try:
                good = good + 1 if await hands.runs(self.process) else 0
            except ApplianceError:
                good = 0  # it may be starting still; the deadline says for how long

    def _heard_us(self, drone: Drone) -> int:
        found = self.find(drone.drone_id)
        return 0 if found is None else found.heard_us
