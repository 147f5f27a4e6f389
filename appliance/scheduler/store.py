"""All SQL of jobs and attempts: each function is one step of a job's life, run inside a transaction.

Whether a step may be taken is decided here, by the state that is stored: two that come at once (a cancel and an end,
a cancel and a start) are thereby one after the other.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from attrs import frozen

from appliance.engines import Exit
from appliance.errors import Conflict, NotFound
from appliance.jobs import FINAL, EndReason, Job, JobState, Placement
from appliance.scheduler import rows
from appliance.scheduler.records import JobRecord, Phase
from appliance.scheduler.retrying import Ended, TryAgain, after

_INSERT: Final = """
INSERT INTO scheduler_job (job_id, owner, submitted_by, state, submitted_at_unix_us, deadline_unix_us, expected_seconds,
                           eligible_at_unix_us, is_held, stop_reason, stop_message, message, retried_by, spec)
VALUES (:job_id, :owner, :submitted_by, 'pending', :submitted_at_unix_us, :deadline_unix_us, :expected_seconds,
        0, :is_held, '', '', '', '', :spec)"""
_SPEC: Final = "SELECT spec FROM scheduler_job WHERE job_id = :job_id"
_STATE: Final = "SELECT state FROM scheduler_job WHERE job_id = :job_id"
_SET_STATE: Final = "UPDATE scheduler_job SET state = :state WHERE job_id = :job_id"
_RELEASE: Final = "UPDATE scheduler_job SET is_held = 0 WHERE job_id = :job_id"
_RETRIED: Final = "UPDATE scheduler_job SET retried_by = :by WHERE job_id = :job_id"
_STOP: Final = """
UPDATE scheduler_job SET state = 'stopping', stop_reason = :reason, stop_message = :message WHERE job_id = :job_id"""
_AGAIN: Final = """
UPDATE scheduler_job SET state = 'pending', eligible_at_unix_us = :eligible_at_unix_us, message = :message,
                         stop_reason = '', stop_message = ''
 WHERE job_id = :job_id"""
_END: Final = """
UPDATE scheduler_job SET state = :state, reason = :reason, message = :message, ended_at_unix_us = :ended_at_unix_us
 WHERE job_id = :job_id"""
_NUMBER: Final = "SELECT COALESCE(MAX(number), 0) + 1 FROM scheduler_attempt WHERE job_id = :job_id"
_PLACE: Final = """
INSERT INTO scheduler_attempt (attempt_id, job_id, number, host_id, engine, parts, phase, assigned_at_unix_us, message)
VALUES (:attempt_id, :job_id, :number, :host_id, :engine, :parts, 0, :at, '')"""
_PHASE: Final = "SELECT phase FROM scheduler_attempt WHERE attempt_id = :attempt_id"
_SET_PHASE: Final = "UPDATE scheduler_attempt SET phase = :phase WHERE attempt_id = :attempt_id AND phase < :phase"
_RUNNING: Final = """
UPDATE scheduler_attempt SET phase = 1, started_at_unix_us = :at WHERE attempt_id = :attempt_id AND phase = 0"""
_ENDED: Final = """
UPDATE scheduler_attempt
   SET phase = 2, ended_at_unix_us = :at, reason = :reason, exit_code = :exit_code, message = :message
 WHERE attempt_id = :attempt_id AND phase < 2"""
_NOTE: Final = """
UPDATE scheduler_attempt SET message = message || CASE WHEN message = '' THEN '' ELSE '; ' END || :note
 WHERE attempt_id = :attempt_id"""
_WITHDRAW: Final = "DELETE FROM scheduler_attempt WHERE attempt_id = :attempt_id AND phase = 0"
_DELETE: Final = "DELETE FROM scheduler_job WHERE job_id = :job_id"
_LIVE: Final = f"""
{rows.SELECT_JOBS} WHERE state IN ('pending', 'starting', 'running', 'stopping') ORDER BY number"""
_UNCLOSED: Final = f"""
{rows.SELECT_JOBS}
 WHERE job_id IN (SELECT job_id FROM scheduler_attempt WHERE phase < 4) ORDER BY number"""  # noqa: S608  fixed columns
_TOO_OLD: Final = """
SELECT job_id FROM scheduler_job WHERE ended_at_unix_us < :before ORDER BY ended_at_unix_us LIMIT :limit"""
_TOO_MANY: Final = """
SELECT job_id FROM scheduler_job WHERE ended_at_unix_us IS NOT NULL
 ORDER BY ended_at_unix_us DESC LIMIT :limit OFFSET :kept"""
_ALL_IDS: Final = "SELECT 1 FROM scheduler_job WHERE job_id = :job_id"
MESSAGE_MAX_CHARS: Final = 2000


@frozen(kw_only=True)
class NewJob:
    """A job to be stored."""

    job: Job
    submitted_by: str
    submitted_at_unix_us: int
    deadline_unix_us: int
    expected_seconds: float | None
    is_held: bool


@frozen(kw_only=True)
class Inserted:
    """What became of a submission."""

    records: tuple[JobRecord, ...]
    """All that were asked for, in the order asked."""
    new: frozenset[str]
    """Ids of those that were not there before."""


# ---------------------------------------------------------------- submission


def insert(connection: sqlite3.Connection, jobs: Sequence[NewJob]) -> Inserted:
    """Store jobs, all or none; one that is there with the same content is left as it is.

    :raises Conflict: there is another job of that id.
    """
    found: list[JobRecord] = []
    new: set[str] = set()
    for one in jobs:
        spec = rows.spec_of(one.job)
        stored = rows.first(connection.execute(_SPEC, {"job_id": one.job.job_id}))
        if stored is not None:
            if rows.job_of(stored) != one.job:
                raise Conflict(f"there is another task {one.job.job_id!r}", hint="choose another id")
            found.append(needed(connection, one.job.job_id))
            continue
        values = {
            "job_id": one.job.job_id,
            "owner": one.job.owner,
            "submitted_by": one.submitted_by,
            "submitted_at_unix_us": one.submitted_at_unix_us,
            "deadline_unix_us": one.deadline_unix_us,
            "expected_seconds": one.expected_seconds,
            "is_held": one.is_held,
            "spec": spec,
        }
        number = connection.execute(_INSERT, values).lastrowid
        assert number is not None
        new.add(one.job.job_id)
        found.append(
            JobRecord(
                number=number,
                job=one.job,
                state=JobState.PENDING,
                submitted_by=one.submitted_by,
                submitted_at_unix_us=one.submitted_at_unix_us,
                deadline_unix_us=one.deadline_unix_us,
                expected_seconds=one.expected_seconds,
                is_held=one.is_held,
            )
        )
    return Inserted(records=tuple(found), new=frozenset(new))


def release(connection: sqlite3.Connection, job_id: str) -> JobRecord:
    """Let a held job go on; nothing happens when it is not held."""
    connection.execute(_RELEASE, {"job_id": job_id})
    return needed(connection, job_id)


def link_retry(connection: sqlite3.Connection, job_id: str, by: str) -> None:
    """Note which job tries an ended one again; the newest counts.

    :raises Conflict: it has not ended.
    """
    _need_final(needed(connection, job_id), "tried again")
    connection.execute(_RETRIED, {"job_id": job_id, "by": by})


# ---------------------------------------------------------------- attempts


def place(
    connection: sqlite3.Connection, starts: Iterable[tuple[str, Placement]], *, now_unix_us: int
) -> list[JobRecord]:
    """Give pending jobs their next attempt; return them, without those that do not wait any more."""
    placed = []
    for job_id, placement in starts:
        if rows.first(connection.execute(_STATE, {"job_id": job_id})) != JobState.PENDING:
            continue
        number = rows.first(connection.execute(_NUMBER, {"job_id": job_id}))
        values = {
            "attempt_id": f"{job_id}.{number}",
            "job_id": job_id,
            "number": number,
            "host_id": placement.host_id,
            "engine": placement.engine,
            "parts": rows.parts_of(placement),
            "at": now_unix_us,
        }
        connection.execute(_PLACE, values)
        connection.execute(_SET_STATE, {"job_id": job_id, "state": JobState.STARTING})
        placed.append(needed(connection, job_id))
    return placed


def started(connection: sqlite3.Connection, job_id: str, attempt_id: str, *, now_unix_us: int) -> JobRecord:
    """Note that an attempt's command runs."""
    connection.execute(_RUNNING, {"attempt_id": attempt_id, "at": now_unix_us})
    if rows.first(connection.execute(_STATE, {"job_id": job_id})) == JobState.STARTING:
        connection.execute(_SET_STATE, {"job_id": job_id, "state": JobState.RUNNING})
    return needed(connection, job_id)


def ended(
    connection: sqlite3.Connection, job_id: str, attempt_id: str, how: Exit, *, was_stopped: bool, now_unix_us: int
) -> JobRecord:
    """Note how an attempt ended; the first word counts.

    What ended it wins over how its command took it: a task that is stopped for its time limit has the reason
    `EndReason.TIMEOUT`, and its exit code is kept besides.

    :param was_stopped: whether its engine was asked to stop it: else it has ended by itself, just before.
    """
    before = needed(connection, job_id)
    reason, message = how.reason, how.message
    if before.stop_reason is not None and was_stopped:
        reason, message = before.stop_reason, before.stop_message or how.message
    values = {
        "attempt_id": attempt_id,
        "at": how.ended_at_unix_us if how.ended_at_unix_us is not None else now_unix_us,
        "reason": reason,
        "exit_code": how.exit_code,
        "message": message[:MESSAGE_MAX_CHARS],
    }
    connection.execute(_ENDED, values)
    return needed(connection, job_id)


def note(connection: sqlite3.Connection, job_id: str, attempt_id: str, text: str) -> JobRecord:
    """Add to what is said of an attempt."""
    connection.execute(_NOTE, {"attempt_id": attempt_id, "note": text[:MESSAGE_MAX_CHARS]})
    return needed(connection, job_id)


def settle(connection: sqlite3.Connection, job_id: str, attempt_id: str, *, now_unix_us: int) -> JobRecord | None:
    """Decide what follows the end of an attempt; ``None`` when that was decided before."""
    phase = rows.first(connection.execute(_PHASE, {"attempt_id": attempt_id}))
    if phase is None or phase >= Phase.SETTLED:
        return None
    connection.execute(_SET_PHASE, {"attempt_id": attempt_id, "phase": Phase.SETTLED})
    before = needed(connection, job_id)
    is_cancelled = before.stop_reason == EndReason.CANCELLED
    follows = after(before.job.retry, before.attempts, is_cancelled=is_cancelled, now_unix_us=now_unix_us)
    if isinstance(follows, TryAgain):
        values: dict[str, Any] = {"eligible_at_unix_us": follows.eligible_at_unix_us, "message": follows.message}
        connection.execute(_AGAIN, values | {"job_id": job_id})
        return needed(connection, job_id)
    newest = before.attempts[-1]
    return end(connection, job_id, follows, now_unix_us=newest.ended_at_unix_us or now_unix_us)


def withdraw(
    connection: sqlite3.Connection, job_id: str, attempt_id: str, message: str, *, now_unix_us: int
) -> JobRecord:
    """Take an attempt back that was never started: the job waits again, or ends if it was cancelled meanwhile."""
    before = needed(connection, job_id)
    connection.execute(_WITHDRAW, {"attempt_id": attempt_id})
    if before.stop_reason == EndReason.CANCELLED:
        how = Ended(state=JobState.CANCELLED, reason=EndReason.CANCELLED, message=before.stop_message)
        return end(connection, job_id, how, now_unix_us=now_unix_us)
    if before.state.holds_resources:
        values = {"job_id": job_id, "eligible_at_unix_us": 0, "message": message[:MESSAGE_MAX_CHARS]}
        connection.execute(_AGAIN, values)
    return needed(connection, job_id)


def close(connection: sqlite3.Connection, attempt_id: str) -> None:
    """Note that nothing is left of an attempt at its engine."""
    connection.execute(_SET_PHASE, {"attempt_id": attempt_id, "phase": Phase.CLOSED})


# ---------------------------------------------------------------- ends


def end(connection: sqlite3.Connection, job_id: str, how: Ended, *, now_unix_us: int) -> JobRecord:
    """End a job for good."""
    values = {
        "job_id": job_id,
        "state": how.state,
        "reason": how.reason,
        "message": how.message[:MESSAGE_MAX_CHARS],
        "ended_at_unix_us": now_unix_us,
    }
    connection.execute(_END, values)
    return needed(connection, job_id)


def end_pending(connection: sqlite3.Connection, job_id: str, how: Ended, *, now_unix_us: int) -> JobRecord | None:
    """End a job that waits; ``None`` when it does not wait any more."""
    if rows.first(connection.execute(_STATE, {"job_id": job_id})) != JobState.PENDING:
        return None
    return end(connection, job_id, how, now_unix_us=now_unix_us)


def ask_to_stop(connection: sqlite3.Connection, job_id: str, reason: EndReason, message: str) -> JobRecord | None:
    """Note that a job's attempt is to end, and why; ``None`` when it has none, or was asked to already.

    A cancel wins over whatever it was asked to end for before.
    """
    before = rows.record(connection, job_id)
    if before is None or not before.state.holds_resources:
        return None
    if before.stop_reason is not None and (reason != EndReason.CANCELLED or before.stop_reason == reason):
        return None
    newest = before.attempts[-1]
    if newest.reason is not None and reason != EndReason.CANCELLED:
        return None  # it has ended, and its files are being kept
    connection.execute(_STOP, {"job_id": job_id, "reason": reason, "message": message[:MESSAGE_MAX_CHARS]})
    return needed(connection, job_id)


def cancel(connection: sqlite3.Connection, job_id: str, message: str, *, now_unix_us: int) -> JobRecord:
    """Cancel a job: at once where it waits, else by asking its attempt to end; again changes nothing.

    :raises NotFound: there is no such job.
    :raises Conflict: it has ended.
    """
    before = needed(connection, job_id)
    _need_live(before)
    if before.state == JobState.PENDING:
        how = Ended(state=JobState.CANCELLED, reason=EndReason.CANCELLED, message=message)
        return end(connection, job_id, how, now_unix_us=now_unix_us)
    return ask_to_stop(connection, job_id, EndReason.CANCELLED, message) or before


def forget(connection: sqlite3.Connection, job_id: str) -> JobRecord:
    """Delete an ended job.

    :raises NotFound: there is no such job.
    :raises Conflict: it has not ended, or something is left of it at an engine.
    """
    found = needed(connection, job_id)
    _need_final(found, "deleted")
    if any(attempt.attempt_id in rows.open_attempts(connection) for attempt in found.attempts):
        raise Conflict(f"task {job_id!r} is being cleaned up", hint="try again in a moment")
    connection.execute(_DELETE, {"job_id": job_id})
    return found


# ---------------------------------------------------------------- reading


def needed(connection: sqlite3.Connection, job_id: str) -> JobRecord:
    """Return a job; raise `NotFound`."""
    found = rows.record(connection, job_id)
    if found is None:
        raise NotFound("task", job_id)
    return found


def state_of(connection: sqlite3.Connection, job_id: str) -> JobState | None:
    """Return a job's state; ``None`` when it is not there."""
    state = rows.first(connection.execute(_STATE, {"job_id": job_id}))
    return None if state is None else JobState(state)


def exists(connection: sqlite3.Connection, job_id: str) -> bool:
    """Whether a job is there."""
    return connection.execute(_ALL_IDS, {"job_id": job_id}).fetchone() is not None


def live(connection: sqlite3.Connection) -> Iterator[JobRecord]:
    """Yield all jobs that have not ended, oldest first, some hundred in memory at a time."""
    found = connection.execute(_LIVE)
    while some := found.fetchmany(rows.AT_ONCE):
        yield from rows.records(connection, some)


def unclosed(connection: sqlite3.Connection) -> list[JobRecord]:
    """Return the jobs of open attempts, ended ones too, oldest first."""
    return rows.records(connection, connection.execute(_UNCLOSED).fetchall())


def superfluous(connection: sqlite3.Connection, *, ended_before_unix_us: int, kept: int, limit: int) -> list[str]:
    """Return ended jobs that are too old or too many, the oldest first, at most ``limit``."""
    old = connection.execute(_TOO_OLD, {"before": ended_before_unix_us, "limit": limit}).fetchall()
    many = connection.execute(_TOO_MANY, {"kept": kept, "limit": limit}).fetchall()
    return list(dict.fromkeys(row[0] for row in (*old, *many)))[:limit]


def _need_final(record: JobRecord, what: str) -> None:
    if record.state not in FINAL:
        raise Conflict(
            f"task {record.job_id!r} is {record.state}, only an ended one can be {what}", hint="cancel it first"
        )


def _need_live(record: JobRecord) -> None:
    if record.state in FINAL:
        raise Conflict(f"task {record.job_id!r} is {record.state} already")
