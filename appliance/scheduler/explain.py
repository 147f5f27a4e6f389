"""Why a job waits, in words for the person who waits for it."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from attrs import frozen

from appliance.scheduler.capacity import HostCapacity, Room
from appliance.scheduler.placement import Reason, Refusal, find, refusals
from appliance.scheduler.queue import (
    Decision,
    Occupied,
    Queue,
    Reservation,
    Waiting,
    in_use_by_owner,
    order,
    owner_bands,
)
from appliance.scheduler.quotas import InUse, Quotas, stops


@frozen(kw_only=True)
class Explanation:
    """Why a pending job does not run yet."""

    sentence: str
    code: str
    """``time``, ``quota``, ``array``, ``impossible``, ``resources``, ``reserved`` or ``starting``.

    The service adds ``dependency`` for jobs that are not in the queue yet.
    """
    reasons: tuple[Reason, ...] = ()
    """Per host, where it does not fit."""
    position: int | None = None
    """Counted from 1 in the order of the queue; ``None`` for a job that waits for its time or its array."""
    estimated_start_unix_us: int | None = None
    """By the usual runtimes of what runs; known of a job that waits for its time or has the reservation."""


def explain(
    job_id: str,
    queue: Queue,
    running: Sequence[Occupied],
    hosts: Sequence[HostCapacity],
    *,
    used: Mapping[str, float],
    quotas: Quotas,
    now_unix_us: int,
    last: Decision | None = None,
) -> Explanation:
    """Return why a job of the queue waits.

    :param last: the newest decision, for its reservation.
    :raises KeyError: it is not in the queue.
    """
    waiting = queue[job_id]
    request = waiting.request
    where = queue.wait_of(waiting)
    room = Room(hosts)
    reasons = () if find(request, room) is not None else refusals(request, hosts, room)
    if where == "time":
        seconds = max(0.0, (waiting.eligible_at_unix_us - now_unix_us) / 1e6)
        return Explanation(
            code="time",
            sentence=f"It waits for its time, in {seconds:.0f} s.",
            reasons=reasons,
            estimated_start_unix_us=waiting.eligible_at_unix_us,
        )
    if where == "array":
        most = waiting.array_running_max
        sentence = f"Of its array {most} job{'s' if most != 1 else ''} may run at once, and others of it come first."
        return Explanation(code="array", sentence=sentence, reasons=reasons)
    if where == "impossible":
        for_good = Refusal(reasons=reasons).is_for_good
        sentence = (
            "No host has what it needs, not even when all that runs has ended."
            if for_good
            else "No host can take it until something changes that no job's end will: see the reasons."
        )
        return Explanation(code="impossible", sentence=sentence, reasons=reasons)
    ahead = jobs_ahead(waiting, queue, owner_bands(queue, running, used, now_unix_us))
    in_use = in_use_by_owner(running).get(waiting.owner, InUse())
    quota = stops(quotas.of(waiting.owner), in_use, request.needs)
    if quota:
        return Explanation(code="quota", sentence=f"Its owner's quota: {quota}.", reasons=reasons, position=ahead + 1)
    promised = None if last is None else last.reservation
    if promised is not None and promised.job_id == job_id:
        return Explanation(
            code="resources",
            sentence=_promised_in_words(promised, hosts, now_unix_us),
            reasons=reasons,
            position=ahead + 1,
            estimated_start_unix_us=promised.starts_at_unix_us,
        )
    sentence, code = _behind(ahead, bool(reasons), promised)
    return Explanation(code=code, sentence=sentence, reasons=reasons, position=ahead + 1)


def _promised_in_words(promised: Reservation, hosts: Sequence[HostCapacity], now_unix_us: int) -> str:
    names = {host.host_id: host.hostname for host in hosts}
    name = names.get(promised.placement.host_id) or promised.placement.host_id
    where = f"It is the first that does not fit; a place on host {name} is kept for it"
    if promised.starts_at_unix_us is None:
        return f"{where}, from when jobs have ended whose end nobody knows."
    seconds = max(0.0, (promised.starts_at_unix_us - now_unix_us) / 1e6)
    return f"{where}, by the usual runtimes of what runs in {seconds:.0f} s."


def _behind(ahead: int, is_short: bool, promised: Reservation | None) -> tuple[str, str]:
    others = f"{ahead} job{'s are' if ahead != 1 else ' is'} before it"
    if is_short:
        return f"Nothing that it fits in is free, and {others}.", "resources"
    if promised is not None:
        return f"It would fit, but it would delay job {promised.job_id}, which waits longer for its place.", "reserved"
    return f"It starts as soon as the queue comes to it: {others}.", "starting"


def jobs_ahead(waiting: Waiting, queue: Queue, bands: Mapping[str, int]) -> int:
    """Return how many jobs stand in line before one that stands in line."""
    mine = order(waiting.line, queue.place_of(waiting), bands)
    ahead = 0
    for key, line in queue.lines.items():
        standing = (-key[0], bands[key[1]])
        if standing == mine[:2]:
            ahead += bisect_left(line, mine[2:])
        elif standing < mine[:2]:
            ahead += len(line)
    return ahead
