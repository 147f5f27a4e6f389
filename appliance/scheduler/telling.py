"""What is told of a job on the event bus, in words and as data."""

from collections.abc import Sequence
from typing import Any, Final, Self

from attrs import frozen

from appliance.engines import EngineStatus
from appliance.events import Event
from appliance.events.model import Subscription
from appliance.jobs import EndReason, JobState
from appliance.scheduler.records import JobRecord

CHANGED: Final = "task.changed"
"""Announced, and not stored, whenever anything about a job is new; its subject is the job's id."""
BAD_ENDS: Final = frozenset({EndReason.ENGINE_LOST, EndReason.HOST_LOST, EndReason.DISK_FULL})
"""Ends that are the host's fault and not the job's: whoever runs it should know."""


@frozen(kw_only=True)
class Told:
    """An event about a job, before it has its time."""

    kind: str
    words: str


STARTED: Final = Told(kind="task.started", words="has started")
REQUEUED: Final = Told(kind="task.requeued", words="waits for another attempt")
ENDS: Final = {
    JobState.COMPLETED: Told(kind="task.completed", words="has completed"),
    JobState.FAILED: Told(kind="task.failed", words="has failed"),
    JobState.CANCELLED: Told(kind="task.cancelled", words="was cancelled"),
}


def of_record(told: Told, record: JobRecord, *, at_unix_us: int) -> Event:
    """Return the event of what has happened to one job."""
    shows_image = record.reason == EndReason.IMAGE
    why = f": {record.message}" if record.message and told is not STARTED and not shows_image else ""
    level = "warning" if record.state == JobState.FAILED and record.reason in BAD_ENDS else "info"
    return Event(
        kind=told.kind,
        message=f"{_named(record)} {told.words}{why}"[:2000],
        level=level,
        subject=record.job_id,
        data=_data(record),
        at_unix_us=at_unix_us,
    )


def of_submission(records: Sequence[JobRecord], *, who: str, at_unix_us: int) -> Event:
    """Return the one event of what was submitted together."""
    first = records[0]
    more = f" and {len(records) - 1} more" if len(records) > 1 else ""
    by = f" by {who}" if who else ""
    data = _data(first) | {"count": len(records), "array_id": first.job.array_id, "submitted_by": who[:200]}
    return Event(
        kind="task.submitted",
        message=f"{_named(first)}{more} submitted{by}"[:2000],
        subject=first.job_id,
        data=data,
        at_unix_us=at_unix_us,
    )


def how_it_is(record: JobRecord, progress: str) -> str:
    """Say in a sentence how a job is that does not wait.

    :param progress: what is being done to start it, in words.
    """
    if record.state.is_final:
        return f"It is {record.state}{f': {record.message}' if record.message else ''}."
    if progress:
        return f"It is {record.state}: {progress}"
    return f"It is {record.state}{f': {record.stop_message}' if record.stop_message else ''}."


def choice_of(engines: Sequence[EngineStatus], *, allow_unsafe: bool) -> str:
    """Say which engine takes tasks that name none, and why not one before it.

    :param engines: in order of preference.
    """
    passed: list[str] = []
    for one in engines:
        if one.state != "ok":
            passed.append(f"{one.name} is {one.state} ({one.message})")
        elif one.unsafe and not allow_unsafe:
            passed.append(f"{one.name} is not allowed ({one.unsafe}): [scheduler] unsafe_same_uid")
        else:
            return "; ".join([f"tasks run on the engine {one.name}", *passed])
    return "; ".join(["no engine can run tasks here", *passed])


def _named(record: JobRecord) -> str:
    # Everybody reads events: what a task is called and runs is its owner's business.
    return f"Task {record.job.job_id}"


def _data(record: JobRecord) -> dict[str, Any]:
    job, newest = record.job, record.newest
    data: dict[str, Any] = {
        "job_id": job.job_id,
        "owner": job.owner,
        "state": record.state.value,
        "reason": record.reason.value if record.reason else None,
        "attempts": len(record.attempts),
    }
    if newest is not None:
        data |= {
            "engine": newest.placement.engine,
            "host_id": newest.placement.host_id,
            "gpu_ids": list(newest.placement.gpu_ids),
            "exit_code": newest.exit_code,
        }
    return data


class Subjects:
    """Ids of the jobs that events are about. No generator: one that is left by `break` would be closed late."""

    def __init__(self, events: Subscription) -> None:
        self._events = aiter(events)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        return (await anext(self._events)).subject
