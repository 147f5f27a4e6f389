"""Every backend and the host itself, read side by side, each with a deadline of its own."""

import time
from collections.abc import Callable, Sequence
from functools import partial

import trio
from attrs import define, evolve, field, frozen

from appliance.backends import BackendStatus, DeviceAbsent, DeviceBackend, DeviceEvent, DeviceReading
from appliance.clock import Now, unix_now_us
from appliance.devices import Gpu, GpuSample, HostSample
from appliance.errors import ApplianceError
from appliance.local_agent.attribution import Attribution
from appliance.local_agent.host import HostReader
from appliance.local_agent.threads import Done, OwnThread

DEADLINE_SECONDS = 4.0
"""How long one pass waits for a backend; one that takes longer is late, and its answer joins a later pass."""
OPEN_MAY_TAKE_SECONDS = 60.0
"""Without persistence mode the NVIDIA driver initialises every GPU on the first open, which takes seconds for each."""
RETRY_FIRST_SECONDS = 2.0
RETRY_MOST_SECONDS = 60.0

AnyThread = OwnThread[HostSample] | OwnThread[DeviceReading | None]


@frozen(kw_only=True)
class Pass:
    """What one pass over the host and all backends saw."""

    sample: HostSample
    gpus: tuple[Gpu, ...]
    """Present GPUs, those of late backends included as they were last seen."""
    events: tuple[DeviceEvent, ...]
    backends: tuple[BackendStatus, ...]
    lost: frozenset[str]
    """Ids of GPUs that were there, and that their working backend does not see any more."""


@define
class BackendPass:
    """One backend as its own thread sees it: opened when needed, closed on failure, tried again with back-off."""

    backend: DeviceBackend
    attribution: Attribution
    monotonic: Callable[[], float] = time.monotonic
    status: BackendStatus = field(init=False)
    opening: bool = field(default=False, init=False)
    _is_open: bool = field(default=False, init=False)
    _line: str = field(default="", init=False)
    _retry_seconds: float = field(default=RETRY_FIRST_SECONDS, init=False)
    _retry_at: float = field(default=float("-inf"), init=False)

    def __attrs_post_init__(self) -> None:
        self.status = BackendStatus(name=self.backend.name, state="starting", message="connecting to the driver")

    def read(self, now_unix_us: int) -> DeviceReading | None:
        """Open the backend if it is due, and read it; ``None`` when it cannot work now, with `status` saying why."""
        if not self._is_open and self.monotonic() < self._retry_at:
            return None
        try:
            if not self._is_open:
                self.opening = True
                try:
                    self._line = self.backend.open()
                finally:
                    self.opening = False
                self._is_open = True
            reading = self.backend.read(now_unix_us)
            samples = self.attribution.complete(reading.samples)
        except BaseException as error:  # the edge of a plugin: also `sys.exit` in a driver costs its own samples only
            self._failed(error)
            return None
        self._retry_seconds = RETRY_FIRST_SECONDS
        self.status = BackendStatus(
            name=self.backend.name, state="ok", message=self._line, problems=tuple(reading.problems)
        )
        return evolve(reading, samples=samples)

    def close(self) -> None:
        """Let go of the driver."""
        if self._is_open:
            self._is_open = False
            self.backend.close()

    def _failed(self, error: BaseException) -> None:
        self._is_open = False
        absent = isinstance(error, DeviceAbsent)
        self._retry_at = self.monotonic() + (RETRY_MOST_SECONDS if absent else self._retry_seconds)
        self._retry_seconds = min(RETRY_MOST_SECONDS, self._retry_seconds * 2)
        known = isinstance(error, ApplianceError)
        self.status = BackendStatus(
            name=self.backend.name,
            state="absent" if absent else "unavailable",
            message=str(error) if known else f"{type(error).__name__}: {error}",
            hint=error.hint if isinstance(error, ApplianceError) else "",
        )
        # Last, for it is told why the backend cannot work even if this fails too.
        self.backend.close()


@define
class _Lane:
    """One backend as the sampler sees it from outside its thread."""

    work: BackendPass
    thread: OwnThread[DeviceReading | None]
    gpus: tuple[Gpu, ...] = ()
    lost: dict[str, Gpu] = field(factory=dict)
    begun_at: float = 0.0
    late: Done[DeviceReading | None] | None = None
    """The answer of a call that outlasted its pass; used when the next one does not come in time either."""

    def status(self, now: float, deadline_seconds: float) -> BackendStatus:
        """Return the backend's own words, unless it has not come back for too long."""
        waited = now - self.begun_at
        patience = OPEN_MAY_TAKE_SECONDS if self.work.opening else deadline_seconds * 0.99
        if self.thread.is_busy and waited >= patience:
            return evolve(
                self.work.status,
                state="hung",
                message=f"the driver has not answered for {waited:.0f} s; its GPUs are not sampled until it does",
                hint="look at `dmesg`; if it stays so, the driver or the GPU needs a reset",
            )
        return self.work.status


class Sampler:
    """Reads this host and its devices; a hung or failing backend costs only its own devices.

    `sample_once` under trio, `sample_blocking` without; one of them at a time. `close` when done.
    """

    def __init__(
        self,
        *,
        host_id: str,
        backends: Sequence[DeviceBackend],
        host: HostReader,
        attribution: Callable[[], Attribution],
        now: Now = unix_now_us,
        monotonic: Callable[[], float] = time.monotonic,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        self._host_id, self._now, self._monotonic, self._deadline_seconds = host_id, now, monotonic, deadline_seconds
        self._host = OwnThread("host", partial(host.read, host_id), lambda: None)
        self._lanes: list[_Lane] = []
        for backend in backends:
            work = BackendPass(backend, attribution(), monotonic)
            self._lanes.append(_Lane(work, OwnThread(backend.name, work.read, work.close)))

    @property
    def backends(self) -> tuple[BackendStatus, ...]:
        """How every backend is doing now."""
        now = self._monotonic()
        return tuple(lane.status(now, self._deadline_seconds) for lane in self._lanes)

    async def sample_once(self, *, at_most_seconds: float | None = None) -> Pass:
        """Take one sample of everything; takes at most the deadline, or less where the caller has less time."""
        begun = self._begin()
        with trio.move_on_after(self._deadline_seconds if at_most_seconds is None else at_most_seconds):
            for thread in begun:
                await thread.wait()
        return self._collect()

    def sample_blocking(self) -> Pass:
        """Take one sample of everything without trio; takes at most the deadline."""
        begun = self._begin()
        until = self._monotonic() + self._deadline_seconds
        for thread in begun:
            thread.wait_blocking(max(0.0, until - self._monotonic()))
        return self._collect()

    def close(self, wait_seconds: float = 0.0) -> None:
        """Let every backend go of its driver; a hung one is left to its thread."""
        for thread in self._threads():
            thread.stop()
        until = self._monotonic() + wait_seconds
        for thread in self._threads():
            thread.wait_blocking(max(0.0, until - self._monotonic()))

    async def wait_closed(self) -> None:
        """Wait until every backend has let go; to be bounded by the caller."""
        for thread in self._threads():
            await thread.wait()

    def _threads(self) -> list[AnyThread]:
        return [self._host, *(lane.thread for lane in self._lanes)]

    def _begin(self) -> list[AnyThread]:
        """Start a call in every idle thread and return those: nobody waits again for one that is late already."""
        now_unix_us, now = self._now(), self._monotonic()
        begun: list[AnyThread] = [self._host] if self._host.begin(now_unix_us) else []
        for lane in self._lanes:
            lane.late = lane.thread.take()
            if lane.thread.begin(now_unix_us):
                lane.begun_at = now
                begun.append(lane.thread)
        return begun

    def _collect(self) -> Pass:
        done = self._host.take()
        sample = done.answer if done and done.answer else None
        if sample is None:
            sample = HostSample(host_id=self._host_id, taken_at_unix_us=self._now())
        # Before what has come is taken: who had no answer yet must not be seen as one that has started.
        backends = self.backends
        events: list[DeviceEvent] = []
        samples: list[GpuSample] = []
        for lane in self._lanes:
            done_now = lane.thread.take() or lane.late
            if done_now is None or done_now.answer is None:
                continue
            reading = done_now.answer
            samples += reading.samples
            events += [*changes(lane.gpus, lane.lost, reading.gpus), *reading.events]
            _remember(lane, reading.gpus)
        return Pass(
            sample=evolve(sample, gpus=tuple(samples)),
            gpus=tuple(gpu for lane in self._lanes for gpu in lane.gpus),
            events=tuple(events),
            backends=backends,
            lost=frozenset(gpu_id for lane in self._lanes for gpu_id in lane.lost),
        )


def _remember(lane: _Lane, present: tuple[Gpu, ...]) -> None:
    ids = {gpu.gpu_id for gpu in present}
    for gpu in lane.gpus:
        if gpu.gpu_id not in ids and gpu.parent_gpu_id is None:
            lane.lost[gpu.gpu_id] = gpu
    for gpu_id in ids:
        lane.lost.pop(gpu_id, None)
    lane.gpus = present


def changes(before: Sequence[Gpu], lost: dict[str, Gpu], present: Sequence[Gpu]) -> list[DeviceEvent]:
    """Return what to tell about GPUs that went or came back between two readings of one working backend."""
    ids = {gpu.gpu_id for gpu in present}
    events = []
    for gpu in before:
        if gpu.gpu_id in ids:
            continue
        if gpu.parent_gpu_id is not None:
            text = f"MIG instance {gpu.mig_profile or gpu.gpu_id} of GPU {gpu.index} was removed"
            events.append(DeviceEvent(kind="gpu.removed", gpu_id=gpu.gpu_id, message=text, level="info"))
        else:
            text = f"GPU {gpu.index} ({gpu.model}) is gone: the driver does not see it any more"
            events.append(DeviceEvent(kind="gpu.lost", gpu_id=gpu.gpu_id, message=text, level="critical"))
    for gpu in present:
        if gpu.gpu_id in lost:
            text = f"GPU {gpu.index} ({gpu.model}) is back"
            events.append(DeviceEvent(kind="gpu.returned", gpu_id=gpu.gpu_id, message=text, level="info"))
    return events
