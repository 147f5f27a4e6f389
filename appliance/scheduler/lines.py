"""All pending jobs, kept in order as they come and go, so that a decision sorts nothing.

A job that may start stands in two rows: the **line** of its owner and priority, which tells who is next, and the
**row** of those in the line that also have the same request and expected runtime. Where one of a row does not fit none
does, so a decision tries each such **shape** once, however many jobs have it.

Other jobs wait aside: those whose time has not come, those over the limit of their array, and those that would not
fit if everything that runs had ended.
"""

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from typing import Final

from attrs import define, field

from appliance.scheduler.capacity import Room
from appliance.scheduler.placement import Request, find
from appliance.scheduler.waiting import LineKey, Place, Waiting, rounded_up

LATE_PER_WAKE: Final = 100
"""Jobs that one look moves back because they are late; the next goes on."""


@define(eq=False)
class Shape:
    """What jobs have in common that fit in the same places for as long."""

    request: Request
    lasts_seconds: float | None
    number: int
    count: int = 0
    """How many such jobs there are, those that wait aside included."""
    is_possible: bool = True
    """Whether one would fit if everything that runs had ended."""
    rows: dict[LineKey, list[Place]] = field(factory=dict)
    aside: dict[str, Waiting] = field(factory=dict)
    """While it is not possible: its jobs, by id."""


@define(eq=False)
class _Array:
    """Jobs of an array of which only some may run at once."""

    running_max: int
    admitted: set[str] = field(factory=set)
    """Those that stand in line."""
    running: int = 0
    held: list[tuple[int, str]] = field(factory=list)
    """By submission: the others."""


class Queue:
    """All pending jobs, kept in order as they come and go."""

    def __init__(self) -> None:
        """Start empty."""
        self.lines: dict[LineKey, list[Place]] = {}
        self._jobs: dict[str, Waiting] = {}
        self._pending: dict[str, int] = {}
        self._shapes: dict[tuple[Request, float | None], Shape] = {}
        self._by_size: tuple[list[tuple[int, int, Shape]], ...] = ([], [], [], [])
        self._numbers = 0
        self._asleep: dict[str, Waiting] = {}
        self._wakes: list[tuple[int, str]] = []
        self._arrays: dict[str, _Array] = {}
        self._ages: dict[int, list[tuple[int, str]]] = {}
        self._late: set[str] = set()
        self._turns: list[tuple[int, str]] = []
        self._fits_in: object = None
        self._new_shapes: list[Shape] = []

    def __len__(self) -> int:
        """Return how many wait, those that wait aside included."""
        return len(self._jobs)

    def __contains__(self, job_id: str) -> bool:
        """Return whether a job waits here."""
        return job_id in self._jobs

    def __getitem__(self, job_id: str) -> Waiting:
        """Return a waiting job; raise `KeyError` when it does not wait here."""
        return self._jobs[job_id]

    def pending_of(self, owner: str) -> int:
        """Return how many jobs of an owner wait here."""
        return self._pending.get(owner, 0)

    def add(self, waiting: Waiting) -> None:
        """Let a job wait; one that does already waits as it is told now."""
        self.remove(waiting.job_id)
        self._jobs[waiting.job_id] = waiting
        self._pending[waiting.owner] = self._pending.get(waiting.owner, 0) + 1
        self._shape_of(waiting).count += 1
        if waiting.eligible_at_unix_us > 0:
            # Also when that is past: the next decision knows what time it is.
            self._asleep[waiting.job_id] = waiting
            self._set_alarm(waiting)
        else:
            self._admit(waiting)

    def extend(self, many: Iterable[Waiting]) -> None:
        """Let many wait; sorted as they will stand, which is the cheapest."""
        for waiting in sorted(many, key=lambda one: (one.deadline_unix_us, one.submitted_at_unix_us)):
            self.add(waiting)

    def remove(self, job_id: str) -> bool:
        """Forget a job that started, was cancelled or timed out; ``False`` when it does not wait here."""
        waiting = self._jobs.pop(job_id, None)
        if waiting is None:
            return False
        self._pending[waiting.owner] -= 1
        if not self._pending[waiting.owner]:
            del self._pending[waiting.owner]
        shape = self._shape_of(waiting)
        if self._asleep.pop(job_id, None) is None and not self._leave_array(waiting):
            self._leave_line(waiting, shape)
        self._late.discard(job_id)
        shape.count -= 1
        if not shape.count:
            self._forget_shape(shape)
        return True

    def wake(self, now_unix_us: int) -> int | None:
        """Let those stand in line whose time has come; return when the next one's comes, ``None`` without any."""
        while self._wakes:
            at_unix_us, job_id = self._wakes[0]
            waiting = self._asleep.get(job_id)
            if waiting is not None and waiting.eligible_at_unix_us == at_unix_us:
                if at_unix_us > now_unix_us:
                    return at_unix_us
                del self._asleep[job_id]
                self._admit(waiting)
            heapq.heappop(self._wakes)
        return None

    def count_arrays(self, running: Iterable[str]) -> None:
        """Tell of which arrays attempts run, one array id for each; lets others of an array stand in line."""
        counts: dict[str, int] = {}
        for array_id in running:
            counts[array_id] = counts.get(array_id, 0) + 1
        for array_id, array in self._arrays.items():
            array.running = counts.get(array_id, 0)
            while array.held and len(array.admitted) + array.running < array.running_max:
                _, job_id = array.held.pop(0)
                array.admitted.add(job_id)
                self._stand(self._jobs[job_id])
        for array_id in [key for key, array in self._arrays.items() if not array.held and not array.admitted]:
            del self._arrays[array_id]

    def sort_out(self, everything: Room) -> None:
        """Set aside what would not fit if all that runs had ended, and let stand in line again what now would.

        :param everything: the room there would be then.
        """
        fits_in = everything.fingerprint
        judged = self._new_shapes if fits_in == self._fits_in else self._shapes.values()
        self._fits_in = fits_in
        for shape in judged:
            is_possible = find(shape.request, everything) is not None
            if is_possible and not shape.is_possible:
                shape.is_possible = True
                back, shape.aside = shape.aside, {}
                for waiting in back.values():
                    self._stand(waiting)
            elif shape.is_possible and not is_possible:
                standing = [place[3] for row in shape.rows.values() for place in row]
                for waiting in standing:
                    self._leave_line(waiting, shape)
                shape.is_possible = False
                shape.aside = {waiting.job_id: waiting for waiting in standing}
        self._new_shapes.clear()

    def move_back_the_late(self, now_unix_us: int) -> None:
        """Let those make way that cannot end by their deadline any more."""
        moved = 0
        while self._turns and self._turns[0][0] <= now_unix_us and moved < LATE_PER_WAKE:
            at_unix_us, job_id = heapq.heappop(self._turns)
            waiting = self._jobs.get(job_id)
            # Of a job that was removed, or added again in another way, the turn is left over.
            if waiting is None or job_id in self._late or waiting.late_at_unix_us != at_unix_us:
                continue
            shape = self.shape_of(waiting)
            stands = self.wait_of(waiting) == "line"
            if stands:
                self._exit(waiting, shape)
            self._late.add(job_id)
            if stands:
                self._enter(waiting, shape)
                moved += 1
        if len(self._turns) > 2 * len(self._jobs) + 1000:
            self._turns = [turn for turn in self._turns if turn[1] in self._jobs]
            heapq.heapify(self._turns)

    def place_of(self, waiting: Waiting) -> Place:
        """Return where a job stands in its line, or would."""
        return waiting.place(is_late=waiting.job_id in self._late)

    def oldest(self, before_unix_us: int) -> Iterator[Waiting]:
        """Yield those of the highest priority in line that were submitted before a time, the longest ago first."""
        if self._ages:
            for submitted_at_unix_us, job_id in self._ages[max(self._ages)]:
                if submitted_at_unix_us >= before_unix_us:
                    return
                yield self._jobs[job_id]

    def shape_of(self, waiting: Waiting) -> Shape:
        """Return the shape of a waiting job."""
        return self._shapes[waiting.request, rounded_up(waiting.expected_seconds)]

    def fitting(self, most: tuple[int, int, int, int]) -> Iterator[Shape]:
        """Yield the shapes that ask for no more than ``most`` of anything, those that ask for the least first.

        Sorted lists tell which of the four amounts rules out the most; by that one they come.

        :param most: millicores, memory, storage, thousandths of GPUs.
        """
        ends = [bisect_left(sizes, (amount + 1, -1)) for sizes, amount in zip(self._by_size, most, strict=True)]
        best = min(range(4), key=ends.__getitem__)
        for _, _, shape in self._by_size[best][: ends[best]]:
            if not shape.rows:
                continue
            if all(amount <= free for amount, free in zip(_amounts(shape.request), most, strict=True)):
                yield shape

    def wait_of(self, waiting: Waiting) -> str:
        """Return where a job waits: ``line``, ``time``, ``array`` or ``impossible``."""
        if waiting.job_id in self._asleep:
            return "time"
        array = self._arrays.get(waiting.array_id) if waiting.array_running_max else None
        if array is not None and waiting.job_id not in array.admitted:
            return "array"
        return "line" if self.shape_of(waiting).is_possible else "impossible"

    def _set_alarm(self, waiting: Waiting) -> None:
        heapq.heappush(self._wakes, (waiting.eligible_at_unix_us, waiting.job_id))
        if len(self._wakes) > 2 * len(self._asleep) + 1000:
            # Most are of jobs that were removed meanwhile.
            self._wakes = [(one.eligible_at_unix_us, one.job_id) for one in self._asleep.values()]
            heapq.heapify(self._wakes)

    def _shape_of(self, waiting: Waiting) -> Shape:
        key = (waiting.request, rounded_up(waiting.expected_seconds))
        shape = self._shapes.get(key)
        if shape is None:
            self._numbers += 1
            shape = self._shapes[key] = Shape(*key, self._numbers)
            for sizes, amount in zip(self._by_size, _amounts(waiting.request), strict=True):
                insort(sizes, (amount, shape.number, shape))
            self._new_shapes.append(shape)
        return shape

    def _forget_shape(self, shape: Shape) -> None:
        del self._shapes[shape.request, shape.lasts_seconds]
        for sizes, amount in zip(self._by_size, _amounts(shape.request), strict=True):
            del sizes[bisect_left(sizes, (amount, shape.number))]

    def _admit(self, waiting: Waiting) -> None:
        """Let a job stand in line, or wait for others of its array."""
        if waiting.array_id and waiting.array_running_max:
            array = self._arrays.get(waiting.array_id)
            if array is None:
                array = self._arrays[waiting.array_id] = _Array(waiting.array_running_max)
            # Until the next decision tells how many of it run, all wait.
            insort(array.held, (waiting.submitted_at_unix_us, waiting.job_id))
            return
        self._stand(waiting)

    def _leave_array(self, waiting: Waiting) -> bool:
        """Forget a job of an array; return whether it was held, and so stands in no line."""
        array = self._arrays.get(waiting.array_id) if waiting.array_running_max else None
        if array is None:
            return False
        if waiting.job_id in array.admitted:
            array.admitted.discard(waiting.job_id)
            return False
        del array.held[bisect_left(array.held, (waiting.submitted_at_unix_us, waiting.job_id))]
        return True

    def _stand(self, waiting: Waiting) -> None:
        shape = self._shape_of(waiting)
        if not shape.is_possible:
            shape.aside[waiting.job_id] = waiting
            return
        self._enter(waiting, shape)
        insort(self._ages.setdefault(waiting.priority, []), (waiting.submitted_at_unix_us, waiting.job_id))
        late_at_unix_us = waiting.late_at_unix_us
        if late_at_unix_us is not None and waiting.job_id not in self._late:
            heapq.heappush(self._turns, (late_at_unix_us, waiting.job_id))

    def _enter(self, waiting: Waiting, shape: Shape) -> None:
        place = self.place_of(waiting)
        insort(self.lines.setdefault(waiting.line, []), place)
        insort(shape.rows.setdefault(waiting.line, []), place)

    def _leave_line(self, waiting: Waiting, shape: Shape) -> None:
        if shape.aside.pop(waiting.job_id, None) is not None:
            return
        self._exit(waiting, shape)
        ages = self._ages[waiting.priority]
        del ages[bisect_left(ages, (waiting.submitted_at_unix_us, waiting.job_id))]
        if not ages:
            del self._ages[waiting.priority]

    def _exit(self, waiting: Waiting, shape: Shape) -> None:
        place = self.place_of(waiting)[:3]
        for rows in (self.lines, shape.rows):
            row = rows[waiting.line]
            del row[bisect_left(row, place)]
            if not row:
                del rows[waiting.line]


def _amounts(request: Request) -> tuple[int, int, int, int]:
    needs = request.needs
    return (needs.millicores, needs.memory_mib, needs.storage_mib, needs.milli_gpu)
