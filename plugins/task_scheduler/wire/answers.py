"""What clients are answered, field by field.

Each is a superset of the document and of what its upstream server sends, since clients of both exist. Times are whole
Unix seconds, 0 for what has not happened; amounts are JSON numbers, never null: the front end formats them unasked.
"""

from attrs import frozen
from msgspec import Struct


class Health(Struct, frozen=True, kw_only=True):
    """That the server runs."""

    status: str = "ok"
    time: int
    active_clients: int
    """WebSockets that telemetry is sent to."""
    workers: int
    active_workers: int


# ---------------------------------------------------------------- workers


class Resources(Struct, frozen=True, kw_only=True):
    """Amounts: cores, GB (1024 MiB), GB, GPUs."""

    cpu: float
    memory: float
    storage: float
    gpu: float


class RunningTask(Struct, frozen=True, kw_only=True):
    """A task that a worker runs."""

    task_id: str
    cpu_allocated: float
    memory_allocated: float
    gpu_allocated: float
    status: str


class Telemetry(Struct, frozen=True, kw_only=True):
    """What a worker does at the moment; usage in percent."""

    worker_id: str
    is_active: bool
    cpu_usage: float
    memory_usage: float
    gpu_usage: float
    """Mean over its GPUs."""
    total_resources: Resources
    allocated_resources: Resources
    available_resources: Resources
    running_tasks: tuple[RunningTask, ...]
    last_update: int
    address: str
    worker_ip: str


class AllTelemetry(Struct, frozen=True, kw_only=True):
    """Every worker by its id."""

    workers: dict[str, Telemetry]


@frozen(kw_only=True)
class TelemetryMessage:
    """What the telemetry WebSockets send."""

    type: str = "telemetry"
    workers: dict[str, Telemetry]


class Worker(Struct, frozen=True, kw_only=True):
    """A worker in the list."""

    worker_id: str
    address: str
    worker_ip: str
    is_active: bool
    total_resources: Resources
    allocated_resources: Resources
    available_resources: Resources
    last_heartbeat: int
    registered_at: int
    cpu_usage: float
    memory_usage: float
    gpu_usage: float
    running_tasks_count: int


class Workers(Struct, frozen=True, kw_only=True):
    """All workers."""

    workers: tuple[Worker, ...]


class WorkerInfo(Struct, frozen=True, kw_only=True):
    """What is known of a worker for good."""

    worker_id: str
    worker_ip: str
    total_cpu: float
    total_memory: float
    total_storage: float
    total_gpu: float
    registered_at: int
    last_heartbeat: int


class WorkerDetail(Telemetry, frozen=True, kw_only=True):
    """One worker with all that is known of it."""

    worker_info: WorkerInfo


class WorkerMetrics(Struct, frozen=True, kw_only=True):
    """The usage of one worker."""

    worker_id: str
    cpu_usage: float
    memory_usage: float
    gpu_usage: float
    is_active: bool
    last_update: int
    timestamp: int


class RegisteredWorker(Struct, frozen=True, kw_only=True):
    """A worker as its registration answers it."""

    worker_id: str
    worker_ip: str
    is_active: bool = False


class Registered(Struct, frozen=True, kw_only=True):
    """That a worker is known now."""

    success: bool = True
    message: str
    worker_id: str
    worker: RegisteredWorker


class Assigned(Struct, frozen=True, kw_only=True):
    """A task given to a worker."""

    task_id: str
    assigned_at: int


class WorkerTasks(Struct, frozen=True, kw_only=True):
    """The tasks given to a worker, newest first."""

    worker_id: str
    tasks: tuple[Assigned, ...]
    count: int


# ---------------------------------------------------------------- tasks


class Task(Struct, frozen=True, kw_only=True):
    """A task in the list."""

    task_id: str
    docker_image: str
    status: str
    cpu_required: float
    memory_required: float
    storage_required: float
    gpu_required: float
    user_id: str
    tag: str
    k_value: float
    created_at: int
    submitted_at: int
    assigned_at: int
    started_at: int
    completed_at: int
    assigned_worker: str
    message: str
    """Ours: how it ended, or why it was tried again, in words."""
    exit_code: int | None
    """Ours; null while it runs, and where nobody knows."""
    retry_of: str
    """Ours: the task that this one tries again."""
    retried_by: str
    """Ours: the task that tries this one again."""


class Tasks(Struct, frozen=True, kw_only=True):
    """Tasks, newest first."""

    tasks: tuple[Task, ...]


class Assignment(Struct, frozen=True, kw_only=True):
    """Where a task went."""

    worker_id: str
    assigned_at: int


class Result(Struct, frozen=True, kw_only=True):
    """How a task ended."""

    status: str
    completed_at: int
    logs: str
    """Its first part, where there is much; all of it is at ``/api/tasks/{task_id}/logs``."""


class TaskDetail(Task, frozen=True, kw_only=True):
    """One task with all that is known of it."""

    command: str
    """Empty for those who see others' tasks: it may hold secrets."""
    assignment: Assignment | None
    result: Result | None


class SubmittedTask(Struct, frozen=True, kw_only=True):
    """A task as its submission answers it."""

    task_id: str
    docker_image: str
    status: str
    tag: str
    k_value: float


class Submitted(Struct, frozen=True, kw_only=True):
    """That a task waits in the queue now."""

    success: bool = True
    message: str = "Task submitted successfully"
    task_id: str
    status: str
    task: SubmittedTask


class Cancelled(Struct, frozen=True, kw_only=True):
    """That a task was told to end."""

    success: bool = True
    message: str
    task_id: str
    status: str = "cancelled"


class Retried(Struct, frozen=True, kw_only=True):
    """That a task is tried again, as a new one."""

    success: bool = True
    message: str = "Task retry initiated"
    new_task_id: str
    original_task_id: str


class Logs(Struct, frozen=True, kw_only=True):
    """What a task has written so far."""

    task_id: str
    logs: str
    status: str
    completed_at: int
    truncated: bool
    """Ours: there is more, from ``?offset=next_offset`` on."""
    next_offset: int
