"""Our own API: tasks that are submitted again and again, by the clock."""

from typing import Any, Final

from attrs import evolve

from appliance.plugin import PERSON, Call, NotFound, Role, Schedule, to_unix_s

from . import callers
from . import own_models as own
from .own_render import job_of, unix_s
from .own_routes import check_dependencies, check_priority
from .own_surface import PREFIX, api
from .state import TaskState

SCHEDULES: Final = f"{PREFIX}/schedules"
ONE_SCHEDULE: Final = SCHEDULES + "/{schedule_id}"


def _item(found: Schedule) -> own.ScheduleItem:
    return own.ScheduleItem(
        id=found.schedule_id,
        name=found.name,
        owner=callers.shown(found.owner),
        cron=found.cron,
        time_zone=found.zone,
        image=found.job.image,
        is_enabled=found.is_enabled,
        created_unix_s=to_unix_s(found.created_at_unix_us),
        next_unix_s=to_unix_s(found.next_at_unix_us),
        last_unix_s=unix_s(found.last_at_unix_us),
        last_task_id=found.last_job_id,
        message=found.message,
    )


def _found(call: Call[Any]) -> Schedule:
    """Return the schedule that a path names, if it is the caller's; raise `NotFound`."""
    state: TaskState = call.state
    found = state.core.scheduler.schedules.get(call.path["schedule_id"])
    if not callers.sees_all(call.caller) and found.owner != callers.owner_of(call.caller):
        raise NotFound("schedule", found.schedule_id)
    return found


@api.get(SCHEDULES, caller=PERSON, answer=own.SchedulePage)
async def schedules(call: Call[None]) -> own.SchedulePage:
    """List one's own schedules, and as an operator everybody's."""
    state: TaskState = call.state
    owner = callers.owner_of(call.caller)
    sees_all = callers.sees_all(call.caller)
    found = [each for each in state.core.scheduler.schedules.items() if sees_all or each.owner == owner]
    return own.SchedulePage(items=tuple(map(_item, found)))


@api.post(SCHEDULES, caller=PERSON, role=Role.USER, body=own.NewSchedule, answer=own.ScheduleItem, status=201)
async def add(call: Call[own.NewSchedule]) -> own.ScheduleItem:
    """Have a task submitted whenever a cron expression says so."""
    state: TaskState = call.state
    body, scheduler = call.body, state.core.scheduler
    check_priority(call.caller, body.task)
    check_dependencies(call, body.task)
    owner = callers.owner_of(call.caller)
    engine, network = state.way(body.task.image, body.task.engine)
    job = job_of(evolve(body.task, engine=engine), job_id=scheduler.new_job_id(), owner=owner, network=network)
    made = await scheduler.schedules.add(owner=owner, name=body.name, cron=body.cron, zone=body.time_zone, job=job)
    return _item(made)


@api.get(ONE_SCHEDULE, caller=PERSON, answer=own.ScheduleItem)
async def schedule(call: Call[None]) -> own.ScheduleItem:
    """Return one schedule."""
    return _item(_found(call))


@api.post(f"{ONE_SCHEDULE}/enable", caller=PERSON, role=Role.USER, answer=own.ScheduleItem)
async def enable(call: Call[None]) -> own.ScheduleItem:
    """Let a schedule go on, from its next time on."""
    return await _switch(call, is_enabled=True)


@api.post(f"{ONE_SCHEDULE}/disable", caller=PERSON, role=Role.USER, answer=own.ScheduleItem)
async def disable(call: Call[None]) -> own.ScheduleItem:
    """Let a schedule rest; what it has made stays."""
    return await _switch(call, is_enabled=False)


async def _switch(call: Call[Any], *, is_enabled: bool) -> own.ScheduleItem:
    state: TaskState = call.state
    found = _found(call)
    return _item(await state.core.scheduler.schedules.enable(found.schedule_id, is_enabled=is_enabled))


@api.delete(ONE_SCHEDULE, caller=PERSON, role=Role.USER)
async def remove(call: Call[None]) -> None:
    """Delete a schedule; the tasks that it has made stay."""
    state: TaskState = call.state
    await state.core.scheduler.schedules.remove(_found(call).schedule_id)
