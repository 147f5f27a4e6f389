"""What the engine says about containers, decoded: every answer comes from outside and may be anything."""

import re
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, TypeVar

import msgspec

from appliance.plugin import EndReason, EngineLost, Exit, Found, Usage

KILLED: Final = 137
"""128 + SIGKILL."""
TERMINATED: Final = 143
"""128 + SIGTERM."""
APPLIANCE: Final = "appliance.id"
ATTEMPT: Final = "appliance.attempt"
JOB: Final = "appliance.job"
TOKEN: Final = "appliance.token"  # noqa: S105  the name of a label
MEMORY: Final = "appliance.memory_mib"
"""The limit that an attempt was given, so that its end can be judged after a restart too."""
FENCE: Final = "appliance.fence"
"""On the container that holds an attempt's network, see `fence`."""

_NUMBER_MAX: Final = 2**63
Decoded = TypeVar("Decoded")


class State(msgspec.Struct, rename="pascal", frozen=True):
    """How a container is doing."""

    status: str = ""
    running: bool = False
    oom_killed: bool = msgspec.field(name="OOMKilled", default=False)
    exit_code: int = 0
    error: str = ""
    finished_at: str = ""

    @property
    def was_started(self) -> bool:
        """Whether its command ever ran."""
        return self.status not in ("created", "initialized", "configured", "")


class Config(msgspec.Struct, rename="pascal", frozen=True):
    """What a container was made with."""

    labels: dict[str, str] | None = None
    tty: bool = False


class Container(msgspec.Struct, rename="pascal", frozen=True):
    """One container, as ``GET /containers/NAME/json`` tells."""

    id: str
    state: State
    config: Config

    @property
    def labels(self) -> dict[str, str]:
        """Its labels; Podman says null for none."""
        return self.config.labels or {}


class Listed(msgspec.Struct, rename="pascal", frozen=True):
    """One container of ``GET /containers/json``."""

    id: str
    state: str = ""
    labels: dict[str, str] | None = None


class Component(msgspec.Struct, rename="pascal", frozen=True):
    """A part of an engine."""

    name: str = ""


class Version(msgspec.Struct, rename="pascal", frozen=True):
    """``GET /version``."""

    version: str = ""
    api_version: str = ""
    min_api_version: str = msgspec.field(name="MinAPIVersion", default="")
    arch: str = ""
    components: list[Component] | None = None

    @property
    def is_podman(self) -> bool:
        """Whether this is Podman behind Docker's API."""
        return any("podman" in one.name.lower() for one in self.components or ())


class Info(msgspec.Struct, rename="pascal", frozen=True):
    """``GET /info``, as far as it matters here."""

    driver: str = ""
    driver_status: list[list[str]] | None = None
    runtimes: dict[str, Any] | None = None
    default_runtime: str = ""
    cdi_spec_dirs: list[str] | None = msgspec.field(name="CDISpecDirs", default=None)
    memory_limit: bool = True
    cpu_cfs_quota: bool = True
    pids_limit: bool = True


class _CpuUsage(msgspec.Struct, frozen=True):
    total_usage: int = 0


class _CpuStats(msgspec.Struct, frozen=True):
    cpu_usage: _CpuUsage = _CpuUsage()


class _MemoryStats(msgspec.Struct, frozen=True):
    usage: int | None = None
    stats: dict[str, int] | None = None


class _PidsStats(msgspec.Struct, frozen=True):
    current: int | None = None


class Stats(msgspec.Struct, frozen=True):
    """``GET /containers/NAME/stats``."""

    read: str = ""
    cpu_stats: _CpuStats = _CpuStats()
    memory_stats: _MemoryStats = _MemoryStats()
    pids_stats: _PidsStats = _PidsStats()


def decode(body: bytes, kind: type[Decoded]) -> Decoded:
    """Return an answer's body as ``kind``.

    :raises EngineLost: it is something else; whoever answers there is no engine that we know.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise EngineLost(f"the engine's answer is not understood: {error}") from error


def name_of(appliance_id: str, attempt_id: str) -> str:
    """Return the name of an attempt's container: one attempt, one name, for ever."""
    plain = f"appliance-{appliance_id[:8]}-{attempt_id}"
    if len(plain) <= 120 and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]+", plain):
        return plain
    return "appliance-" + sha256(f"{appliance_id}\0{attempt_id}".encode()).hexdigest()


def fence_of(name: str) -> str:
    """Return the name of the container that holds the network of the container ``name``."""
    return f"{name}-net"


def exit_of(container: Container, *, is_podman: bool, was_stopped: bool, was_interrupted: bool = False) -> Exit:
    """Return how a container that does not run has ended.

    :param was_stopped: whether we asked it to end: a kill is then ours.
    :param was_interrupted: whether the engine was away while it ran. Docker ends what it finds running when it stops or
        comes back (unless its live-restore is on), and remembers no more than the exit code.
    """
    state = container.state
    if not state.was_started:
        return Exit(exit_code=None, reason=EndReason.ENGINE_LOST, message="its container was made, but never started")
    ended = unix_us(state.finished_at)
    code = state.exit_code if 0 <= state.exit_code <= 255 else None
    if "no space left on device" in state.error.lower():
        return Exit(exit_code=code, reason=EndReason.DISK_FULL, message=state.error[:2000], ended_at_unix_us=ended)
    if state.oom_killed and code != 0:
        message = "out of memory: the kernel killed a process of it at its memory limit"
        return Exit(exit_code=code, reason=EndReason.OOM, message=message, ended_at_unix_us=ended)
    if was_interrupted and not was_stopped and not is_podman and code in (KILLED, TERMINATED):
        message = f"the engine went away and ended it (exit code {code})"
        return Exit(exit_code=code, reason=EndReason.ENGINE_LOST, message=message, ended_at_unix_us=ended)
    limit = container.labels.get(MEMORY, "0")
    if is_podman and code == KILLED and limit != "0" and not was_stopped:
        # Podman forgets that it was the memory limit (with cgroup v1 always). Its first process can be killed from
        # outside only, and nobody else here does so.
        message = f"killed, most likely for its memory limit of {limit} MiB: Podman does not tell"
        return Exit(exit_code=code, reason=EndReason.OOM, message=message, ended_at_unix_us=ended)
    if code is None or (state.status == "dead" and state.error):
        words = state.error[:2000] or f"the engine tells no exit code of it ({state.exit_code})"
        return Exit(exit_code=code, reason=EndReason.ENGINE_LOST, message=words, ended_at_unix_us=ended)
    return Exit(exit_code=code, reason=EndReason.EXIT, message=state.error[:2000], ended_at_unix_us=ended)


def unix_us(text: str) -> int | None:
    """Return a time as engines write it, in microseconds since 1970; ``None`` for none (they say the year 1)."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", text)
    if match is None or match[1] < "1970-01-02":
        return None
    try:
        whole = int(datetime.fromisoformat(match[1] + ("+00:00" if match[3] == "Z" else match[3])).timestamp())
    except (ValueError, OverflowError):
        return None
    return whole * 10**6 + int((match[2] or "").ljust(9, "0")) // 1000


def found_of(listed: list[Listed]) -> list[Found]:
    """Return the attempts among containers; one whose fence alone is left counts as ended, so that it is cleared."""
    attempts: dict[str, Found] = {}
    for one in listed:
        labels = one.labels or {}
        attempt_id, token = labels.get(ATTEMPT, ""), labels.get(TOKEN, "")
        if not attempt_id or not (token.isascii() and token.isdigit() and len(token) < 19):
            continue
        is_fence = FENCE in labels
        if is_fence and attempt_id in attempts:
            continue
        attempts[attempt_id] = Found(
            attempt_id=attempt_id,
            job_id=labels.get(JOB, ""),
            fencing_token=int(token),
            is_running=not is_fence
            and one.state.lower() in ("running", "paused", "restarting", "stopping", "removing"),
        )
    return list(attempts.values())


def usage_of(stats: Stats) -> Usage | None:
    """Return what a container uses; ``None`` when it does not run (the time of reading is then that of the year 1)."""
    if unix_us(stats.read) is None:
        return None
    memory = _amount(stats.memory_stats.usage)
    if memory is not None:
        # Files that are only cached do not count, as in `docker stats`: cgroup v1 has total_inactive_file.
        cached = stats.memory_stats.stats or {}
        memory = max(0, memory - (_amount(cached.get("total_inactive_file", cached.get("inactive_file"))) or 0))
    cpu_ns = _amount(stats.cpu_stats.cpu_usage.total_usage)
    pids = _amount(stats.pids_stats.current)
    return Usage(cpu_seconds=None if cpu_ns is None else cpu_ns / 1e9, memory_bytes=memory, pids=pids)


def _amount(value: int | None) -> int | None:
    return value if value is not None and 0 <= value < _NUMBER_MAX else None
