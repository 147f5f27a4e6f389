"""What the first job that cannot start is promised, and what may pass it without breaking the promise."""

from collections.abc import Iterable, Sequence
from typing import Final

from attrs import define, field, frozen

from appliance.jobs import Needs, Placement
from appliance.scheduler.capacity import HostRoom, Room
from appliance.scheduler.placement import Request, find, find_on

STOPPING_US: Final = 10_000_000
"""How long an attempt that was asked to end is expected to take for that: the usual grace."""
OVERDUE_LEAST_US: Final = 1_000_000
STRICT_AFTER_US: Final = 1_800_000_000
"""A job that waited for so long trusts no expected end of those that would pass it any more."""


@frozen(kw_only=True)
class Occupied:
    """An attempt that holds resources: starting, running or stopping."""

    attempt_id: str
    job_id: str
    owner: str
    needs: Needs
    placement: Placement
    priority: int
    preemptible: bool
    assigned_at_unix_us: int
    expected_end_unix_us: int | None
    """``None`` when nobody knows; reservations then count on no end of it."""
    is_stopping: bool = False
    """Was asked to end: what it holds is free within its grace."""
    array_id: str = ""

    def end_unix_us(self, now_unix_us: int) -> int | None:
        """Return when it will end, as far as one can say now; always later than now."""
        if self.is_stopping:
            return now_unix_us + STOPPING_US
        if self.expected_end_unix_us is None or self.expected_end_unix_us > now_unix_us:
            return self.expected_end_unix_us
        # The longer it is over its time, the less one knows: as long again.
        return now_unix_us + max(OVERDUE_LEAST_US, now_unix_us - self.expected_end_unix_us)


@define(eq=False)
class Promise:
    """A reservation, and the room there will be when it is due."""

    job_id: str
    request: Request
    placement: Placement
    starts_at_unix_us: int | None
    """``None``: nobody knows, for it takes the end of something without a known end."""
    is_strict: bool
    """Whether what passes it must leave the room for it, however soon it is expected to end."""
    room: Room
    """What is free when it is due, what passes it meanwhile taken off."""
    _passed: tuple[Needs, Placement] | None = field(default=None, init=False)

    def lets_pass(self, request: Request, placement: Placement, ends_at_unix_us: int | None) -> bool:
        """Return whether a job that starts now would not delay it; if so, count it as started.

        :param ends_at_unix_us: when it is expected to end; ``None`` when nobody knows.
        """
        self._passed = None
        if placement.host_id != self.placement.host_id:
            return True
        # Without a known time, what ends some day does no harm: the wait is for what has no known end.
        due = self.starts_at_unix_us
        if not self.is_strict and ends_at_unix_us is not None and (due is None or ends_at_unix_us <= due):
            return True
        self.room.take(request.needs, placement)
        if find_on(self.request, self._host) is not None:
            self._passed = (request.needs, placement)
            return True
        self.room.give_back(request.needs, placement)
        return False

    def forget_passed(self) -> None:
        """Do not count the last job that was let pass: something else kept it from starting."""
        if self._passed is not None:
            self.room.give_back(*self._passed)
            self._passed = None

    @property
    def _host(self) -> HostRoom:
        return self.room.hosts[self.placement.host_id]


Ending = tuple[int | None, str, Needs, Placement]
"""When an attempt ends, its id, and what it holds."""


def promise(job_id: str, request: Request, room: Room, ending: Iterable[Ending], *, strict: bool) -> Promise | None:
    """Return the earliest time and place for a job that does not fit now; ``None`` when it never fits.

    :param room: what is free now; the promise keeps it.
    :param ending: all attempts that hold something.
    """
    known = sorted(ending, key=lambda end: (end[0] is None, end[0] or 0, end[1]))
    for ends_at_unix_us, _, needs, placement in known:
        room.give_back(needs, placement)
        if ends_at_unix_us is None:
            continue  # it is sorted last: the rest have no known end either
        host = room.hosts.get(placement.host_id)
        if host is None or request.host_id not in ("", placement.host_id):
            continue
        found = find_on(request, host)
        if found is not None:
            return Promise(job_id, request, found, ends_at_unix_us, strict, room)
    found = find(request, room)
    return None if found is None else Promise(job_id, request, found, None, strict, room)


def victims(request: Request, priority: int, room: Room, running: Sequence[Occupied]) -> tuple[str, ...]:
    """Return the attempts to stop so that a job of this priority fits; empty when that does not help, or is not needed.

    Only preemptible attempts of lower priority, all on one host: as few as possible, then of the lowest priorities,
    then those that started last.

    :param room: what is free now; left as it was.
    """
    for one in running:
        if one.is_stopping:
            room.give_back(one.needs, one.placement)
    chosen: list[tuple[tuple[int, int, int], list[Occupied]]] = []
    if find(request, room) is None:
        for host_id, host in room.hosts.items():
            if request.host_id in ("", host_id):
                lower = [one for one in running if _may_be_stopped(one, host_id, priority)]
                chosen.extend(_enough(request, host, room, lower))
    for one in running:
        if one.is_stopping:
            room.take(one.needs, one.placement)
    if not chosen:
        return ()
    _, least = min(chosen, key=lambda choice: choice[0])
    return tuple(one.attempt_id for one in least)


def _may_be_stopped(one: Occupied, host_id: str, priority: int) -> bool:
    return one.preemptible and not one.is_stopping and one.priority < priority and one.placement.host_id == host_id


def _enough(
    request: Request, host: HostRoom, room: Room, lower: list[Occupied]
) -> list[tuple[tuple[int, int, int], list[Occupied]]]:
    """Return up to two sets of attempts on a host whose end is enough, each with how bad it is."""
    by_priority = sorted(lower, key=lambda one: (one.priority, -one.assigned_at_unix_us, one.attempt_id))
    by_size = sorted(by_priority, key=lambda one: (-one.needs.milli_gpu, -one.needs.millicores, -one.needs.memory_mib))
    sets = []
    for order in (by_priority, by_size):
        stopped: list[Occupied] = []
        for one in order:
            room.give_back(one.needs, one.placement)
            stopped.append(one)
            if find_on(request, host) is not None:
                break
        if find_on(request, host) is not None:
            # Some of the first may not have been needed in the end; spare the highest priorities first.
            for one in sorted(stopped, key=lambda one: (-one.priority, one.assigned_at_unix_us, one.attempt_id)):
                room.take(one.needs, one.placement)
                if find_on(request, host) is not None:
                    stopped.remove(one)
                else:
                    room.give_back(one.needs, one.placement)
            priorities = [one.priority for one in stopped]
            sets.append(((len(stopped), max(priorities), sum(priorities)), stopped))
        for one in stopped:
            room.take(one.needs, one.placement)
    return sets
