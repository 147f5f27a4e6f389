"""Our own API: tasks with all that core's jobs know."""

from typing import Any, Final

from attrs import evolve

from appliance.plugin import (
    PERSON,
    BadInput,
    Call,
    Caller,
    Explanation,
    Forbidden,
    Job,
    JobRecord,
    JobState,
    NotFound,
    Role,
    to_unix_s,
)

from . import callers
from . import own_models as own
from .own_render import array_of, job_of, task_detail, task_item, unix_s
from .own_surface import ONE, PREFIX, api, task_of
from .state import TaskState

SUBMIT_BYTES: Final = 1_048_576


@api.post(
    PREFIX,
    caller=PERSON,
    role=Role.USER,
    body=own.NewTasks,
    answer=own.MadeTasks,
    status=201,
    limit_bytes=SUBMIT_BYTES,
)
async def submit(call: Call[own.NewTasks]) -> own.MadeTasks:
    """Submit a task, or an array of them."""
    state: TaskState = call.state
    scheduler = state.core.scheduler
    jobs = _jobs(call)
    records = await scheduler.submit(jobs, who=callers.who(call.caller), hold=call.body.hold)
    return own.MadeTasks(items=tuple(task_item(record, state.workers.name_of) for record in records))


def _jobs(call: Call[own.NewTasks]) -> list[Job]:
    state: TaskState = call.state
    spec, new_id = call.body, state.core.scheduler.new_job_id
    check_priority(call.caller, spec)
    check_dependencies(call, spec)
    owner = callers.owner_of(call.caller)
    engine, network = state.way(spec.image, spec.engine)
    job = job_of(evolve(spec, engine=engine), job_id=spec.task_id or new_id(), owner=owner, network=network)
    if spec.array is None:
        return [job]
    return array_of(job, spec.array, [job.job_id, *(new_id() for _ in range(spec.array.count - 1))])


def check_priority(caller: Caller, spec: own.TaskSpec) -> None:
    """Raise `Forbidden` for a priority that puts a person's tasks before everybody's."""
    if spec.priority > own.PRIORITY_DEFAULT and not caller.may(Role.OPERATOR):
        raise Forbidden(
            f"a priority above {own.PRIORITY_DEFAULT} takes an operator", hint="leave it out", field="$.priority"
        )


def check_dependencies(call: Call[Any], spec: own.TaskSpec) -> None:
    """Raise `BadInput`, as for a task that does not exist, for one to wait for that the caller does not see."""
    state: TaskState = call.state
    for each in spec.dependencies:
        try:
            state.record(call.caller, each.task_id)
        except NotFound as error:
            raise BadInput(f"it would wait for {each.task_id!r}: {error.message}", field="dependencies") from None


@api.get(PREFIX, caller=PERSON, query=own.PageQuery, answer=own.TaskPage)
async def tasks(call: Call[None]) -> own.TaskPage:
    """List tasks, newest first: one's own, and for operators everybody's."""
    state: TaskState = call.state
    asked: own.PageQuery = call.query
    states = [JobState(each) for each in asked.state] or None
    owner = callers.owner_of(call.caller)
    if callers.sees_all(call.caller):
        owner_wanted = asked.owner
    else:
        if asked.owner not in (None, owner):
            return own.TaskPage(items=(), next=None)
        owner_wanted = owner
    found = await state.core.scheduler.page(
        states=states, owner=owner_wanted, tag=asked.tag, limit=asked.limit, before=asked.before
    )
    return own.TaskPage(
        items=tuple(task_item(record, state.workers.name_of) for record in found),
        next=str(found[-1].number) if len(found) == asked.limit else None,
    )


@api.get(ONE, caller=PERSON, answer=own.TaskDetailItem)
async def task(call: Call[None]) -> own.TaskDetailItem:
    """Return one task with all that is kept of it."""
    state: TaskState = call.state
    record = task_of(call)
    log_bytes, missing = await state.core.scheduler.logs.size_bytes(record.job_id)
    return task_detail(
        record,
        state.workers.name_of,
        with_secrets=callers.sees_secrets(call.caller, record),
        log_bytes=log_bytes,
        log_missing_bytes=missing,
    )


@api.get(f"{ONE}/why", caller=PERSON, answer=own.Why)
async def why(call: Call[None]) -> own.Why:
    """Say why a task waits, and when it will start; of one that does not wait, what has become of it."""
    state: TaskState = call.state
    record = task_of(call)
    return _why(state, record, state.core.scheduler.why(record.job_id))


def _why(state: TaskState, record: JobRecord, found: Explanation) -> own.Why:
    reasons = tuple(
        own.ReasonItem(
            host_id=each.host_id,
            hostname=state.workers.name_of(each.host_id) if each.host_id else "",
            code=each.code,
            message=each.message,
        )
        for each in found.reasons
    )
    return own.Why(
        id=record.job_id,
        state=record.state.value,
        sentence=found.sentence,
        code=found.code,
        reasons=reasons,
        position=found.position,
        estimated_start_unix_s=unix_s(found.estimated_start_unix_us),
    )


@api.post(f"{ONE}/release", caller=PERSON, role=Role.USER, answer=own.TaskItem)
async def release(call: Call[None]) -> own.TaskItem:
    """Let a task go on that was submitted to be held."""
    state: TaskState = call.state
    record = task_of(call)
    return task_item(await state.core.scheduler.release(record.job_id), state.workers.name_of)


@api.post(f"{ONE}/cancel", caller=PERSON, role=Role.USER, answer=own.TaskItem)
async def cancel(call: Call[None]) -> own.TaskItem:
    """Cancel a task that has not ended: at once where it waits; where it runs it is asked to end."""
    state: TaskState = call.state
    record = task_of(call)
    done = await state.core.scheduler.cancel(record.job_id, who=callers.who(call.caller))
    return task_item(done, state.workers.name_of)


@api.post(f"{ONE}/retry", caller=PERSON, role=Role.USER, answer=own.TaskItem, status=201)
async def retry(call: Call[None]) -> own.TaskItem:
    """Submit a task that has ended once more, as a new one."""
    state: TaskState = call.state
    record = task_of(call)
    # It stays its owner's, whoever tries it again: its command and environment may hold their secrets.
    made = await state.core.scheduler.retry(record.job_id, owner=record.job.owner, who=callers.who(call.caller))
    return task_item(made, state.workers.name_of)


@api.delete(ONE, caller=PERSON, role=Role.USER)
async def forget(call: Call[None]) -> None:
    """Delete a task that has ended, with its log and files."""
    state: TaskState = call.state
    record = task_of(call)
    await state.core.scheduler.forget(record.job_id)


@api.get(f"{PREFIX}/runtimes", caller=PERSON, answer=own.RuntimePage)
async def runtimes(call: Call[None]) -> own.RuntimePage:
    """List what was learned of how long tasks take."""
    state: TaskState = call.state
    return own.RuntimePage(
        items=tuple(
            own.RuntimeItem(
                tag=row.tag,
                image=row.image,
                job_class=row.job_class,
                tau_seconds=row.tau_seconds,
                observations=row.observations,
                learned_unix_s=to_unix_s(row.learned_at_unix_us),
            )
            for row in state.core.scheduler.runtimes()
        )
    )
