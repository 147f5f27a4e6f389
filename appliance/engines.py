"""How core runs jobs: the protocol of a task engine, and what passes between the two.

An engine runs attempts: one attempt is one container (or sandbox, or job of a cluster), known by its attempt id for
ever. Engines keep no state of their own beside what they run: after a restart of the appliance `TaskEngine.found`
tells what is there, by the labels that `Launch` put on it, and everything goes on by attempt id.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import trio
from attrs import field, frozen

from appliance.errors import ApplianceError
from appliance.jobs import EndReason


class LaunchFailed(ApplianceError):
    """An attempt could not be started; ``reason`` says in which way, the message in words."""

    status = 503

    def __init__(self, message: str, *, reason: EndReason, hint: str = "") -> None:
        """Say what failed; ``reason`` decides whether another attempt is made."""
        super().__init__(message, hint=hint)
        self.reason = reason


class EngineLost(ApplianceError):
    """The engine does not answer; what it runs may well go on. Core asks again until it does."""

    status = 503


@frozen(kw_only=True)
class EngineStatus:
    """How an engine is doing, in words for people."""

    name: str
    state: Literal["starting", "ok", "absent", "unavailable"]
    """``absent``: this host has nothing that it could use."""
    message: str
    """What was found, or what was looked for and why it does not work."""
    hint: str = ""
    """What to do, as a command where there is one."""
    features: frozenset[str] = frozenset()
    """Of ``gpu``, ``pull``, ``network``, ``storage_limit``, ``remote``: what it can do beyond running."""
    unsafe: str = ""
    """What it cannot keep apart from the appliance itself, in words; empty when it can."""
    own_images_only: bool = False
    """Whether it fetches no images. A job that does not name it wants none of its own, and waits for an engine that
    fetches, as long as there is one on this host, however that is doing."""


@frozen(kw_only=True)
class Volume:
    """A folder of the host that the configuration lends to jobs."""

    name: str
    source: Path
    read_only: bool


@frozen(kw_only=True)
class Launch:
    """All that an engine needs to start an attempt. It must be started at most once, however often it is asked."""

    attempt_id: str
    job_id: str
    fencing_token: int
    image: str
    command: str = ""
    """For ``/bin/sh -c``; empty runs what the image says."""
    environment: Mapping[str, str] = field(factory=dict, repr=False)
    """Never logged."""
    millicores: int = 0
    """0 sets no limit."""
    memory_mib: int = 0
    """0 sets no limit."""
    storage_mib: int = 0
    """Writable space; 0 sets no limit. Engines without the feature ``storage_limit`` only promise it."""
    pids_max: int = 4096
    gpu_ids: tuple[str, ...] = ()
    """By uuid; the attempt sees these and no others."""
    network: str = "none"
    link_local: bool = False
    """Whether 169.254.0.0/16 and fe80::/10 (cloud metadata) may be reached on network ``bridge``."""
    tty: bool = False
    inputs: Path | None = None
    """A folder whose files appear below ``/input``, for reading; ``None`` without any."""
    volumes: tuple[Volume, ...] = ()
    privileges: frozenset[str] = frozenset()
    """Capabilities (``SYS_PTRACE``) that the configuration lets this job keep; all others are dropped."""


@frozen(kw_only=True)
class Exit:
    """How an attempt ended."""

    exit_code: int | None
    """128 + n after signal n; ``None`` when it never ran or nobody knows."""
    reason: EndReason
    """``EXIT``, ``OOM``, ``DISK_FULL`` or ``ENGINE_LOST`` (it is not there any more and nobody saw its end)."""
    message: str = ""
    ended_at_unix_us: int | None = None
    """By the engine's clock; ``None`` when it does not tell."""


@frozen(kw_only=True)
class Found:
    """An attempt that an engine has, running or ended."""

    attempt_id: str
    job_id: str
    fencing_token: int
    is_running: bool


@frozen(kw_only=True)
class LogChunk:
    """Bytes that an attempt wrote, exactly as it wrote them."""

    stream: Literal["stdout", "stderr"]
    """With a terminal all of it is ``stdout``."""
    data: bytes


@frozen(kw_only=True)
class Usage:
    """What an attempt uses at the moment; ``None`` is what the engine does not tell."""

    cpu_seconds: float | None = None
    """Since its start."""
    memory_bytes: int | None = None
    pids: int | None = None


class OutputSink(Protocol):
    """Where an engine puts what an attempt left below ``/output``. It decides what is kept, by its caps and rules."""

    async def put(self, path: str, size_bytes: int, chunks: AsyncIterator[bytes]) -> bool:
        """Keep one regular file; ``False`` when it is refused (the chunks are then not read).

        :param path: relative to ``/output``, ``/`` between parts.
        """
        ...

    def skip(self, path: str, reason: str) -> None:
        """Tell of an entry that is no regular file: a link, a device, a FIFO, a socket."""
        ...


@runtime_checkable
class TaskEngine(Protocol):
    """One way to run attempts. Core calls it from one trio task per attempt; methods may be called at the same time.

    Every method that talks to the engine raises `EngineLost` while it cannot be reached.
    """

    @property
    def name(self) -> str:
        """``docker``, ``sandbox``: shown in ``/readyz``, ``doctor``, and chosen by ``Job.engine``."""
        ...

    @property
    def status(self) -> EngineStatus:
        """How it was at the last look; at once, from memory."""
        ...

    def owns_image(self, image: str) -> bool:
        """Whether this is the name of an image that only this engine has; at once.

        A job that names such an image and no engine is this engine's. What could be fetched is nobody's own.
        """
        ...

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch the engine until cancelled; `status` follows. ``started()`` comes after the first look, good or bad."""
        ...

    async def start(self, launch: Launch, tell: Callable[[str], None]) -> None:
        """Make and start an attempt; return once its command runs.

        Asked again for an attempt that is there, it starts nothing twice: one that was made and not started is started,
        one that runs or has ended is left as it is.

        :param tell: takes progress in words (fetching an image); may be called from the same task only.
        :raises LaunchFailed: it cannot be started; nothing of it is left.
        """
        ...

    async def wait(self, attempt_id: str) -> Exit:
        """Return how the attempt ended, once it has; at once when it is over or not there at all."""
        ...

    def logs(self, attempt_id: str, *, skip: Mapping[str, int]) -> AsyncIterator[LogChunk]:
        """Yield all that the attempt writes, from its start, until it has ended and everything was read.

        :param skip: bytes to leave out from the start of each stream: what is stored already.
        """
        ...

    async def stop(self, attempt_id: str, *, grace_seconds: float) -> None:
        """Ask it to end (SIGTERM), and kill it after the grace; return when it has ended. Nothing happens twice."""
        ...

    async def found(self) -> list[Found]:
        """Return every attempt of this appliance that the engine has, ended ones included."""
        ...

    async def usage(self, attempt_id: str) -> Usage | None:
        """Return what it uses now; ``None`` when it does not run."""
        ...

    async def collect(self, attempt_id: str, sink: OutputSink) -> None:
        """Put the files below ``/output`` of an ended attempt into the sink, following no link."""
        ...

    async def remove(self, attempt_id: str) -> None:
        """Remove what is left of an attempt, killing it if it runs; nothing happens when nothing is left."""
        ...


def labels(launch: Launch, appliance_id: str) -> dict[str, str]:
    """Return the labels by which an attempt is found again.

    :param appliance_id: the appliance's own id, so that two on one engine leave each other alone.
    """
    return {
        "appliance.id": appliance_id,
        "appliance.attempt": launch.attempt_id,
        "appliance.job": launch.job_id,
        "appliance.token": str(launch.fencing_token),
    }
