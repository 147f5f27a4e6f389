"""The documented endpoints about tasks."""

from typing import Final

import trio
from attrs import evolve

from appliance.plugin import BadInput, Call, Role

from . import callers
from .listing import text_of, visible
from .routes import BODY_BYTES, api
from .state import TaskState
from .wire import answers, render
from .wire.requests import LogsQuery, NewTask, TaskQuery, job_of, states_of

RESULT_BYTES: Final = 262_144
"""How much of its log the answer about one task holds."""
AT_ONCE: Final = 250
"""Tasks that are put into a list before others have their turn."""
LOG_BYTES: Final = 8 * 2**20
"""How much of a log one answer holds."""


@api.get("/api/tasks", access="open", query=TaskQuery, answer=answers.Tasks)
async def tasks(call: Call[None]) -> answers.Tasks:
    """List tasks, newest first: one's own, and for operators and trusted requests all."""
    state: TaskState = call.state
    wanted = states_of(call.query.status)
    limit = call.query.limit
    if limit is not None and limit < 1:
        raise BadInput("$.limit: expected 1 or more", field="$.limit")
    most = min(limit or state.settings.listed_max, state.settings.listed_max)
    found = await visible(state.core.scheduler, call.caller, states=wanted, limit=most)
    shown = []
    for record in found:
        shown.append(render.task(record, state.workers.id_of(record)))
        if len(shown) % AT_ONCE == 0:
            await trio.lowlevel.checkpoint()
    return answers.Tasks(tasks=tuple(shown))


@api.post(
    "/api/tasks",
    access="open",
    role=Role.USER,
    body=NewTask,
    answer=answers.Submitted,
    status=201,
    limit_bytes=BODY_BYTES,
)
async def submit(call: Call[NewTask]) -> answers.Submitted:
    """Submit a task; it is started as soon as there is room for it."""
    state: TaskState = call.state
    scheduler = state.core.scheduler
    engine, network = state.way(call.body.docker_image)
    owner = callers.owner_of(call.caller)
    job = job_of(call.body, job_id=scheduler.new_job_id(), owner=owner, network=network)
    (record,) = await scheduler.submit([evolve(job, engine=engine)], who=callers.who(call.caller))
    return render.submitted(record)


@api.get("/api/tasks/{task_id}", access="open", answer=answers.TaskDetail)
async def task(call: Call[None]) -> answers.TaskDetail:
    """Return one task with all that is known of it."""
    state: TaskState = call.state
    record = state.record(call.caller, call.path["task_id"])
    logs = ""
    if record.state.is_final:
        logs = (await text_of(state.core.scheduler.logs, record.job_id, 0, RESULT_BYTES)).text
    return render.task_detail(
        record,
        state.workers.id_of(record),
        with_secrets=callers.sees_secrets(call.caller, record),
        logs=logs,
    )


@api.delete("/api/tasks/{task_id}", access="open", role=Role.USER, answer=answers.Cancelled)
async def cancel(call: Call[None]) -> answers.Cancelled:
    """Cancel a task that has not ended. One that runs is asked to end, and killed after its grace."""
    state: TaskState = call.state
    record = state.record(call.caller, call.path["task_id"])
    await state.core.scheduler.cancel(record.job_id, who=callers.who(call.caller))
    return answers.Cancelled(message=f"Task {record.job_id} cancelled successfully", task_id=record.job_id)


@api.put("/api/tasks/{task_id}/retry", access="open", role=Role.USER, answer=answers.Retried)
async def retry(call: Call[None]) -> answers.Retried:
    """Submit a task that has ended once more, as a new one with the same needs."""
    state: TaskState = call.state
    record = state.record(call.caller, call.path["task_id"])
    # It stays its owner's, whoever tries it again: its command and environment may hold their secrets.
    made = await state.core.scheduler.retry(record.job_id, owner=record.job.owner, who=callers.who(call.caller))
    return answers.Retried(new_task_id=made.job_id, original_task_id=record.job_id)


@api.get("/api/tasks/{task_id}/logs", access="open", query=LogsQuery, answer=answers.Logs)
async def logs(call: Call[None]) -> answers.Logs:
    """Return what a task has written so far, ended or not."""
    state: TaskState = call.state
    record = state.record(call.caller, call.path["task_id"])
    read = await text_of(state.core.scheduler.logs, record.job_id, call.query.offset, LOG_BYTES)
    return answers.Logs(
        task_id=record.job_id,
        logs=read.text,
        status=render.status(record),
        completed_at=render.seconds(record.ended_at_unix_us),
        truncated=read.is_cut,
        next_offset=read.next_offset,
    )
