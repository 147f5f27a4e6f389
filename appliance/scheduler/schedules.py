"""Jobs that come again by the clock: cron schedules, each making one job whenever its time has come."""

import sqlite3
from collections.abc import Callable
from typing import Any, Final

from attrs import define, evolve, frozen

from appliance.clock import Now
from appliance.database import Database
from appliance.errors import ApplianceError, Busy, NotFound, StorageFailed, TooLarge
from appliance.ids import new_id
from appliance.jobs import Job
from appliance.scheduler import rows
from appliance.scheduler.cron import Cron

SCHEDULES_MAX: Final = 1_000
_COLUMNS: Final = (
    "schedule_id, owner, name, cron, zone, is_enabled, created_at_unix_us, next_at_unix_us, last_at_unix_us, "
    "last_job_id, message, spec"
)
_ALL: Final = f"SELECT {_COLUMNS} FROM scheduler_schedule ORDER BY created_at_unix_us, schedule_id"  # noqa: S608  fixed
_PUT: Final = f"""
INSERT INTO scheduler_schedule ({_COLUMNS})
VALUES (:schedule_id, :owner, :name, :cron, :zone, :is_enabled, :created_at_unix_us, :next_at_unix_us, :last_at_unix_us,
        :last_job_id, :message, :spec)
ON CONFLICT (schedule_id) DO UPDATE SET is_enabled = excluded.is_enabled, next_at_unix_us = excluded.next_at_unix_us,
    last_at_unix_us = excluded.last_at_unix_us, last_job_id = excluded.last_job_id, message = excluded.message"""  # noqa: S608  fixed columns
_DROP: Final = "DELETE FROM scheduler_schedule WHERE schedule_id = :schedule_id"


@frozen(kw_only=True)
class Schedule:
    """A job that is made again and again."""

    schedule_id: str
    owner: str
    name: str
    cron: str
    zone: str
    """Time zone of the expression, such as ``UTC`` or ``Europe/Berlin``."""
    job: Job
    """What is made; its id and times are those of each one."""
    is_enabled: bool = True
    created_at_unix_us: int
    next_at_unix_us: int
    last_at_unix_us: int | None = None
    last_job_id: str = ""
    message: str = ""
    """Why the last one could not be made; empty when it was."""


@define(eq=False)
class Schedules:
    """All schedules. What was due while the appliance did not run is made once."""

    database: Database
    now: Now
    make: Callable[[Schedule], Any]
    """Submits the job of a schedule; returns an awaitable of its id."""
    _all: dict[str, Schedule] | None = None

    def items(self) -> list[Schedule]:
        """Return every schedule, oldest first."""
        return [*self._loaded().values()]

    def get(self, schedule_id: str) -> Schedule:
        """Return a schedule; raise `NotFound`."""
        try:
            return self._loaded()[schedule_id]
        except KeyError:
            raise NotFound("schedule", schedule_id) from None

    async def add(self, *, owner: str, name: str, cron: str, job: Job, zone: str = "UTC") -> Schedule:
        """Store a new schedule.

        :param job: what is made each time; its id does not matter.
        :raises BadInput: the expression or its zone is none.
        :raises TooLarge: there are too many.
        """
        if len(self._loaded()) >= SCHEDULES_MAX:
            raise TooLarge(f"there are {SCHEDULES_MAX} schedules", hint="remove those that are not needed")
        parsed, at = Cron.parse(cron, zone), self.now()
        schedule = Schedule(
            schedule_id=new_id("schedule"),
            owner=owner,
            name=name,
            cron=cron,
            zone=zone,
            job=evolve(job, owner=owner),
            created_at_unix_us=at,
            next_at_unix_us=parsed.next_after(at // 1_000_000) * 1_000_000,
        )
        await self._put(schedule)
        return schedule

    async def enable(self, schedule_id: str, *, is_enabled: bool) -> Schedule:
        """Switch a schedule on, from the next time on, or off; raise `NotFound`."""
        found = self.get(schedule_id)
        following = Cron.parse(found.cron, found.zone).next_after(self.now() // 1_000_000) * 1_000_000
        changed = evolve(found, is_enabled=is_enabled, next_at_unix_us=following)
        await self._put(changed)
        return changed

    async def remove(self, schedule_id: str) -> None:
        """Remove a schedule; the jobs it has made stay. Raise `NotFound`."""
        self.get(schedule_id)

        def take(_: int) -> None:
            self._loaded().pop(schedule_id, None)

        await self.database.write(
            lambda connection: connection.execute(_DROP, {"schedule_id": schedule_id}).rowcount, on_commit=take
        )

    async def submit_due(self) -> None:
        """Make the jobs whose time has come.

        A job is named after its schedule and its time, so that one is never made twice for the same time.
        """
        at = self.now()
        for due in [one for one in self._loaded().values() if one.is_enabled and one.next_at_unix_us <= at]:
            made, message = due.last_job_id, ""
            try:
                made = await self.make(due)
            except (Busy, StorageFailed):
                continue  # for the moment: it stays due
            except ApplianceError as error:
                message = error.message
            following = Cron.parse(due.cron, due.zone).next_after(at // 1_000_000) * 1_000_000
            if due.schedule_id in self._loaded():
                await self._put(
                    evolve(due, next_at_unix_us=following, last_at_unix_us=at, last_job_id=made, message=message[:400])
                )

    async def _put(self, schedule: Schedule) -> None:
        values = {
            "schedule_id": schedule.schedule_id,
            "owner": schedule.owner,
            "name": schedule.name,
            "cron": schedule.cron,
            "zone": schedule.zone,
            "is_enabled": schedule.is_enabled,
            "created_at_unix_us": schedule.created_at_unix_us,
            "next_at_unix_us": schedule.next_at_unix_us,
            "last_at_unix_us": schedule.last_at_unix_us,
            "last_job_id": schedule.last_job_id,
            "message": schedule.message,
            "spec": rows.spec_of(schedule.job),
        }

        def take(_: int) -> None:
            self._loaded()[schedule.schedule_id] = schedule

        await self.database.write(lambda connection: connection.execute(_PUT, values).rowcount, on_commit=take)

    def _loaded(self) -> dict[str, Schedule]:
        if self._all is None:
            self._all = {one.schedule_id: one for one in self.database.read_now(_load)}
        return self._all


def _load(connection: sqlite3.Connection) -> list[Schedule]:
    return [
        Schedule(
            schedule_id=schedule_id,
            owner=owner,
            name=name,
            cron=cron,
            zone=zone,
            is_enabled=bool(is_enabled),
            created_at_unix_us=created_at,
            next_at_unix_us=next_at,
            last_at_unix_us=last_at,
            last_job_id=last_job_id,
            message=message,
            job=rows.job_of(spec),
        )
        for (
            schedule_id,
            owner,
            name,
            cron,
            zone,
            is_enabled,
            created_at,
            next_at,
            last_at,
            last_job_id,
            message,
            spec,
        ) in connection.execute(_ALL)
    ]
