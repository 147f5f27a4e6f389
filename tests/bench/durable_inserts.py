"""Durable inserts per second at 1, 8 and 64 callers, against one thread per call that commits by itself.

``python -m tests.bench.durable_inserts [FOLDER] [--seconds N]`` prints a table and, last, one line of JSON. Both ways
write the same rows into files in FOLDER (a temporary one when not given; a RAM disk shows nothing) with
``synchronous=FULL``, in turns, so that a disk which slows down slows both. The ratio is what is to be held; the rates
are this disk's.
"""

import argparse
import json
import sqlite3
import statistics
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from appliance.database import Database
from appliance.database.connections import open_writer
from appliance.migrations import Migration

CALLERS = (1, 8, 64)
ROUNDS = 3
ROW = b"x" * 200
TABLE = "CREATE TABLE bench_row (id INTEGER PRIMARY KEY, at_unix_us INTEGER NOT NULL, data BLOB NOT NULL) STRICT;"
INSERT = "INSERT INTO bench_row (at_unix_us, data) VALUES (?, ?)"

Once = Callable[[], Awaitable[object]]


def insert(connection: sqlite3.Connection) -> None:
    """Write one row."""
    connection.execute(INSERT, (1, ROW))


async def rate(once: Once, callers: int, seconds: float) -> float:
    """Return how often ``callers`` tasks together get through ``once`` in a second."""
    count = 0

    async def caller() -> None:
        nonlocal count
        while True:
            await once()
            count += 1

    started = trio.current_time()
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for _ in range(callers):
                nursery.start_soon(caller)
    return count / (trio.current_time() - started)


def per_call(path: Path) -> tuple[Once, list[sqlite3.Connection]]:
    """Return a write that opens a thread's own transaction, and the connections it has opened."""
    idle: list[sqlite3.Connection] = []
    opened: list[sqlite3.Connection] = []

    def write() -> None:
        try:
            connection = idle.pop()
        except IndexError:
            connection = open_writer(path, path.parent / "backups", busy_timeout_ms=60_000)
            opened.append(connection)
        connection.execute("BEGIN IMMEDIATE")
        insert(connection)
        connection.execute("COMMIT")
        idle.append(connection)

    limiter = trio.CapacityLimiter(max(CALLERS))
    return lambda: trio.to_thread.run_sync(write, limiter=limiter), opened


async def measure(folder: Path, seconds: float) -> list[dict[str, float]]:
    """Return one row of figures for each number of callers."""
    one_by_one, opened = per_call(folder / "per_call.db")
    first = open_writer(folder / "per_call.db", folder / "backups")
    first.execute(TABLE)
    rows: list[dict[str, float]] = []
    migrations = {"bench": [Migration(version=1, name="rows", sql=TABLE)]}
    async with Database.open(folder / "grouped.db", migrations=migrations) as database:
        for callers in CALLERS:
            ours, theirs, commits = [], [], database.commits
            for _ in range(ROUNDS):
                ours.append(await rate(lambda: database.write(insert), callers, seconds))
                theirs.append(await rate(one_by_one, callers, seconds))
            grouped, alone = statistics.median(ours), statistics.median(theirs)
            rows.append(
                {
                    "callers": callers,
                    "inserts_per_s": round(grouped, 1),
                    "per_call_inserts_per_s": round(alone, 1),
                    "ratio": round(grouped / alone, 2),
                    "commits_per_s": round((database.commits - commits) / (seconds * ROUNDS), 1),
                }
            )
    for connection in [first, *opened]:
        connection.close()
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of each of the 18 measurements")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        rows = trio.run(measure, Path(folder), arguments.seconds)
    print(f"{'callers':>8} {'group commit /s':>16} {'per call /s':>12} {'ratio':>7} {'commits /s':>11}")
    for row in rows:
        print(
            f"{row['callers']:>8} {row['inserts_per_s']:>16,.0f} {row['per_call_inserts_per_s']:>12,.0f}"
            f" {row['ratio']:>7.2f} {row['commits_per_s']:>11,.0f}"
        )
    print(json.dumps({"bench": "durable_inserts", "rows": rows}))


if __name__ == "__main__":
    main()
