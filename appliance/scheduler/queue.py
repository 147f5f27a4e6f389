"""Which waiting jobs start now, in order of priority, fair share, deadline and submission, and where.

The order is one for all; a job that does not fit now is passed by others (backfill), but the first of those gets a
**reservation**: the earliest time at which it will fit by the expected ends of what runs, and no job passes it that
would still hold then what it needs. Higher priorities go first for as long as there are any; among equal ones no job
waits for ever.
"""

import heapq
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

from attrs import define, evolve, field, frozen

from appliance.jobs import Placement
from appliance.scheduler.capacity import HostCapacity, Room
from appliance.scheduler.fair_share import bands, weight
from appliance.scheduler.lines import Queue, Shape
from appliance.scheduler.placement import find
from appliance.scheduler.quotas import InUse, Quotas, stops
from appliance.scheduler.reservation import STRICT_AFTER_US, Ending, Occupied, Promise, promise, victims
from appliance.scheduler.waiting import LineKey, Place, Waiting

__all__ = ["Decision", "Occupied", "Queue", "Reservation", "Start", "Waiting", "decide"]

STARTS_MAX: Final = 256
"""Jobs that one decision starts; the next goes on."""
AGED_US: Final = 300_000_000
"""A job that waited for longer may be the oldest that gets a place of its own kept, whatever its owner has had."""
AGED_LOOKED_AT_MAX: Final = 64
ROWS_MAX: Final = 1000
"""Rows that one decision tries beside the first of each line; those of the smallest jobs, if more would seem to fit."""

Order = tuple[int, int, int, int, str]
"""Priority (negative), band of the owner, deadline, submission, job id: smaller goes first."""


@frozen(kw_only=True)
class Start:
    """A job that starts now."""

    job_id: str
    placement: Placement


@frozen(kw_only=True)
class Reservation:
    """What the first job that cannot start is promised."""

    job_id: str
    placement: Placement
    """Where; the GPUs may be others in the end."""
    starts_at_unix_us: int | None
    """When, by the expected ends of what runs; ``None`` when those are not known."""


@frozen(kw_only=True)
class Decision:
    """What to do now. Carry all of it out, tell the queue, and ask again at `wake_at_unix_us` or at a change."""

    starts: tuple[Start, ...] = ()
    """In order."""
    preempt: tuple[str, ...] = ()
    """Attempts to stop and queue again, for `reservation`."""
    reservation: Reservation | None = None
    wake_at_unix_us: int | None = None
    """When a job becomes eligible by time; ``None`` when none will."""
    is_complete: bool = True
    """``False`` when it stopped at its bound on starts: carry it out and ask again at once."""


def decide(
    queue: Queue,
    running: Sequence[Occupied],
    hosts: Sequence[HostCapacity],
    *,
    used: Mapping[str, float],
    quotas: Quotas,
    now_unix_us: int,
) -> Decision:
    """Return what starts now. The same state gives the same decision; the queue keeps all its jobs until told.

    :param running: all attempts that hold something; `hosts` counts them as allocated already.
    :param used: `FairShare.now`.
    """
    wake_at_unix_us = queue.wake(now_unix_us)
    if not len(queue):
        return Decision()
    queue.count_arrays(one.array_id for one in running if one.array_id)
    everything = Room(hosts)
    for one in running:
        everything.give_back(one.needs, one.placement)
    queue.sort_out(everything)
    # Last of these, for all that stands in line must be in the order of this moment.
    queue.move_back_the_late(now_unix_us)
    look = _Look(
        queue=queue,
        running=running,
        quotas=quotas,
        now_unix_us=now_unix_us,
        bands=owner_bands(queue, running, used, now_unix_us),
        room=Room(hosts),
    )
    look.run()
    return evolve(look.decision(), wake_at_unix_us=wake_at_unix_us)


def owner_bands(
    queue: Queue, running: Sequence[Occupied], used: Mapping[str, float], now_unix_us: int
) -> Mapping[str, int]:
    """Return the band of every owner that has jobs in line or running, counting what these have used so far."""
    so_far = dict(used)
    for one in running:
        seconds = max(0, now_unix_us - one.assigned_at_unix_us) / 1e6
        so_far[one.owner] = so_far.get(one.owner, 0.0) + weight(one.needs) * seconds
    return bands(so_far, {owner for _, owner in queue.lines} | {one.owner for one in running})


def in_use_by_owner(running: Sequence[Occupied]) -> dict[str, InUse]:
    """Return what each owner's attempts hold."""
    in_use: dict[str, InUse] = {}
    for one in running:
        in_use.setdefault(one.owner, InUse()).add(one.needs)
    return in_use


def order(line: LineKey, place: Place, owner_bands: Mapping[str, int]) -> Order:
    """Return where a job stands among all that stand in line."""
    return (-line[0], owner_bands[line[1]], place[0], place[1], place[2])


@define(kw_only=True, eq=False)
class _Look:
    """One look at the queue."""

    queue: Queue
    running: Sequence[Occupied]
    quotas: Quotas
    now_unix_us: int
    bands: Mapping[str, int]
    room: Room
    _in_use: dict[str, InUse] = field(init=False)
    _starts: dict[str, Start] = field(factory=dict, init=False)
    _ending: list[Ending] = field(factory=list, init=False)
    """Of the jobs that start now."""
    _misfits: set[int] = field(factory=set, init=False)
    """Numbers of the shapes that found no place; room only gets less, so they need not be tried again."""
    _heads: list[tuple[Order, LineKey, int]] = field(factory=list, init=False)
    """The first of each line that was not dealt with, as a heap."""
    _rows: list[tuple[Order, LineKey, int, Shape]] = field(factory=list, init=False)
    """The first of each row that may fit and was not dealt with, as a heap."""
    _promises: list[Promise] = field(factory=list, init=False)
    """For the job that waits longest, if it waits for very long, and for the first in order that cannot start."""
    _first: Reservation | None = field(default=None, init=False)
    _preempt: tuple[str, ...] = field(default=(), init=False)

    def run(self) -> None:
        """Start what can start."""
        self._in_use = in_use_by_owner(self.running)
        self._heads = [(order(key, line[0], self.bands), key, 0) for key, line in self.queue.lines.items()]
        heapq.heapify(self._heads)
        for shape in self.queue.fitting(self.room.most):
            self._rows.extend((order(key, row[0], self.bands), key, 0, shape) for key, row in shape.rows.items())
            if len(self._rows) >= ROWS_MAX:
                break
        heapq.heapify(self._rows)
        self._remember_the_oldest()
        while self._rows and not self._is_full:
            at, key, index, shape = heapq.heappop(self._rows)
            if self._first is None:
                self._deal_with_those_before(at)
            row = shape.rows[key]
            if shape.number not in self._misfits and self._try(row[index][3], shape) and index + 1 < len(row):
                heapq.heappush(self._rows, (order(key, row[index + 1], self.bands), key, index + 1, shape))
        if self._first is None and not self._is_full:
            self._deal_with_those_before(None)

    def decision(self) -> Decision:
        """Return what came out."""
        return Decision(
            starts=tuple(self._starts.values()),
            preempt=self._preempt,
            reservation=self._first,
            is_complete=not self._is_full,
        )

    @property
    def _is_full(self) -> bool:
        return len(self._starts) >= STARTS_MAX

    def _deal_with_those_before(self, at: Order | None) -> None:
        """Go down the order until ``at``, or a job that cannot start and gets the reservation."""
        while self._heads and not self._is_full and (at is None or self._heads[0][0] < at):
            _, key, index = self._heads[0]
            line = self.queue.lines[key]
            waiting = line[index][3]
            if waiting.job_id not in self._starts:
                if self._stopped_by_quota(waiting):
                    # Nor is a place reserved for those of the owner behind it.
                    heapq.heappop(self._heads)
                    continue
                shape = self.queue.shape_of(waiting)
                if (shape.number in self._misfits or not self._try(waiting, shape)) and self._reserve(waiting):
                    return
            if index + 1 < len(line):
                following = (order(key, line[index + 1], self.bands), key, index + 1)
                heapq.heapreplace(self._heads, following)
            else:
                heapq.heappop(self._heads)

    def _try(self, waiting: Waiting, shape: Shape) -> bool:
        """Start a job if it may; ``False`` when no other of its row needs to be tried."""
        if waiting.job_id in self._starts:
            return True
        if self._stopped_by_quota(waiting):
            return False
        placement = self._find(shape)
        if placement is None:
            self._misfits.add(shape.number)
            return False
        needs = waiting.request.needs
        self.room.take(needs, placement)
        self._starts[waiting.job_id] = Start(job_id=waiting.job_id, placement=placement)
        self._ending.append((self._end_of(shape), waiting.job_id, needs, placement))
        self._in_use.setdefault(waiting.owner, InUse()).add(needs)
        return True

    def _find(self, shape: Shape) -> Placement | None:
        """Return a place that breaks no promise."""
        placement = find(shape.request, self.room)
        if placement is None or self._all_let_pass(shape, placement):
            return placement
        # Promises are for one or two hosts; the best of the others may be free for all.
        elsewhere = find(shape.request, self.room, without_host_id=placement.host_id)
        return elsewhere if elsewhere is not None and self._all_let_pass(shape, elsewhere) else None

    def _all_let_pass(self, shape: Shape, placement: Placement) -> bool:
        """Return whether a job may start there, and count it against each promise if so."""
        ends_at_unix_us = self._end_of(shape)
        passed: list[Promise] = []
        for promised in self._promises:
            if not promised.lets_pass(shape.request, placement, ends_at_unix_us):
                for earlier in passed:
                    earlier.forget_passed()
                return False
            passed.append(promised)
        return True

    def _end_of(self, shape: Shape) -> int | None:
        return None if shape.lasts_seconds is None else self.now_unix_us + int(shape.lasts_seconds * 1e6)

    def _stopped_by_quota(self, waiting: Waiting) -> bool:
        quota = self.quotas.of(waiting.owner)
        return bool(stops(quota, self._in_use.get(waiting.owner) or InUse(), waiting.request.needs))

    def _remember_the_oldest(self) -> None:
        """Promise a place to the job that waits longest, whoever has had how much: so no job waits for ever."""
        for waiting in islice(self.queue.oldest(self.now_unix_us - AGED_US), AGED_LOOKED_AT_MAX):
            shape = self.queue.shape_of(waiting)
            if find(shape.request, self.room) is None and not self._stopped_by_quota(waiting):
                promised = self._promise(waiting, frozenset())
                if promised is not None:
                    self._promises.append(promised)
                    return

    def _reserve(self, waiting: Waiting) -> bool:
        """Promise the first a place; ``False`` when there will be none, as long as nothing but attempts end."""
        preempt = victims(waiting.request, waiting.priority, self.room, self.running)
        promised = self._promise(waiting, frozenset(preempt))
        if promised is None:
            return False
        self._preempt = preempt
        if not any(other.job_id == waiting.job_id for other in self._promises):
            self._promises.append(promised)
        self._first = Reservation(
            job_id=waiting.job_id, placement=promised.placement, starts_at_unix_us=promised.starts_at_unix_us
        )
        return True

    def _promise(self, waiting: Waiting, stopped: frozenset[str]) -> Promise | None:
        ending = list(self._ending)
        for one in self.running:
            will = evolve(one, is_stopping=True) if one.attempt_id in stopped else one
            ending.append((will.end_unix_us(self.now_unix_us), one.attempt_id, one.needs, one.placement))
        waited_us = self.now_unix_us - max(waiting.submitted_at_unix_us, waiting.eligible_at_unix_us)
        return promise(waiting.job_id, waiting.request, self.room.copy(), ending, strict=waited_us > STRICT_AFTER_US)
