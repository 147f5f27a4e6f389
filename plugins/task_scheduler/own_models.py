"""What our own API takes and answers about tasks: all that core's jobs know, units in the names."""

from typing import Any, Final

from attrs import field, frozen
from attrs.validators import and_, ge, gt, in_, le, matches_re, max_len, min_len, optional
from msgspec import Struct

from .wire.numbers import CORES_MAX, GB_MAX, GPUS_MAX, MIB_PER_GB, MILLI
from .wire.requests import COMMAND_CHARACTERS, IMAGE_CHARACTERS, NAME_CHARACTERS

SECONDS_MAX: Final = 366 * 86_400
TIME_MAX_S: Final = 2**33
PRIORITY_DEFAULT: Final = 50
ARRAY_MAX: Final = 10_000
PAGE_MAX: Final = 1000
STATES: Final = ("pending", "starting", "running", "stopping", "completed", "failed", "cancelled")
RETRIED: Final = ("exit", "oom", "image", "refused", "disk_full")
ID: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}"


def _printable(instance: Any, attribute: Any, value: str) -> None:
    if not value.isprintable():
        raise ValueError(f"'{attribute.name}' must have printable characters only")


def _text(longest: int = NAME_CHARACTERS) -> Any:
    return field(default="", validator=and_(max_len(longest), _printable))


def _amount(default: int, most: int, *, least: int = 0) -> Any:
    return field(default=default, validator=and_(ge(least), le(most)))


def _seconds() -> Any:
    return field(default=None, validator=optional(and_(gt(0), le(SECONDS_MAX))))


@frozen(kw_only=True)
class DependencySpec:
    """A task that has to end first."""

    task_id: str = field(validator=matches_re(ID))
    kind: str = field(default="afterok", validator=in_(("afterok", "afterany")))
    """``afterok``: once it has completed, failing with it otherwise; ``afterany``: once it has ended, however."""


@frozen(kw_only=True)
class ArraySpec:
    """The same task many times, told apart by ``APPLIANCE_ARRAY_INDEX`` in the environment, counted from 0."""

    count: int = field(validator=and_(ge(1), le(ARRAY_MAX)))
    running_max: int = field(default=0, validator=and_(ge(0), le(ARRAY_MAX)))
    """How many may run at once; 0 for any number."""


@frozen(kw_only=True)
class TaskSpec:
    """A task to run."""

    image: str = field(validator=and_(min_len(1), max_len(IMAGE_CHARACTERS)))
    command: str = field(default="", validator=max_len(COMMAND_CHARACTERS))
    """Run by ``/bin/sh -c``; without it the image's own."""
    environment: dict[str, str] = field(factory=dict, repr=False)
    """Added to the image's; never shown again."""
    name: str = _text()
    label: str = _text()
    cpu_millicores: int = _amount(1000, CORES_MAX * MILLI, least=1)
    memory_mib: int = _amount(1024, GB_MAX * MIB_PER_GB, least=1)
    storage_mib: int = _amount(1024, GB_MAX * MIB_PER_GB)
    milli_gpu: int = _amount(0, GPUS_MAX * MILLI)
    """Whole GPUs are thousands; what is left over is a part of one more."""
    gpu_vram_mib: int = _amount(0, GB_MAX * MIB_PER_GB)
    """Memory that each of its GPUs must have."""
    gpu_models: tuple[str, ...] = field(default=(), validator=max_len(64))
    """Any of these, each a part of the model's name."""
    gpu_ids: tuple[str, ...] = field(default=(), validator=max_len(64))
    """Only these GPUs, by uuid."""
    mig_profile: str = _text(64)
    tag: str = _text()
    k: float = field(default=2.0, validator=and_(ge(0.001), le(1000.0)))
    """The task should end within k times its expected runtime after it was submitted: smaller is more urgent."""
    priority: int = field(default=PRIORITY_DEFAULT, validator=and_(ge(0), le(100)))
    """Larger goes first; above 50 takes an operator."""
    preemptible: bool = False
    timeout_seconds: float | None = _seconds()
    """Longest runtime of one attempt."""
    max_queue_seconds: float | None = _seconds()
    idle_gpu_seconds: float | None = _seconds()
    """Ended when its GPUs were idle for so long."""
    attempts_max: int = field(default=1, validator=and_(ge(1), le(100)))
    retry_reasons: tuple[str, ...] | None = field(default=None, validator=optional(max_len(len(RETRIED))))
    """Which of exit, oom, image, refused and disk_full are tried again; without it all but refused."""
    backoff_seconds: float = field(default=10.0, validator=and_(ge(0), le(86_400)))
    """Wait before the second attempt; doubles each time."""
    dependencies: tuple[DependencySpec, ...] = field(default=(), validator=max_len(100))
    not_before_unix_s: float | None = field(default=None, validator=optional(and_(ge(0), le(TIME_MAX_S))))
    engine: str = _text(64)
    host_id: str = _text()
    tty: bool = False
    network: str | None = field(default=None, validator=optional(in_(("none", "bridge"))))
    """Without it as ``[plugins.task_scheduler] network`` says."""
    volumes: tuple[str, ...] = field(default=(), validator=max_len(16))
    """Names that the configuration declares, mounted at ``/volumes/NAME``; ``:ro`` for reading only."""
    privileges: tuple[str, ...] = field(default=(), validator=max_len(16))
    """Capabilities to keep, such as ``SYS_PTRACE``; the configuration says which may be asked for."""
    stop_grace_seconds: float = field(default=10.0, validator=and_(ge(0), le(600)))


@frozen(kw_only=True)
class NewTasks(TaskSpec):
    """A task to submit, or an array of them."""

    task_id: str | None = field(default=None, validator=optional(matches_re(ID)))
    """Chosen by the client, so that sending it twice submits it once; not for arrays."""
    array: ArraySpec | None = None
    hold: bool = False
    """Wait until it is released: for uploading inputs first."""


class AttemptItem(Struct, frozen=True, kw_only=True):
    """One try to run a task."""

    number: int
    host_id: str
    hostname: str
    engine: str
    gpu_ids: tuple[str, ...]
    assigned_unix_s: float
    started_unix_s: float | None
    ended_unix_s: float | None
    reason: str | None
    exit_code: int | None
    message: str


class TaskItem(Struct, frozen=True, kw_only=True):
    """One task."""

    id: str
    name: str
    label: str
    owner: str
    """Empty for the appliance's own: what was submitted on a trusted request or by an administrator's key."""
    image: str
    state: str
    message: str
    reason: str | None
    exit_code: int | None
    cpu_millicores: int
    memory_mib: int
    storage_mib: int
    milli_gpu: int
    gpu_vram_mib: int
    gpu_models: tuple[str, ...]
    gpu_ids: tuple[str, ...]
    mig_profile: str
    tag: str
    k: float
    priority: int
    preemptible: bool
    is_held: bool
    hostname: str
    """Where its newest attempt runs or ran; empty before the first."""
    submitted_unix_s: float
    submitted_by: str
    started_unix_s: float | None
    ended_unix_s: float | None
    deadline_unix_s: float
    expected_seconds: float | None
    attempt_count: int
    array_id: str
    array_index: int | None
    schedule_id: str
    retry_of: str
    retried_by: str


class TaskDetailItem(TaskItem, frozen=True, kw_only=True):
    """One task with all that is kept of it."""

    command: str | None
    """Null for those who see others' tasks."""
    environment_names: tuple[str, ...] | None
    """Values are never shown."""
    timeout_seconds: float | None
    max_queue_seconds: float | None
    idle_gpu_seconds: float | None
    attempts_max: int
    dependencies: tuple[DependencySpec, ...]
    engine: str
    network: str
    tty: bool
    volumes: tuple[str, ...]
    attempts: tuple[AttemptItem, ...]
    log_bytes: int
    log_missing_bytes: int
    """Of its log, what is not kept any more."""


class TaskPage(Struct, frozen=True, kw_only=True):
    """Tasks, newest first."""

    items: tuple[TaskItem, ...]
    next: str | None
    """Pass as ``before`` for the next page."""


@frozen(kw_only=True)
class PageQuery:
    """Which tasks."""

    state: tuple[str, ...] = field(default=())
    owner: str | None = field(default=None, validator=optional(max_len(NAME_CHARACTERS)))
    tag: str | None = field(default=None, validator=optional(max_len(NAME_CHARACTERS)))
    limit: int = field(default=100, validator=and_(ge(1), le(PAGE_MAX)))
    before: int | None = field(default=None, validator=optional(and_(ge(0), le(2**62))))

    @state.validator
    def _known(self, attribute: Any, value: tuple[str, ...]) -> None:
        for each in value:
            if each not in STATES:
                raise ValueError(f"'state' must be of {', '.join(STATES)}")


class MadeTasks(Struct, frozen=True, kw_only=True):
    """The tasks that were submitted."""

    items: tuple[TaskItem, ...]


class ReasonItem(Struct, frozen=True, kw_only=True):
    """Why a host cannot take a task now."""

    host_id: str
    hostname: str
    code: str
    message: str


class Why(Struct, frozen=True, kw_only=True):
    """Why a task waits, or what has become of it."""

    id: str
    state: str
    sentence: str
    code: str
    reasons: tuple[ReasonItem, ...]
    position: int | None
    estimated_start_unix_s: float | None


@frozen(kw_only=True)
class LogQuery:
    """Which part of a log."""

    offset: int = field(default=0, validator=and_(ge(0), le(2**62)))
    """``next_offset`` of the part before."""


@frozen(kw_only=True)
class TailQuery(LogQuery):
    """Which part of a log, and how long more of it is waited for."""

    wait_seconds: float = field(default=0.0, validator=and_(ge(0), le(30)))


class LogPart(Struct, frozen=True, kw_only=True):
    """Text of one stream."""

    stream: str
    text: str
    """What is no UTF-8 is replaced by U+FFFD; the log as it was written is at ``/log``."""


class LogTail(Struct, frozen=True, kw_only=True):
    """A part of a log."""

    id: str
    state: str
    exit_code: int | None
    message: str
    parts: tuple[LogPart, ...]
    missing_bytes: int
    """Before these parts, what is not kept."""
    next_offset: int
    is_over: bool
    """The task has ended, and this is the end of its log."""


class FileItem(Struct, frozen=True, kw_only=True):
    """One file."""

    path: str
    size_bytes: int
    content_type: str
    stored_unix_s: float


class SkippedItem(Struct, frozen=True, kw_only=True):
    """Something below ``/output`` that was not kept."""

    path: str
    reason: str


class FilePage(Struct, frozen=True, kw_only=True):
    """The files of a task, by path."""

    items: tuple[FileItem, ...]
    skipped: tuple[SkippedItem, ...] = ()
    next: None = None


@frozen(kw_only=True)
class NewSchedule:
    """A task to submit again and again."""

    cron: str = field(validator=and_(min_len(1), max_len(200)))
    """Five fields as in crontab(5), or @hourly and the like."""
    time_zone: str = field(default="UTC", validator=and_(min_len(1), max_len(64)))
    name: str = _text()
    task: TaskSpec


class ScheduleItem(Struct, frozen=True, kw_only=True):
    """One schedule."""

    id: str
    name: str
    owner: str
    cron: str
    time_zone: str
    image: str
    is_enabled: bool
    created_unix_s: float
    next_unix_s: float
    last_unix_s: float | None
    last_task_id: str
    message: str
    """Why the last time came to nothing; empty when it did not."""


class SchedulePage(Struct, frozen=True, kw_only=True):
    """All schedules that the caller sees."""

    items: tuple[ScheduleItem, ...]
    next: None = None


class RuntimeItem(Struct, frozen=True, kw_only=True):
    """What was learned of how long tasks of one tag and image take."""

    tag: str
    image: str
    job_class: str
    tau_seconds: float
    observations: int
    learned_unix_s: float


class RuntimePage(Struct, frozen=True, kw_only=True):
    """All that was learned."""

    items: tuple[RuntimeItem, ...]
    next: None = None
