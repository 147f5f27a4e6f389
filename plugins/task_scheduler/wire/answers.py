"""What clients are answered, field by field.

Each is a superset of the document and of what its upstream server sends, since clients of both exist. Times are whole
Unix seconds, 0 for what has not happened; amounts are JSON numbers, never null: the front end formats them unasked.
"""

from attrs import frozen


@frozen(kw_only=True)
class Health:
    """That the server runs."""

    status: str = "ok"
    time: int
    active_clients: int
    """WebSockets that telemetry is sent to."""
    workers: int
    active_workers: int


# ---------------------------------------------------------------- workers


@frozen(kw_only=True)
class Resources:
    """Amounts: cores, GB (1024 MiB), GB, GPUs."""

    cpu: float
    memory: float
    storage: float
    gpu: float


@frozen(kw_only=True)
class RunningTask:
    """A task that a worker runs."""

    task_id: str
    cpu_allocated: float
    memory_allocated: float
    gpu_allocated: float
    status: str


@frozen(kw_only=True)
class Telemetry:
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


@frozen(kw_only=True)
class AllTelemetry:
    """Every worker by its id."""

    workers: dict[str, Telemetry]


@frozen(kw_only=True)
class TelemetryMessage:
    """What the telemetry WebSockets send."""

    type: str = "telemetry"
    workers: dict[str, Telemetry]


@frozen(kw_only=True)
class Worker:
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


@frozen(kw_only=True)
class Workers:
    """All workers."""

    workers: tuple[Worker, ...]


@frozen(kw_only=True)
class WorkerInfo:
    """What is known of a worker for good."""

    worker_id: str
    worker_ip: str
    total_cpu: float
    total_memory: float
    total_storage: float
    total_gpu: float
    registered_at: int
    last_heartbeat: int


@frozen(kw_only=True)
class WorkerDetail(Telemetry):
    """One worker with all that is known of it."""

    worker_info: WorkerInfo


@frozen(kw_only=True)
class WorkerMetrics:
    """The usage of one worker."""

    worker_id: str
    cpu_usage: float
    memory_usage: float
    gpu_usage: float
    is_active: bool
    last_update: int
    timestamp: int


@frozen(kw_only=True)
class RegisteredWorker:
    """A worker as its registration answers it."""

    worker_id: str
    worker_ip: str
    is_active: bool = False


@frozen(kw_only=True)
class Registered:
    """That a worker is known now."""

    success: bool = True
    message: str
    worker_id: str
    worker: RegisteredWorker


@frozen(kw_only=True)
class Assigned:
    """A task given to a worker."""

    task_id: str
    assigned_at: int


@frozen(kw_only=True)
class WorkerTasks:
    """The tasks given to a worker, newest first."""

    worker_id: str
    tasks: tuple[Assigned, ...]
    count: int


# ---------------------------------------------------------------- tasks


@frozen(kw_only=True)
class Task:
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


@frozen(kw_only=True)
class Tasks:
    """Tasks, newest first."""

    tasks: tuple[Task, ...]


@frozen(kw_only=True)
class Assignment:
    """Where a task went."""

    worker_id: str
    assigned_at: int


@frozen(kw_only=True)
class Result:
    """How a task ended."""

    status: str
    completed_at: int
    logs: str
    """Its first part, where there is much; all of it is at ``/api/tasks/{task_id}/logs``."""


@frozen(kw_only=True)
class TaskDetail(Task):
    """One task with all that is known of it."""

    command: str
    """Empty for those who see others' tasks: it may hold secrets."""
    assignment: Assignment | None
    result: Result | None


@frozen(kw_only=True)
class SubmittedTask:
    """A task as its submission answers it."""

    task_id: str
    docker_image: str
    status: str
    tag: str
    k_value: float


@frozen(kw_only=True)
class Submitted:
    """That a task waits in the queue now."""

    success: bool = True
    message: str = "Task submitted successfully"
    task_id: str
    status: str
    task: SubmittedTask


@frozen(kw_only=True)
class Cancelled:
    """That a task was told to end."""

    success: bool = True
    message: str
    task_id: str
    status: str = "cancelled"


@frozen(kw_only=True)
class Retried:
    """That a task is tried again, as a new one."""

    success: bool = True
    message: str = "Task retry initiated"
    new_task_id: str
    original_task_id: str


@frozen(kw_only=True)
class Logs:
    """What a task has written so far."""

    task_id: str
    logs: str
    status: str
    completed_at: int
    truncated: bool
    """Ours: there is more, from ``?offset=next_offset`` on."""
    next_offset: int
