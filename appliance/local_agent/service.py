"""The local agent: samples this host for as long as the appliance runs, and tells everyone who needs to know."""

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import structlog
import trio
from attrs import frozen

from appliance.backends import BackendStatus, DeviceBackend, DeviceEvent
from appliance.clock import Now, to_unix_s, unix_now_us
from appliance.devices import Gpu, HostFacts, HostSample
from appliance.errors import ApplianceError
from appliance.events import Events
from appliance.host import Host
from appliance.inventory.health import Fault
from appliance.local_agent.attribution import Attribution
from appliance.local_agent.host import HostReader, read_facts
from appliance.local_agent.sampling import DEADLINE_SECONDS, Pass, Sampler
from appliance.local_agent.view import View

log = structlog.get_logger("local_agent")

FIRST_LOOK_SECONDS: Final = 0.2
"""Between the two readings of `sample_now`: the CPU's shares need a span of time."""
REMEMBERED_EVENTS: Final = 16
"""Per GPU, for its health in words; all of them are in the event store."""
FAULT_KINDS: Final = frozenset({"gpu.xid", "gpu.ecc"})
GRACE_SECONDS: Final = 1.0
LEAST_SAMPLE_SECONDS: Final = 0.1
START_SECONDS: Final = 0.5
"""How long the start waits for the first readings, and how soon it looks again while a driver is still opening."""
NOTICE_SECONDS: Final = 1.0
"""How soon another interval is kept to."""
HURRIED_PASSES: Final = 20


class SeriesWriter(Protocol):
    """What the agent needs of core's time series."""

    async def append(self, sample: HostSample) -> Any:
        """Store one sample, durable when it returns; the answer holds the rates derived from it."""
        ...


class HostsAndGpus(Protocol):
    """What the agent needs of the inventory."""

    async def saw_host(self, host_id: str, *, hostname: str, at_unix_us: int) -> Any:
        """Note that a host is there."""
        ...

    def saw(self, host_id: str, *, at_unix_us: int) -> None:
        """Note in memory that a known host was heard of."""
        ...

    async def saw_gpus(self, host_id: str, gpus: Sequence[Gpu], *, at_unix_us: int) -> Any:
        """Note which GPUs a host has."""
        ...


@frozen(kw_only=True)
class RecentEvent:
    """A device event with its time."""

    event: DeviceEvent
    at_unix_us: int


class LocalAgent:
    """Samples this host and its devices every ``sample_seconds()`` while `run` runs.

    What was read last is in `last` (and `reading`, with rates) at once, also when it could not be stored.
    """

    def __init__(
        self,
        *,
        host_id: str,
        backends: Sequence[DeviceBackend],
        series: SeriesWriter,
        inventory: HostsAndGpus,
        events: Events,
        host: Host | None = None,
        now: Now = unix_now_us,
        sample_seconds: Callable[[], float] = lambda: 2.0,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        host = host or Host()
        self.host_id = host_id
        self.facts: HostFacts = read_facts(host)
        self.last: Pass | None = None
        """The newest pass; ``None`` before the first."""
        self.reading: Any = None
        """What `Series.append` made of the newest sample; ``None`` when it was not stored."""
        self.storage_problem: str | None = None
        """Why the newest sample could not be stored, in plain words."""
        self.recent: dict[str, deque[RecentEvent]] = {}
        """The last events of each GPU, oldest first."""
        self.sample_seconds = sample_seconds
        self._series, self._inventory, self._events, self._now = series, inventory, events, now
        self._sampler = Sampler(
            host_id=host_id,
            backends=backends,
            host=HostReader(host),
            attribution=lambda: Attribution(host),
            now=now,
            deadline_seconds=deadline_seconds,
        )
        self._known: tuple[Gpu, ...] | None = None
        self._is_noted = False

    @property
    def name(self) -> str:
        """What it is called in ``/readyz`` and the log."""
        return "local-agent"

    @property
    def latest(self) -> HostSample | None:
        """The newest sample; ``None`` before the first."""
        return self.last.sample if self.last else None

    @property
    def gpus(self) -> tuple[Gpu, ...]:
        """GPUs that are there, or were when their backend could last read them."""
        return self.last.gpus if self.last else ()

    def gpu_utilization(self, gpu_id: str) -> float | None:
        """Return how busy a GPU was at the newest sample, in percent; ``None`` where its driver does not say."""
        samples = self.last.sample.gpus if self.last else ()
        return next((one.utilization_percent for one in samples if one.gpu_id == gpu_id), None)

    @property
    def leaving(self) -> frozenset[str]:
        """Ids of GPUs that the newest sample found gone, while the inventory is still being told so."""
        return frozenset(gpu.gpu_id for gpu in self._known or ()) - {gpu.gpu_id for gpu in self.gpus}

    @property
    def backends(self) -> tuple[BackendStatus, ...]:
        """How every backend is doing now."""
        return self._sampler.backends

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Sample until cancelled; started when the first sample is there, which a slow driver may miss."""
        due, passes = trio.current_time(), 0
        try:
            while True:
                await self.sample_once(at_most_seconds=START_SECONDS if passes == 0 else None)
                passes += 1
                if passes == 1:
                    task_status.started()
                due = await self._next(due, passes)
        finally:
            self._sampler.close()
            with trio.move_on_after(GRACE_SECONDS, shield=True):
                await self._sampler.wait_closed()

    async def _next(self, was_due: float, passes: int) -> float:
        """Wait until the next pass is due, one interval after the last was, and return when that is.

        The interval is asked for again every second: a reload that shortens it must not wait until a long one is over.
        """
        # As the pass found it: a driver that has opened since has not been read yet.
        is_starting = self.last is None or any(each.state == "starting" for each in self.last.backends)
        at_most = START_SECONDS if is_starting and passes < HURRIED_PASSES else math.inf
        interval = self._interval_seconds
        while (due := was_due + min(interval(), at_most)) > trio.current_time() + NOTICE_SECONDS:  # noqa: ASYNC110
            await trio.sleep(NOTICE_SECONDS)
        due = max(due, trio.current_time())  # a pass that took long is not made up for
        await trio.sleep_until(due)
        return due

    def _interval_seconds(self) -> float:
        return max(LEAST_SAMPLE_SECONDS, self.sample_seconds())

    async def sample_once(self, *, at_most_seconds: float | None = None) -> HostSample:
        """Take one sample, store it and tell everyone; a failing store is told, and stops nothing."""
        seen = await self._sampler.sample_once(at_most_seconds=at_most_seconds)
        self.last = seen
        self._remember(seen.events)
        await self._store(seen)
        self._events.announce(
            "sample",
            {"host_id": self.host_id, "taken_at_unix_s": to_unix_s(seen.sample.taken_at_unix_us)},
            subject=self.host_id,
        )
        return seen.sample

    def view(
        self,
        *,
        now_unix_us: int,
        lost: Sequence[Gpu] = (),
        marks: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    ) -> View:
        """Return what is known now, with what the inventory adds to it."""
        rates = self.reading.rates if self.reading is not None else None
        return View(
            host_id=self.host_id,
            facts=self.facts,
            sample=self.latest,
            gpus=self.gpus,
            backends=self.backends,
            now_unix_us=now_unix_us,
            sample_seconds=self.sample_seconds(),
            lost=lost,
            marks=marks or {},
            faults={
                gpu_id: [
                    Fault(message=each.event.message, level=each.event.level, at_unix_us=each.at_unix_us)
                    for each in kept
                    if each.event.kind in FAULT_KINDS
                ]
                for gpu_id, kept in self.recent.items()
            },
            host_rates=rates.host if rates else {},
            disk_rates=rates.disks if rates else {},
            network_rates=rates.networks if rates else {},
            gpu_rates=rates.gpus if rates else {},
        )

    async def _store(self, seen: Pass) -> None:
        problem = None
        self.reading = None
        try:
            await self._note(seen)
            for event in seen.events:
                await self._events.publish(
                    event.kind, event.message, level=event.level, subject=event.gpu_id, data=dict(event.data)
                )
            self.reading = await self._series.append(seen.sample)
        except ApplianceError as error:
            problem = error.message
        if problem and problem != self.storage_problem:
            log.warning("sample_not_stored", problem=problem, effect="shown live, missing from history")
        self.storage_problem = problem

    async def _note(self, seen: Pass) -> None:
        at_unix_us = seen.sample.taken_at_unix_us
        if not self._is_noted:
            await self._inventory.saw_host(self.host_id, hostname=self.facts.hostname, at_unix_us=at_unix_us)
            self._is_noted = True
        self._inventory.saw(self.host_id, at_unix_us=at_unix_us)
        # While a backend cannot say what it has, its GPUs are not gone.
        is_complete = all(backend.state in {"ok", "absent"} for backend in seen.backends)
        if is_complete and self._known != seen.gpus:
            await self._inventory.saw_gpus(self.host_id, seen.gpus, at_unix_us=at_unix_us)
            self._known = seen.gpus

    def _remember(self, events: Sequence[DeviceEvent]) -> None:
        for event in events:
            kept = self.recent.setdefault(event.gpu_id, deque(maxlen=REMEMBERED_EVENTS))
            kept.append(RecentEvent(event=event, at_unix_us=self._now()))


@frozen(kw_only=True)
class Look:
    """One sample taken in the caller's own process, with nothing running."""

    facts: HostFacts
    last: Pass

    @property
    def sample(self) -> HostSample:
        """The sample itself."""
        return self.last.sample

    def view(self) -> View:
        """Return the same documents as a running appliance would answer, without rates."""
        return View(
            host_id=self.sample.host_id,
            facts=self.facts,
            sample=self.sample,
            gpus=self.last.gpus,
            backends=self.last.backends,
            now_unix_us=self.sample.taken_at_unix_us,
        )


def sample_now(
    backends: Sequence[DeviceBackend],
    *,
    host_id: str = "",
    host: Host | None = None,
    now: Now = unix_now_us,
    sleep: Callable[[float], None] = time.sleep,
    deadline_seconds: float = 10.0,
) -> Look:
    """Take one sample in this process and let go of the drivers again; for commands when no appliance runs.

    Blocks for about 0.2 s besides what the drivers need, at most twice ``deadline_seconds``.
    """
    host = host or Host()
    sampler = Sampler(
        host_id=host_id,
        backends=backends,
        host=HostReader(host),
        attribution=lambda: Attribution(host),
        now=now,
        deadline_seconds=deadline_seconds,
    )
    try:
        sampler.sample_blocking()
        sleep(FIRST_LOOK_SECONDS)
        return Look(facts=read_facts(host), last=sampler.sample_blocking())
    finally:
        sampler.close(GRACE_SECONDS)
