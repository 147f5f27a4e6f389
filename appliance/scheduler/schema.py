"""The tables of jobs, their attempts, schedules and what was learned."""

from typing import Final

from appliance.migrations import Migration

OWNER: Final = "scheduler"

MIGRATIONS: Final = (
    Migration(
        version=1,
        name="jobs, attempts, schedules, what was learned",
        sql="""
CREATE TABLE scheduler_job (
    -- Rises with submission; AUTOINCREMENT, for a number is a place in a list that somebody pages through.
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    submitted_by TEXT NOT NULL,
    state TEXT NOT NULL,
    submitted_at_unix_us INTEGER NOT NULL,
    deadline_unix_us INTEGER NOT NULL,
    expected_seconds REAL,
    -- Not before, for the next attempt; the job's own not_before_unix_us counts besides.
    eligible_at_unix_us INTEGER NOT NULL,
    -- 1: waits until it is released by whoever submitted it.
    is_held INTEGER NOT NULL,
    -- Why its attempt was asked to end, and by whom; empty while nobody has asked.
    stop_reason TEXT NOT NULL,
    stop_message TEXT NOT NULL,
    reason TEXT,
    message TEXT NOT NULL,
    ended_at_unix_us INTEGER,
    retried_by TEXT NOT NULL,
    spec TEXT NOT NULL
) STRICT;
CREATE INDEX scheduler_job_by_owner ON scheduler_job (owner, number);
CREATE INDEX scheduler_job_by_state ON scheduler_job (state, number);
CREATE INDEX scheduler_job_by_end ON scheduler_job (ended_at_unix_us) WHERE ended_at_unix_us IS NOT NULL;
CREATE TABLE scheduler_attempt (
    -- AUTOINCREMENT keeps the largest token ever given, also after its attempt is forgotten.
    fencing_token INTEGER PRIMARY KEY AUTOINCREMENT,
    attempt_id TEXT NOT NULL UNIQUE,
    job_id TEXT NOT NULL REFERENCES scheduler_job (job_id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    host_id TEXT NOT NULL,
    engine TEXT NOT NULL,
    parts TEXT NOT NULL,
    -- 0 placed, 1 running, 2 ended, 3 settled (its files are kept, the job has its next state), 4 closed.
    phase INTEGER NOT NULL,
    assigned_at_unix_us INTEGER NOT NULL,
    started_at_unix_us INTEGER,
    ended_at_unix_us INTEGER,
    reason TEXT,
    exit_code INTEGER,
    message TEXT NOT NULL
) STRICT;
CREATE INDEX scheduler_attempt_by_job ON scheduler_attempt (job_id, number);
CREATE INDEX scheduler_attempt_open ON scheduler_attempt (phase) WHERE phase < 4;
CREATE TABLE scheduler_schedule (
    schedule_id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    cron TEXT NOT NULL,
    zone TEXT NOT NULL,
    is_enabled INTEGER NOT NULL,
    created_at_unix_us INTEGER NOT NULL,
    next_at_unix_us INTEGER NOT NULL,
    last_at_unix_us INTEGER,
    last_job_id TEXT NOT NULL,
    message TEXT NOT NULL,
    spec TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE scheduler_runtime (
    tag TEXT NOT NULL,
    image TEXT NOT NULL,
    job_class TEXT NOT NULL,
    tau_seconds REAL NOT NULL,
    observations INTEGER NOT NULL,
    learned_at_unix_us INTEGER NOT NULL,
    PRIMARY KEY (tag, image)
) STRICT, WITHOUT ROWID;
CREATE TABLE scheduler_used (
    owner TEXT PRIMARY KEY,
    millicore_seconds REAL NOT NULL,
    at_unix_us INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
""",
    ),
)
