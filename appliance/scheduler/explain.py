"""Why a job waits, in words for the person who waits for it."""

from collections.abc import Mapping, Sequence

from attrs import frozen

from appliance.scheduler.capacity import HostCapacity
from appliance.scheduler.placement import Reason
from appliance.scheduler.queue import Decision, Occupied, Queue
from appliance.scheduler.quotas import Quotas


@frozen(kw_only=True)
class Explanation:
    """Why a pending job does not run yet."""

    sentence: str
    code: str
    """``time``, ``quota``, ``array``, ``impossible``, ``resources``, ``order``, ``reserved`` or ``starting``.

    The service adds ``dependency`` for jobs that are not in the queue yet.
    """
    reasons: tuple[Reason, ...] = ()
    """Per host, where it does not fit."""
    position: int | None = None
    """Counted from 1 in the order of the queue; ``None`` for a job that waits for its time or its array."""
    estimated_start_unix_us: int | None = None
    """When it will start if nothing ends early; ``None`` when nobody knows."""


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
    raise NotImplementedError
