"""Rows of jobs and attempts, and what they say."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from appliance.jobs import Attempt, EndReason, Job, JobState, Placement
from appliance.scheduler.records import JobRecord, Phase

AT_ONCE: Final = 500
"""Ids in one statement: SQLite takes 999 values in builds of old."""

_JOB_COLUMNS: Final = (
    "number, job_id, owner, submitted_by, state, submitted_at_unix_us, deadline_unix_us, expected_seconds, "
    "eligible_at_unix_us, is_held, stop_reason, stop_message, reason, message, ended_at_unix_us, retried_by, spec"
)
SELECT_JOBS: Final = f"SELECT {_JOB_COLUMNS} FROM scheduler_job"  # noqa: S608  fixed columns
_SELECT_ATTEMPTS: Final = """
SELECT job_id, attempt_id, number, host_id, engine, parts, fencing_token, assigned_at_unix_us, started_at_unix_us,
       ended_at_unix_us, reason, exit_code, message
  FROM scheduler_attempt"""
_OPEN: Final = "SELECT attempt_id, phase FROM scheduler_attempt WHERE phase < 4 ORDER BY fencing_token"

_decode_job = msgspec.json.Decoder(Job).decode
_decode_parts = msgspec.json.Decoder(tuple[tuple[str, int, int], ...]).decode


def spec_of(job: Job) -> str:
    """Return a job as it is stored."""
    return msgspec.json.encode(job).decode()


def job_of(spec: str) -> Job:
    """Return a stored job; fields that are newer than the row have their default."""
    return _decode_job(spec)


def parts_of(placement: Placement) -> str:
    """Return the parts of a placement as they are stored."""
    return msgspec.json.encode(placement.parts).decode()


def record(connection: sqlite3.Connection, job_id: str) -> JobRecord | None:
    """Return a job with its attempts; ``None`` when it is not there."""
    rows = connection.execute(f"{SELECT_JOBS} WHERE job_id = :job_id", {"job_id": job_id}).fetchall()
    found = records(connection, rows)
    return found[0] if found else None


def records(connection: sqlite3.Connection, rows: Sequence[Any]) -> list[JobRecord]:
    """Return the jobs of rows of `SELECT_JOBS`, with their attempts, in the same order."""
    attempts: dict[str, list[Attempt]] = {}
    for job_id, attempt in _attempts(connection, [row[1] for row in rows]):
        attempts.setdefault(job_id, []).append(attempt)
    return [_record(row, tuple(attempts.get(row[1], ()))) for row in rows]


def open_attempts(connection: sqlite3.Connection) -> dict[str, Phase]:
    """Return the attempts of which something may be left at their engine, oldest first."""
    return {attempt_id: Phase(phase) for attempt_id, phase in connection.execute(_OPEN)}


def _attempts(connection: sqlite3.Connection, job_ids: Sequence[str]) -> Iterator[tuple[str, Attempt]]:
    for chunk in chunks(job_ids):
        marks = ", ".join("?" * len(chunk))
        for row in connection.execute(f"{_SELECT_ATTEMPTS} WHERE job_id IN ({marks}) ORDER BY job_id, number", chunk):
            yield row[0], _attempt(row)


def chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield so many values as one statement takes."""
    for start in range(0, len(values), AT_ONCE):
        yield values[start : start + AT_ONCE]


def _attempt(row: Any) -> Attempt:
    _, attempt_id, number, host_id, engine, parts, token, assigned_at, started_at, ended_at, reason, code, message = row
    return Attempt(
        attempt_id=attempt_id,
        number=number,
        placement=Placement(host_id=host_id, engine=engine, parts=_decode_parts(parts)),
        fencing_token=token,
        assigned_at_unix_us=assigned_at,
        started_at_unix_us=started_at,
        ended_at_unix_us=ended_at,
        reason=EndReason(reason) if reason else None,
        exit_code=code,
        message=message,
    )


def _record(row: Any, attempts: tuple[Attempt, ...]) -> JobRecord:
    (
        number,
        _,
        _,
        by,
        state,
        submitted,
        deadline,
        expected,
        eligible,
        held,
        stop,
        said,
        reason,
        text,
        ended,
        by_,
        spec,
    ) = row
    return JobRecord(
        number=number,
        job=_decode_job(spec),
        state=JobState(state),
        submitted_by=by,
        submitted_at_unix_us=submitted,
        deadline_unix_us=deadline,
        expected_seconds=expected,
        eligible_at_unix_us=eligible,
        is_held=bool(held),
        attempts=attempts,
        stop_reason=EndReason(stop) if stop else None,
        stop_message=said,
        reason=EndReason(reason) if reason else None,
        message=text,
        ended_at_unix_us=ended,
        retried_by=by_,
    )


def first(values: Iterable[Any]) -> Any:
    """Return the first column of the first row, ``None`` without a row."""
    row = next(iter(values), None)
    return None if row is None else row[0]
