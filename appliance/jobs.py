"""What the scheduler thinks in: jobs, what they need, where they run, and their attempts.

Amounts are integers, so that nothing drifts: thousandths of a CPU core (millicores), MiB, thousandths of a GPU.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, ge, gt, in_, instance_of, le, matches_re, max_len, min_len, optional

WHOLE_MILLI_GPU: Final = 1000
MILLICORES_MAX: Final = 100_000 * 1000
MIB_MAX: Final = 1_000_000 * 1024
MILLI_GPU_MAX: Final = 10_000 * WHOLE_MILLI_GPU
PRIORITY_MAX: Final = 100
SECONDS_MAX: Final = 366 * 86_400
TEXT_MAX: Final = 131_072
"""The longest command, in characters: what Linux allows one argument of a program."""


def _name(longest: int = 200) -> Any:
    return field(validator=and_(instance_of(str), min_len(1), max_len(longest)))


def _text(longest: int = 200) -> Any:
    return field(default="", validator=and_(instance_of(str), max_len(longest)))


def _amount(most: int) -> Any:
    return field(default=0, validator=[instance_of(int), ge(0), le(most)])


def _seconds() -> Any:
    within: list[Callable[[Any, Any, Any], Any]] = [instance_of((int, float)), gt(0.0), le(float(SECONDS_MAX))]
    return field(default=None, validator=optional(within))


class JobState(StrEnum):
    """Where a job is in its life."""

    PENDING = "pending"
    """Waits: for room, for other jobs, for its time, or for the next attempt."""
    STARTING = "starting"
    """Placed and booked; its image is fetched, its container made."""
    RUNNING = "running"
    STOPPING = "stopping"
    """Asked to end: cancelled, preempted or over a limit."""
    COMPLETED = "completed"
    """Its command ended with exit code 0."""
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether the job will never run again."""
        return self in FINAL

    @property
    def holds_resources(self) -> bool:
        """Whether an attempt of it is booked somewhere."""
        return self in HOLDING


FINAL: Final = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED})
HOLDING: Final = frozenset({JobState.STARTING, JobState.RUNNING, JobState.STOPPING})


class EndReason(StrEnum):
    """Why an attempt ended."""

    EXIT = "exit"
    """Its command ended by itself; the exit code says how."""
    OOM = "oom"
    """The kernel killed it for memory."""
    IMAGE = "image"
    """Its image is missing, refused or broken."""
    REFUSED = "refused"
    """The engine refused to make or start the container."""
    DISK_FULL = "disk_full"
    ENGINE_LOST = "engine_lost"
    """The engine went away and the container with it."""
    HOST_LOST = "host_lost"
    TIMEOUT = "timeout"
    """Over the job's ``timeout_seconds``."""
    IDLE_GPU = "idle_gpu"
    """Its GPUs were idle for the job's ``idle_gpu_seconds``."""
    QUEUE_TIMEOUT = "queue_timeout"
    """It waited longer than its ``max_queue_seconds``; such a job has no attempt."""
    DEPENDENCY = "dependency"
    """A job that it depends on did not end as it had to; such a job has no attempt."""
    CANCELLED = "cancelled"
    PREEMPTED = "preempted"


@frozen(kw_only=True)
class Needs:
    """What a job takes from one host while it runs."""

    millicores: int = _amount(MILLICORES_MAX)
    memory_mib: int = _amount(MIB_MAX)
    storage_mib: int = _amount(MIB_MAX)
    milli_gpu: int = _amount(MILLI_GPU_MAX)
    """Whole GPUs are thousands; what is left over is a part of one more GPU, shared on purpose with other parts."""
    gpu_vram_mib: int = _amount(MIB_MAX)
    """Memory that each of its GPUs must have; of a part of a GPU, what is promised and booked."""
    gpu_models: tuple[str, ...] = field(
        default=(), validator=deep_iterable(and_(instance_of(str), min_len(1)), max_len(64))
    )
    """Any of these, each a part of the model's name in any case; empty takes every model."""
    gpu_ids: tuple[str, ...] = field(
        default=(), validator=deep_iterable(and_(instance_of(str), min_len(1)), max_len(64))
    )
    """Only these GPUs, by uuid; empty takes any."""
    mig_profile: str = _text(64)
    """Such as ``1g.10gb``: takes MIG instances of this profile, each counting as one GPU, instead of whole GPUs."""


class DependencyKind(StrEnum):
    """When a job that depends on another may start."""

    AFTER_OK = "afterok"
    """Once the other has completed; fails with it otherwise."""
    AFTER_ANY = "afterany"
    """Once the other has ended, however."""


@frozen(kw_only=True)
class Dependency:
    """Another job that has to end first."""

    job_id: str = _name()
    kind: DependencyKind = DependencyKind.AFTER_OK


@frozen(kw_only=True)
class RetryRule:
    """When a job is tried again by itself."""

    attempts_max: int = field(default=1, validator=[instance_of(int), ge(1), le(100)])
    """Attempts in all for ends that are the job's own (its exit code, out of memory, image, refusal, full disk)."""
    reasons: frozenset[EndReason] = frozenset({EndReason.EXIT, EndReason.OOM, EndReason.IMAGE, EndReason.DISK_FULL})
    """Of those ends, which are tried again; loss of engine or host and preemption are always, and count apart."""
    lost_max: int = field(default=5, validator=[instance_of(int), ge(0), le(100)])
    """Attempts that may be lost with their engine or host; preemptions are not counted."""
    backoff_seconds: float = field(default=10.0, validator=[instance_of((int, float)), ge(0.0), le(86_400.0)])
    """Wait before the second attempt; doubles each time, up to an hour."""


@frozen(kw_only=True)
class Job:
    """What somebody asked to be run; never changes."""

    job_id: str = _name()
    owner: str = field(validator=and_(instance_of(str), max_len(200)))
    """Name of the person; empty for the appliance itself or a trusted request without a person."""
    label: str = _text()
    """The ``user_id`` that the submitter sent; echoed, and decides nothing."""
    name: str = _text()
    image: str = _name(1000)
    command: str = _text(TEXT_MAX)
    """Run by ``/bin/sh -c`` in the container; empty runs what the image says."""
    environment: Mapping[str, str] = field(factory=dict)
    """Added to the image's; may hold secrets, so it is never shown nor logged."""
    needs: Needs = field(factory=Needs)
    tag: str = _text()
    """The submitter's category; runtimes are learned by it and the image."""
    k_milli: int = field(default=2000, validator=[instance_of(int), ge(1), le(1_000_000)])
    """Thousandths of the factor k: the job should end within k times its expected runtime after it was submitted."""
    priority: int = field(default=50, validator=[instance_of(int), ge(0), le(PRIORITY_MAX)])
    """Larger goes first."""
    preemptible: bool = False
    """May be stopped and queued again for a job of higher priority."""
    timeout_seconds: float | None = _seconds()
    """Longest runtime of one attempt."""
    max_queue_seconds: float | None = _seconds()
    """Longest wait for the first attempt."""
    idle_gpu_seconds: float | None = _seconds()
    """Ended when all its GPUs were below 1 % utilisation for so long."""
    retry: RetryRule = field(factory=RetryRule)
    dependencies: tuple[Dependency, ...] = field(default=(), validator=max_len(100))
    not_before_unix_us: int = 0
    """Waits until then; 0 for at once."""
    array_id: str = _text()
    """Shared by the jobs of an array; empty outside."""
    array_index: int | None = None
    array_running_max: int = field(default=0, validator=[instance_of(int), ge(0)])
    """How many jobs of the array may run at once; 0 for any number."""
    schedule_id: str = _text()
    """The cron schedule that made it; empty otherwise."""
    retry_of: str = _text()
    """The job that a person tried again with this one; empty otherwise."""
    engine: str = _text(64)
    """Only this engine; empty takes the first that can."""
    host_id: str = _text()
    """Only this host; empty takes any."""
    tty: bool = False
    network: str = field(default="none", validator=in_(("none", "bridge")))
    """``none``, or ``bridge``: outgoing connections through the engine's own network; never the host's."""
    volumes: tuple[str, ...] = field(
        default=(), validator=deep_iterable(matches_re(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}(:ro)?"), max_len(16))
    )
    """Names of volumes that the configuration declares, mounted at ``/volumes/NAME``; ``:ro`` for reading only."""
    privileges: tuple[str, ...] = field(
        default=(), validator=[max_len(16), deep_iterable(matches_re(r"[A-Z][A-Z_]{1,40}"))]
    )
    """Capabilities (``SYS_PTRACE``) that it asks to keep; the configuration says which it may."""
    stop_grace_seconds: float = field(default=10.0, validator=[instance_of((int, float)), ge(0.0), le(600.0)])
    """Between the request to end (SIGTERM) and the kill."""


@frozen(kw_only=True)
class Placement:
    """Where an attempt runs and what it holds there."""

    host_id: str
    engine: str
    parts: tuple[tuple[str, int, int], ...] = ()
    """(GPU uuid, thousandths of it, MiB of its memory), as the ledger books them."""

    @property
    def gpu_ids(self) -> tuple[str, ...]:
        """The GPUs it is bound to, by uuid."""
        return tuple(gpu_id for gpu_id, _, _ in self.parts)


@frozen(kw_only=True)
class Attempt:
    """One try to run a job."""

    attempt_id: str
    """Unique for ever: job id, ``.`` and a number counting from 1."""
    number: int
    placement: Placement
    fencing_token: int
    """Larger than that of any attempt before, of any job."""
    assigned_at_unix_us: int
    started_at_unix_us: int | None = None
    ended_at_unix_us: int | None = None
    reason: EndReason | None = None
    exit_code: int | None = None
    message: str = ""
    """How it ended, in words."""
