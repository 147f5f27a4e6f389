"""What happened in the swarm: the last events in memory, seven days of them on disk."""

import sqlite3
from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

import msgspec
from attrs import define, field

from appliance.plugin import Core

from .states import SwarmEvent

RING_MAX: Final = 200
UNWRITTEN_MAX: Final = 50_000
"""Events that wait for a disk that cannot be written; the oldest are dropped."""
HISTORY_MAX: Final = 2_000
ID_GAP: Final = 10_000
"""By how much ids jump at a start: events of the last second before a power cut were shown, and are not on disk."""
MESSAGE_MAX_CHARS: Final = 2_000

_COLUMNS: Final = "event_id, unix_us, type, message, details, drone"
_INSERT: Final = f"INSERT OR REPLACE INTO build_swarm_event ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608
_NEWEST: Final = f"SELECT {_COLUMNS} FROM build_swarm_event ORDER BY event_id DESC LIMIT ?"  # noqa: S608
_SOME: Final = f"""
SELECT {_COLUMNS} FROM build_swarm_event
 WHERE unix_us >= :since AND event_id < :before AND (:type = '' OR type = :type)
   AND (:drone = '' OR drone = :drone OR json_extract(details, '$.drone_id') = :drone)
 ORDER BY event_id DESC LIMIT :limit"""  # noqa: S608
_PRUNE: Final = """
DELETE FROM build_swarm_event
 WHERE unix_us < :before OR event_id <= (SELECT max(event_id) FROM build_swarm_event) - :most"""


@define(eq=False)
class Chronicle:
    """The events of the swarm. Reading the ring is immediate; what is noted is on disk within a second."""

    core: Core
    _ring: deque[SwarmEvent] = field(factory=lambda: deque(maxlen=RING_MAX), init=False)
    _unwritten: deque[SwarmEvent] = field(factory=lambda: deque(maxlen=UNWRITTEN_MAX), init=False)
    _latest_id: int = field(default=0, init=False)
    _next_id: int = field(default=1, init=False)

    def __attrs_post_init__(self) -> None:
        rows = self.core.database.read_now(lambda connection: connection.execute(_NEWEST, (RING_MAX,)).fetchall())
        self._ring.extend(_event(row) for row in reversed(rows))
        if self._ring:
            self._latest_id = self._ring[-1].event_id
            self._next_id = self._latest_id + ID_GAP

    def note(self, type: str, message: str, *, drone: str = "", details: Mapping[str, Any] | None = None) -> SwarmEvent:
        """Remember that something happened now.

        :param drone: name of the drone that it is about.
        """
        event = SwarmEvent(
            event_id=self._next_id,
            unix_us=self.core.now(),
            type=type,
            message=message[:MESSAGE_MAX_CHARS],
            details=details or {},
            drone=drone,
        )
        self._latest_id, self._next_id = self._next_id, self._next_id + 1
        self._ring.append(event)
        self._unwritten.append(event)
        return event

    def recent(
        self, *, after_id: int = 0, since_unix_us: int = 0, limit: int = RING_MAX, type: str = ""
    ) -> list[SwarmEvent]:
        """Return the newest events of the ring that fit, oldest first."""
        fitting = (
            event
            for event in reversed(self._ring)
            if event.event_id > after_id and event.unix_us >= since_unix_us and type in ("", event.type)
        )
        return list(islice(fitting, max(0, limit)))[::-1]

    @property
    def latest_id(self) -> int:
        """Id of the newest event; 0 before any."""
        return self._latest_id

    async def history(
        self, *, since_unix_us: int = 0, limit: int = 500, type: str = "", drone: str = "", before_id: int = 0
    ) -> list[SwarmEvent]:
        """Return stored events (and those not yet stored) that fit, newest first; at most 2,000.

        :param before_id: only events with a smaller id; 0: all.
        :param drone: name of a drone, or its id where an event's details tell it.
        """
        limit = max(0, min(limit, HISTORY_MAX))
        values = {
            "since": _held(since_unix_us),
            "before": _held(before_id) or 2**63 - 1,
            "type": type,
            "drone": drone,
            "limit": limit,
        }
        fresh = [event for event in reversed(self._unwritten) if _fits(event, values)]
        rows = await self.core.database.read(lambda connection: connection.execute(_SOME, values).fetchall())
        # What was written while that was read is in both.
        known = {event.event_id for event in fresh}
        return (fresh + [_event(row) for row in rows if row[0] not in known])[:limit]

    async def write_behind(self) -> int:
        """Store what was noted since the last time; return how many events. What fails stays to be stored."""
        events = list(self._unwritten)
        if not events:
            return 0
        rows = [_row(event) for event in events]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(_INSERT, rows)

        await self.core.database.write(write)
        newest = events[-1].event_id
        while self._unwritten and self._unwritten[0].event_id <= newest:
            self._unwritten.popleft()
        return len(events)

    async def prune(self, before_unix_us: int, most: int) -> int:
        """Delete stored events that are older, and those before the newest ``most``; return how many."""
        values = {"before": before_unix_us, "most": most}
        return await self.core.database.write(lambda connection: connection.execute(_PRUNE, values).rowcount)


def _held(value: int) -> int:
    return max(0, min(value, 2**63 - 1))


def _fits(event: SwarmEvent, wanted: Mapping[str, Any]) -> bool:
    return (
        event.unix_us >= wanted["since"]
        and event.event_id < wanted["before"]
        and wanted["type"] in ("", event.type)
        and wanted["drone"] in ("", event.drone, event.details.get("drone_id"))
    )


def _row(event: SwarmEvent) -> tuple[int, int, str, str, str, str]:
    details = msgspec.json.encode(event.details).decode()
    return event.event_id, event.unix_us, event.type, event.message, details, event.drone


def _event(row: tuple[Any, ...]) -> SwarmEvent:
    event_id, unix_us, type, message, details, drone = row
    return SwarmEvent(
        event_id=event_id,
        unix_us=unix_us,
        type=type,
        message=message,
        details=msgspec.json.decode(details),
        drone=drone,
    )
