"""All SQL of this API. Functions that write are given the connection of a transaction."""

import sqlite3
from typing import Final

from appliance.plugin import Conflict, TooLarge

from .models import WORKERS_MAX, StoredWorker

_WORKERS: Final = "SELECT worker_id, address, registered_at_unix_us FROM task_scheduler_worker ORDER BY worker_id"
_PUT_WORKER: Final = """
INSERT INTO task_scheduler_worker (worker_id, address, registered_at_unix_us)
VALUES (:worker_id, :address, :registered_at_unix_us) ON CONFLICT DO NOTHING"""
_COUNT: Final = "SELECT count(*) FROM task_scheduler_worker"
_DROP_WORKER: Final = "DELETE FROM task_scheduler_worker WHERE worker_id = :worker_id"


def workers(connection: sqlite3.Connection) -> list[StoredWorker]:
    """Return every registered worker, by id."""
    return [
        StoredWorker(worker_id=worker_id, address=address, registered_at_unix_us=at)
        for worker_id, address, at in connection.execute(_WORKERS)
    ]


def register(connection: sqlite3.Connection, worker: StoredWorker) -> None:
    """Store a worker.

    :raises Conflict: its id is taken.
    :raises TooLarge: there are `WORKERS_MAX` already.
    """
    if connection.execute(_COUNT).fetchone()[0] >= WORKERS_MAX:
        raise TooLarge(f"{WORKERS_MAX} workers are registered already")
    values = {
        "worker_id": worker.worker_id,
        "address": worker.address,
        "registered_at_unix_us": worker.registered_at_unix_us,
    }
    if connection.execute(_PUT_WORKER, values).rowcount == 0:
        raise Conflict(f"worker {worker.worker_id} is registered already")


def unregister(connection: sqlite3.Connection, worker_id: str) -> bool:
    """Delete a registered worker; return whether there was one."""
    return connection.execute(_DROP_WORKER, {"worker_id": worker_id}).rowcount > 0
