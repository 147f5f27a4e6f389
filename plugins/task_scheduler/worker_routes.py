"""The documented endpoints about health, telemetry and workers."""

from appliance.plugin import Answer, Call, Kind, Role

from .callers import sees
from .routes import api
from .state import TaskState
from .wire import answers
from .wire import workers as wire
from .wire.render import seconds
from .wire.requests import NewWorker, worker_of

ASSIGNED_MAX = 10_000


@api.get("/health", caller=frozenset(Kind), access="public", answer=answers.Health)
async def health(call: Call[None]) -> answers.Health:
    """Say that the server runs, and how many watch."""
    state: TaskState = call.state
    found = state.workers.all()
    return answers.Health(
        time=seconds(state.core.now()),
        active_clients=state.telemetry.watchers,
        workers=len(found),
        active_workers=sum(each.is_active for each in found),
    )


@api.get("/telemetry", access="open", answer=answers.AllTelemetry)
async def telemetry(call: Call[None]) -> answers.AllTelemetry:
    """Return what every worker does at the moment."""
    state: TaskState = call.state
    return answers.AllTelemetry(workers={each.worker_id: wire.telemetry(each) for each in state.workers.all()})


@api.get("/telemetry/{worker_id}", access="open", answer=answers.Telemetry)
async def telemetry_of_worker(call: Call[None]) -> answers.Telemetry:
    """Return what one worker does at the moment."""
    state: TaskState = call.state
    return wire.telemetry(state.workers.get(call.path["worker_id"]))


@api.get("/workers", access="open", answer=answers.Workers, summary="List the workers, by their older path.")
@api.get("/api/workers", access="open", answer=answers.Workers)
async def workers(call: Call[None]) -> answers.Workers:
    """List the workers with their resources and usage."""
    state: TaskState = call.state
    return answers.Workers(workers=tuple(map(wire.worker_item, state.workers.all())))


@api.post(
    "/api/workers", access="open", role=Role.OPERATOR, body=NewWorker, answer=answers.Registered, limit_bytes=65_536
)
async def register(call: Call[NewWorker]) -> Answer:
    """Register a worker, which stays inactive: workers of other hosts are not served by this version."""
    state: TaskState = call.state
    worker_id, address = worker_of(call.body)
    made = await state.workers.register(worker_id, address)
    state.telemetry.touch()
    return Answer(model=wire.registered(made), status=201)


@api.get("/api/workers/{worker_id}", access="open", answer=answers.WorkerDetail)
async def worker(call: Call[None]) -> answers.WorkerDetail:
    """Return one worker with all that is known of it."""
    state: TaskState = call.state
    return wire.worker_detail(state.workers.get(call.path["worker_id"]))


@api.get("/api/workers/{worker_id}/metrics", access="open", answer=answers.WorkerMetrics)
async def worker_metrics(call: Call[None]) -> answers.WorkerMetrics:
    """Return the usage of one worker."""
    state: TaskState = call.state
    return wire.worker_metrics(state.workers.get(call.path["worker_id"]), now_unix_us=state.core.now())


@api.get("/api/workers/{worker_id}/tasks", access="open", answer=answers.WorkerTasks)
async def worker_tasks(call: Call[None]) -> answers.WorkerTasks:
    """List the tasks that were given to a worker, newest first: those that the caller may see."""
    state: TaskState = call.state
    found = state.workers.get(call.path["worker_id"])
    records = await state.core.scheduler.page(limit=ASSIGNED_MAX) if found.host_id else []
    given = tuple(
        answers.Assigned(task_id=record.job_id, assigned_at=seconds(record.assigned_at_unix_us))
        for record in records
        if record.placement is not None and record.placement.host_id == found.host_id and sees(call.caller, record)
    )
    return answers.WorkerTasks(worker_id=found.worker_id, tasks=given, count=len(given))
