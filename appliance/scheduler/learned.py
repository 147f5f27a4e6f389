"""SQL of what the scheduler has learned: runtimes per tag and image, and who has used how much."""

import sqlite3
from collections.abc import Sequence
from typing import Final

from appliance.scheduler.fair_share import Used
from appliance.scheduler.runtimes import Runtime

_PUT_RUNTIME: Final = """
INSERT INTO scheduler_runtime (tag, image, job_class, tau_seconds, observations, learned_at_unix_us)
VALUES (:tag, :image, :job_class, :tau_seconds, :observations, :learned_at_unix_us)
ON CONFLICT (tag, image) DO UPDATE SET job_class = excluded.job_class, tau_seconds = excluded.tau_seconds,
    observations = excluded.observations, learned_at_unix_us = excluded.learned_at_unix_us"""
_RUNTIMES: Final = """
SELECT tag, image, job_class, tau_seconds, observations, learned_at_unix_us
  FROM scheduler_runtime ORDER BY learned_at_unix_us"""
_PRUNE_RUNTIMES: Final = """
DELETE FROM scheduler_runtime WHERE learned_at_unix_us < (
    SELECT learned_at_unix_us FROM scheduler_runtime ORDER BY learned_at_unix_us DESC LIMIT 1 OFFSET :kept)"""
_USED: Final = "SELECT owner, millicore_seconds, at_unix_us FROM scheduler_used ORDER BY owner"
_PUT_USED: Final = """
INSERT INTO scheduler_used (owner, millicore_seconds, at_unix_us) VALUES (:owner, :millicore_seconds, :at_unix_us)"""


def put_runtime(connection: sqlite3.Connection, row: Runtime) -> None:
    """Store what was learned of one tag and image."""
    values = {
        "tag": row.tag,
        "image": row.image,
        "job_class": row.job_class,
        "tau_seconds": row.tau_seconds,
        "observations": row.observations,
        "learned_at_unix_us": row.learned_at_unix_us,
    }
    connection.execute(_PUT_RUNTIME, values)


def runtimes(connection: sqlite3.Connection) -> list[Runtime]:
    """Return all that was learned, oldest first."""
    return [
        Runtime(
            tag=tag,
            image=image,
            job_class=job_class,
            tau_seconds=tau,
            observations=observations,
            learned_at_unix_us=learned_at,
        )
        for tag, image, job_class, tau, observations, learned_at in connection.execute(_RUNTIMES)
    ]


def prune_runtimes(connection: sqlite3.Connection, *, kept: int) -> None:
    """Delete what was not learned for longest, beyond ``kept`` rows."""
    connection.execute(_PRUNE_RUNTIMES, {"kept": kept})


def used(connection: sqlite3.Connection) -> list[Used]:
    """Return what everybody has used."""
    return [
        Used(owner=owner, millicore_seconds=amount, at_unix_us=at) for owner, amount, at in connection.execute(_USED)
    ]


def put_used(connection: sqlite3.Connection, rows: Sequence[Used]) -> None:
    """Store what everybody has used, in place of what was stored."""
    connection.execute("DELETE FROM scheduler_used")
    values = [
        {"owner": row.owner, "millicore_seconds": row.millicore_seconds, "at_unix_us": row.at_unix_us} for row in rows
    ]
    connection.executemany(_PUT_USED, values)
