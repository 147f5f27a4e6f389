"""What is written down of deploys: what each drone has, the deploy log, and who is told.

What a drone has is told by its row: the version whose content is there, with the status of the last attempt. While one
is under way the row says ``deploying``; where the appliance ends meanwhile, the next start calls that failed.
"""

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog
from attrs import define, evolve, frozen

from appliance.plugin import ApplianceError, Core

from ..models import SURFACE
from ..states import Drone
from . import store
from .models import Action, By, DeployStatus, DronePayload, LogEntry, PayloadVersion

log = structlog.get_logger(__name__)

ERROR_CHARACTERS: Final = 1000
UNKNOWN: Final = "what is there now is not known: appliance swarm payload verify"
INTERRUPTED: Final = "the appliance ended in the middle of it; " + UNKNOWN
Note = Callable[..., Any]
"""``note(type, message, *, drone=, details=)``, as `Chronicle.note`."""


@frozen(kw_only=True)
class Attempt:
    """One that is under way."""

    entry_id: int
    started_s: float
    entry: LogEntry
    by: By


@define(eq=False, kw_only=True)
class Journal:
    """Writes down attempts, each with what the drone has by then, in one transaction."""

    core: Core
    note: Note
    """Puts something among the events of the swarm."""
    monotonic: Callable[[], float]
    """Seconds since whenever, never back."""

    async def had(self, drone: Drone, payload_type: str) -> DronePayload | None:
        """Return what a drone has of a type."""
        rows = await self.core.database.read(store.drone_payloads)
        return next((row for row in rows if (row.drone_id, row.payload_type) == (drone.drone_id, payload_type)), None)

    def row(self, drone: Drone, version: PayloadVersion, status: DeployStatus, by: By, error: str = "") -> DronePayload:
        """Return what a drone has by now, for `started` and `ended`."""
        return DronePayload(
            drone_id=drone.drone_id,
            payload_type=version.payload_type,
            version=version.version,
            sha256=version.sha256,
            status=status,
            error=error[:ERROR_CHARACTERS],
            changed_unix_us=self.core.now(),
            changed_by=by.name,
        )

    async def started(
        self, drone: Drone, payload_type: str, version: str, action: Action, by: By, row: DronePayload | None = None
    ) -> Attempt:
        """Write down that an attempt begins, and what the drone has meanwhile."""
        entry = LogEntry(
            drone_id=drone.drone_id,
            drone_name=drone.name,
            payload_type=payload_type,
            version=version,
            action=action,
            status=DeployStatus.DEPLOYING.value,
            duration_ms=None,
            error="",
            at_unix_us=self.core.now(),
            by=by.name,
        )

        def write(connection: sqlite3.Connection) -> int:
            if row is not None:
                store.put_drone(connection, row)
            return store.log_start(connection, entry)

        entry_id = await self.core.database.write(write)
        return Attempt(entry_id=entry_id, started_s=self.monotonic(), entry=entry, by=by)

    async def ended(self, attempt: Attempt, row: DronePayload | None, *, error: str = "", words: str = "") -> None:
        """Write down how an attempt ended, and what the drone has now; then tell of it.

        :param row: ``None`` where it has nothing.
        :param error: why it failed; empty where it did not.
        :param words: what to tell of a success.
        """
        taken_ms = (self.monotonic() - attempt.started_s) * 1000
        entry, short = attempt.entry, error[:ERROR_CHARACTERS]

        def write(connection: sqlite3.Connection) -> None:
            if row is None:
                store.drop_drone(connection, entry.drone_id, entry.payload_type)
            else:
                store.put_drone(connection, row)
            store.log_end(connection, attempt.entry_id, error=short, duration_ms=taken_ms)

        await self.core.database.write(write)
        await self._tell(attempt, short, words)

    async def unhealthy(self, drone: Drone, row: DronePayload, why: str) -> None:
        """Write down that a payload that stays on a drone does not work there."""
        failed = evolve(row, status=DeployStatus.FAILED, error=why[:ERROR_CHARACTERS])
        await self.core.database.write(lambda write: store.put_drone(write, failed))
        self.note("warn", f"{row.payload_type} v{row.version} on {drone.name}: {why}", drone=drone.name)

    async def interrupted(self) -> None:
        """Call failed what an earlier run was in the middle of."""
        count = await self.core.database.write(lambda write: store.interrupted(write, INTERRUPTED))
        if count:
            log.warning("payload.interrupted", drones=count)

    async def _tell(self, attempt: Attempt, error: str, words: str) -> None:
        entry = attempt.entry
        what = f"{entry.action.value} of {entry.payload_type} v{entry.version or '-'} to {entry.drone_name}"
        message = f"{what} failed: {error}" if error else words or what
        details: Mapping[str, Any] = {
            "drone_id": entry.drone_id,
            "payload_type": entry.payload_type,
            "version": entry.version,
            "action": entry.action.value,
            "status": "failed" if error else "success",
            "by": attempt.by.name,
        }
        try:
            self.note("payload", message, drone=entry.drone_name, details=details)
            self.core.audit.record_soon(
                f"swarm.payload.{entry.action.value}", object=entry.drone_name, detail=details, **attempt.by.who
            )
            await self.core.events.publish(
                "swarm.payload",
                message[:2000],
                level="warning" if error else "info",
                subject=entry.drone_name,
                source=SURFACE,
                data=details,
            )
        except ApplianceError as failure:
            # It is done and in the deploy log; that somebody is not told of it undoes neither.
            log.warning("payload.not_told", drone=entry.drone_name, reason=failure.message)
