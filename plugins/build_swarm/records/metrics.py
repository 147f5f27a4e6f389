"""Figures over time: the queue's every 15 seconds, and those of drones as they said them last. Kept for a day."""

import math
from collections.abc import Mapping
from typing import Any, Final

import trio
from attrs import define, field

from appliance.plugin import Busy, Core, StorageFailed

from ..states import Drone
from ..swarm import Swarm
from . import store

EVERY_SECONDS: Final = 15.0
KEPT_SECONDS: Final = 86_400
DRONES_AT_ONCE: Final = 100
"""Of more drones each is noted less often."""
PRUNED_AT_ONCE: Final = 2000
SECOND_US: Final = 1_000_000


@define(eq=False)
class Metrics:
    """The figures; also the service that notes them."""

    core: Core
    swarm: Swarm
    name: str = "swarm metrics"
    _turn: int = field(default=0, init=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Note figures and drop old ones, until cancelled."""
        task_status.started()
        while True:
            await trio.sleep(EVERY_SECONDS)
            await self.note()

    async def note(self) -> None:
        """Note the figures of now; where the disk cannot take them, there are none of now."""
        rows = self._rows()
        before = self.core.now() - KEPT_SECONDS * SECOND_US
        try:
            await self.core.database.write(lambda connection: store.put_metrics(connection, rows), patience_seconds=1.0)
            await self.core.database.write(
                lambda connection: store.drop_metrics(connection, before, PRUNED_AT_ONCE), patience_seconds=1.0
            )
        except (Busy, StorageFailed):
            return

    def _rows(self) -> list[dict[str, Any]]:
        now = self.core.now()
        figures = self.swarm.status()
        drones = self.swarm.drones(offline=True)
        online = [each for each in drones if each.is_online]
        whole = {
            "unix_us": now,
            "drone_id": "",
            "drone": "",
            "status": "paused" if figures.paused else "active",
            "current_task": "",
            "cpu_percent": _mean(number_of(each.metrics, "cpu_percent") for each in online),
            "ram_percent": _mean(number_of(each.metrics, "ram_percent") for each in online),
            "load_1m": _mean(number_of(each.metrics, "load_1m") for each in online),
            "needed": figures.needed,
            "delegated": figures.delegated,
            "received": figures.received,
            "blocked": figures.blocked,
        }
        turns = max(1, math.ceil(len(drones) / DRONES_AT_ONCE))
        self._turn += 1
        return [whole, *(_row(each, now) for each in drones[self._turn % turns :: turns])]

    async def history(self, *, drone_id: str, since_unix_us: int, limit: int) -> list[dict[str, Any]]:
        """Return figures since a time, oldest first, at most so many rows: each for an equal part of it.

        :param drone_id: empty: of the queue.
        """
        now = self.core.now()
        since = max(since_unix_us, now - KEPT_SECONDS * SECOND_US)
        bucket_us = max(SECOND_US, math.ceil((now - since) / limit))
        return await self.core.database.read(
            lambda connection: store.metrics(
                connection, drone_id=drone_id, since_unix_us=since, bucket_us=bucket_us, limit=limit
            )
        )

    async def at(self, unix_us: int) -> list[dict[str, Any]]:
        """Return the rows of the newest moment not after a time; nothing when none is near enough to tell."""
        oldest = unix_us - 10 * int(EVERY_SECONDS) * SECOND_US
        return await self.core.database.read(lambda connection: store.at(connection, unix_us, oldest))


def number_of(metrics: Mapping[str, Any], name: str) -> float | None:
    """Return a figure that a drone said; ``None`` where it said none, or nothing that is a number."""
    value = metrics.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e12 < value < 1e12:
        return None
    return float(value)


def _row(drone: Drone, unix_us: int) -> dict[str, Any]:
    return {
        "unix_us": unix_us,
        "drone_id": drone.drone_id,
        "drone": drone.name,
        "status": drone.status.value,
        "current_task": drone.current_task,
        "cpu_percent": number_of(drone.metrics, "cpu_percent"),
        "ram_percent": number_of(drone.metrics, "ram_percent"),
        "load_1m": number_of(drone.metrics, "load_1m"),
        "needed": None,
        "delegated": len(drone.assigned),
        "received": None,
        "blocked": None,
    }


def _mean(values: Any) -> float | None:
    found = [value for value in values if value is not None]
    return sum(found) / len(found) if found else None
