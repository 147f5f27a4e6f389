"""A cluster in simulated time, and the ways to choose that are compared on it.

All see the same hosts, the same trace and the same rule of what fits; they are woken by every submission and every
end, except the one that is woken every 5 s because its original is.
"""

import heapq
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from attrs import define, evolve, field, frozen

from appliance.jobs import WHOLE_MILLI_GPU, Placement
from appliance.scheduler.capacity import HostCapacity, HostRoom, Room
from appliance.scheduler.fair_share import FairShare
from appliance.scheduler.placement import Request, find_on
from appliance.scheduler.queue import Occupied, Queue, Waiting, decide
from appliance.scheduler.quotas import Quotas
from appliance.scheduler.runtimes import CLASS_SECONDS, Runtimes, job_class
from tests.bench.scheduling_trace import Task

Choice = tuple[Task, Placement]


class Policy(Protocol):
    """A way to choose."""

    name: str
    tick_us: int
    """How often it is woken; 0 is at every change."""

    def submitted(self, task: Task) -> None:
        """Take a task."""

    def ended(self, task: Task, placement: Placement, started_at_us: int, now_us: int) -> None:
        """Learn of an end."""

    def choose(self, room: Room, now_us: int) -> list[Choice]:
        """Return what starts now, and take it off ``room``."""
        ...


@define
class InOrder:
    """First come, first served, but what does not fit now is passed: round-robin, first-fit and RTS differ in where."""

    name: str
    where: Callable[[Task, Request, Room, int], Placement | None]
    tick_us: int = 0
    _queue: list[Task] = field(factory=list)

    def submitted(self, task: Task) -> None:
        """Take a task."""
        self._queue.append(task)

    def ended(self, task: Task, placement: Placement, started_at_us: int, now_us: int) -> None:
        """Learn nothing, as the originals."""

    def choose(self, room: Room, now_us: int) -> list[Choice]:
        """Return what starts now."""
        chosen: list[Choice] = []
        left: list[Task] = []
        misfits: set[Request] = set()
        for task in self._queue:
            request = Request.of(task.job)
            placement = None if request in misfits else self.where(task, request, room, now_us)
            if placement is None:
                misfits.add(request)
                left.append(task)
            else:
                room.take(task.job.needs, placement)
                chosen.append((task, placement))
        self._queue = left
        return chosen


def first_fit() -> InOrder:
    """Return the one that takes the first host that can."""

    def where(task: Task, request: Request, room: Room, now_us: int) -> Placement | None:
        return next(filter(None, (find_on(request, host) for host in room.hosts.values())), None)

    return InOrder("first-fit", where)


def round_robin() -> InOrder:
    """Return the one that goes on from the host after the last one."""
    last = -1

    def where(task: Task, request: Request, room: Room, now_us: int) -> Placement | None:
        nonlocal last
        hosts = sorted(room.hosts.values(), key=lambda host: host.host.host_id)
        for step in range(1, len(hosts) + 1):
            index = (last + step) % len(hosts)
            placement = find_on(request, hosts[index])
            if placement is not None:
                last = index
                return placement
        return None

    return InOrder("round-robin", where)


def rts(tick_us: int = 0) -> InOrder:
    """Return document 002's scheduler as its source has it, with the parameters that it always runs with.

    E = tau * (1 + t1*C/Cav + t2*M/Mav + t3*G/Gav + t4*L), R = alpha * max(0, E - k*tau) + beta*L, least R wins; t is
    0.1, 0.1, 0.3, 0.2, alpha 10, beta 1, k 2 whatever the task says, L from 0 to 100, tau by class and never learned.
    """

    def share(need: int, available: int) -> float:
        return need / available if available else float(need > 0)

    def risk(task: Task, host: HostRoom) -> float:
        needs, total = task.job.needs, host.host
        tau = CLASS_SECONDS[job_class(task.job.tag, task.job.needs)]
        cores, memory, gpus = total.millicores / 1000, total.memory_mib / 1024, float(len(total.gpus))
        busy_cores = 100 * (1 - host.millicores / total.millicores)
        busy_memory = 100 * (1 - host.memory_mib / total.memory_mib)
        busy_gpus = 100 * (1 - host.milli_gpu / (WHOLE_MILLI_GPU * gpus)) if gpus else 0.0
        load = (cores * busy_cores + memory / 10 * busy_memory + 2 * gpus * busy_gpus) / (
            cores + memory / 10 + 2 * gpus
        )
        expected = tau * (
            1
            + 0.1 * share(needs.millicores, host.millicores)
            + 0.1 * share(needs.memory_mib, host.memory_mib)
            + 0.3 * share(needs.milli_gpu, host.milli_gpu)
            + 0.2 * load
        )
        return 10 * max(0.0, expected - 2 * tau) + load

    def where(task: Task, request: Request, room: Room, now_us: int) -> Placement | None:
        feasible = [
            (risk(task, host), placement)
            for host in room.hosts.values()
            if (placement := find_on(request, host)) is not None
        ]
        return min(feasible, key=lambda one: one[0])[1] if feasible else None

    return InOrder("RTS, every 5 s" if tick_us else "RTS", where, tick_us)


class Ours:
    """The scheduler of this repository; it learns runtimes from what it saw end, and knows no others."""

    tick_us = 0

    def __init__(self, *, is_fair: bool = True) -> None:
        """Start knowing nothing.

        :param is_fair: whether it minds who had how much; the others never do.
        """
        self.name = "ours" if is_fair else "ours, unfair"
        self._is_fair = is_fair
        self._queue = Queue()
        self._runtimes = Runtimes()
        self._share = FairShare()
        self._tasks: dict[str, Task] = {}
        self._running: dict[str, Occupied] = {}

    def submitted(self, task: Task) -> None:
        """Take a task."""
        expected = self._runtimes.expected(task.job)
        at = task.submitted_at_us
        self._tasks[task.job.job_id] = task
        waiting = Waiting.of(
            task.job,
            submitted_at_unix_us=at,
            expected_seconds=expected.end_after_seconds(task.job),
            deadline_unix_us=expected.deadline_unix_us(task.job, submitted_at_unix_us=at),
        )
        self._queue.add(waiting if self._is_fair else evolve(waiting, owner=""))

    def ended(self, task: Task, placement: Placement, started_at_us: int, now_us: int) -> None:
        """Learn how long it took."""
        del self._running[task.job.job_id]
        seconds = (now_us - started_at_us) / 1e6
        self._runtimes.learn(task.job, seconds, now_unix_us=now_us, host_id=placement.host_id)
        self._share.charge(task.job.owner, task.job.needs, seconds, now_unix_us=now_us)

    def choose(self, room: Room, now_us: int) -> list[Choice]:
        """Return what starts now."""
        decision = decide(
            self._queue,
            list(self._running.values()),
            [_snapshot(host) for host in room.hosts.values()],
            used=self._share.now(now_us),
            quotas=Quotas(),
            now_unix_us=now_us,
        )
        chosen = []
        for start in decision.starts:
            task = self._tasks.pop(start.job_id)
            self._queue.remove(start.job_id)
            seconds = self._runtimes.expected(task.job).end_after_seconds(task.job)
            self._running[start.job_id] = Occupied(
                attempt_id=f"{start.job_id}.1",
                job_id=start.job_id,
                owner=task.job.owner if self._is_fair else "",
                needs=task.job.needs,
                placement=start.placement,
                priority=task.job.priority,
                preemptible=False,
                assigned_at_unix_us=now_us,
                expected_end_unix_us=None if seconds is None else now_us + int(seconds * 1e6),
            )
            room.take(task.job.needs, start.placement)
            chosen.append((task, start.placement))
        return chosen


def _snapshot(left: HostRoom) -> HostCapacity:
    host = left.host
    return evolve(
        host,
        allocated_millicores=host.millicores - left.millicores,
        allocated_memory_mib=host.memory_mib - left.memory_mib,
        allocated_storage_mib=host.storage_mib - left.storage_mib,
        gpus=tuple(
            evolve(gpu, free_milli_gpu=part.milli_gpu, free_vram_mib=part.vram_mib)
            for gpu, part in ((gpu, left.gpus[gpu.gpu_id]) for gpu in host.gpus)
        ),
    )


@frozen(kw_only=True)
class Outcome:
    """What came of a trace."""

    sla_hit_rate: float
    """Share of the tasks with a deadline that ended by it."""
    wait_seconds_mean: float
    wait_seconds_p95: float
    wait_seconds_max: float
    core_utilisation: float
    """Share of all cores that tasks held, from the first submission to the last end."""
    gpu_utilisation: float
    core_utilisation_meanwhile: float
    """The same to the last submission: those who put large tasks off have less of it."""
    gpu_utilisation_meanwhile: float
    last_end_seconds: float


_ENDS: Final = 0
_COMES: Final = 1
_TICKS: Final = 2


def simulate(tasks: Sequence[Task], hosts: Sequence[HostCapacity], policy: Policy) -> Outcome:
    """Run a trace to its end; raise `AssertionError` when a host is over-allocated or a task never runs."""
    room = Room(hosts)
    events: list[tuple[int, int, int]] = [(task.submitted_at_us, _COMES, index) for index, task in enumerate(tasks)]
    if policy.tick_us:
        events.append((0, _TICKS, 0))
    heapq.heapify(events)
    numbers = {task.job.job_id: index for index, task in enumerate(tasks)}
    started: dict[int, tuple[int, Placement]] = {}
    ended = 0
    while events:
        now_us, kind, index = heapq.heappop(events)
        if kind == _COMES:
            policy.submitted(tasks[index])
        elif kind == _ENDS:
            start_us, placement = started[index]
            room.give_back(tasks[index].job.needs, placement)
            policy.ended(tasks[index], placement, start_us, now_us)
            ended += 1
        elif ended < len(tasks):
            heapq.heappush(events, (now_us + policy.tick_us, _TICKS, 0))
        if (events and events[0][0] == now_us and events[0][1] != _TICKS) or (policy.tick_us and kind != _TICKS):
            continue
        for task, placement in policy.choose(room, now_us):
            assert all(_is_sound(host) for host in room.hosts.values())
            number = numbers[task.job.job_id]
            assert number not in started
            started[number] = (now_us, placement)
            heapq.heappush(events, (now_us + task.runtime_us, _ENDS, number))
    assert len(started) == len(tasks), "some task never ran"
    return _outcome(tasks, hosts, [started[index][0] for index in range(len(tasks))])


def _is_sound(host: HostRoom) -> bool:
    return min(host.millicores, host.memory_mib, host.storage_mib) >= 0 and all(
        gpu.milli_gpu >= 0 and gpu.vram_mib >= 0 for gpu in host.gpus.values()
    )


def _outcome(tasks: Sequence[Task], hosts: Sequence[HostCapacity], starts_us: Sequence[int]) -> Outcome:
    waits = sorted((start_us - task.submitted_at_us) / 1e6 for task, start_us in zip(tasks, starts_us, strict=True))
    ends_us = [start_us + task.runtime_us for task, start_us in zip(tasks, starts_us, strict=True)]
    due = [
        (task.deadline_us, end_us) for task, end_us in zip(tasks, ends_us, strict=True) if task.deadline_us is not None
    ]

    def held(window_us: int, amount: Callable[[Task], int], total: int) -> float:
        within = (
            amount(task) * max(0, min(end_us, window_us) - start_us)
            for task, start_us, end_us in zip(tasks, starts_us, ends_us, strict=True)
        )
        return sum(within) / window_us / total

    cores = (lambda task: task.job.needs.millicores), sum(host.millicores for host in hosts)
    gpus = (lambda task: task.job.needs.milli_gpu), sum(WHOLE_MILLI_GPU * len(host.gpus) for host in hosts)
    last_end_us, last_submission_us = max(ends_us), tasks[-1].submitted_at_us
    return Outcome(
        sla_hit_rate=sum(end_us <= deadline_us for deadline_us, end_us in due) / len(due),
        wait_seconds_mean=sum(waits) / len(waits),
        wait_seconds_p95=waits[int(len(waits) * 0.95)],
        wait_seconds_max=waits[-1],
        core_utilisation=held(last_end_us, *cores),
        gpu_utilisation=held(last_end_us, *gpus),
        core_utilisation_meanwhile=held(last_submission_us, *cores),
        gpu_utilisation_meanwhile=held(last_submission_us, *gpus),
        last_end_seconds=max(ends_us) / 1e6,
    )


def policies() -> list[Policy]:
    """Return fresh ones of all that are compared."""
    return [round_robin(), first_fit(), rts(), rts(tick_us=5_000_000), Ours(), Ours(is_fair=False)]
