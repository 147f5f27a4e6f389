"""The queue of the build swarm without HTTP, beside the plainest queue that is as durable, in the same run.

``python -m tests.bench.swarm_queue [--small] [FOLDER]`` prints, last, one line of JSON, with 10,000 packages queued and
50 drones:

* ``queue_s``: one request that queues them all, until it is on disk; ``plain_insert_s``: the same rows by SQLite alone.
* ``beats_per_s``: heartbeats of known drones, one after the other (they are written behind).
* ``cycles``: work and report, each durable, of 8 callers at once: ``per_s``, ``cpu_us`` of this process for each,
  ``commits`` for each; ``plain``: the same by one SQLite connection with an index on the state and a commit for each
  call, and ``ratio``, how many times as many the queue does.
* ``ask_us``: one request for work where the asking drone has failed 2,000 packages before all others.
* ``status_us`` and ``list_ms``: the figures, and all packages in their order.
* ``start_s``: reading it all at the next start. ``rss_mib``: what 10,000 packages take.
"""

import argparse
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import psutil
import trio
from attrs import define, field

from appliance.clock import unix_now_us
from appliance.database import Database
from plugins.build_swarm import queue_schema
from plugins.build_swarm.handing import hand_out
from plugins.build_swarm.rules import Moment
from plugins.build_swarm.states import Heartbeat, QueueRequest, Report
from plugins.build_swarm.swarm import Swarm

DRONES = 50
CALLERS = 8


@define(eq=False)
class Core:
    """What the queue uses of core."""

    database: Database
    now: Any = unix_now_us
    name: str = "build_swarm"
    events: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.events = Silent()


class Silent:
    """A bus that nobody listens to."""

    def announce(self, *_: Any, **__: Any) -> None:
        """Tell nobody."""


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Swarm]:
    """Open a swarm on the database in a folder, its service running."""
    migrations = {"build_swarm": queue_schema.MIGRATIONS}
    async with Database.open(folder / "appliance.db", migrations=migrations) as database:
        swarm = Swarm(cast(Any, Core(database)))
        async with trio.open_nursery() as nursery:
            await nursery.start(swarm.run)
            yield swarm
            nursery.cancel_scope.cancel()


def atoms(count: int, kind: str) -> tuple[str, ...]:
    """Return so many atoms."""
    return tuple(f"cat-{number % 60}/{kind}{number}-{number % 9}.{number % 7}-r1" for number in range(count))


def beat(number: int, load: float = 0.0) -> Heartbeat:
    """Return a heartbeat as drones send it."""
    return Heartbeat(
        drone_id=f"{number:032x}",
        name=f"drone-{number:02}",
        address="192.0.2.1",
        claimed_ip="10.0.0.1",
        capabilities={"cores": 16, "ram_gb": 32.0, "auto_reboot": True, "portage_timestamp": "2026-02-12"},
        metrics={"cpu_percent": 45.2, "ram_percent": 62.1, "load_1m": load},
        version="0.4.0-alpha",
    )


async def measured(folder: Path, count: int, seconds: float) -> dict[str, Any]:
    """Measure the queue."""
    found: dict[str, Any] = {}
    async with opened(folder) as swarm:
        for number in range(DRONES):
            await swarm.register(beat(number))
        before = rss_mib()
        began = time.perf_counter()
        await swarm.queue(QueueRequest(atoms=atoms(count, "p")))
        found["queue_s"] = round(time.perf_counter() - began, 3)
        found["rss_mib"] = round(rss_mib() - before, 1)
        found["beats_per_s"] = await beats(swarm, seconds)
        found["list_ms"] = round(1000 * timed(swarm.packages, 5), 2)
        found["status_us"] = round(1e6 * timed(swarm.status, 200), 1)
        found["cycles"] = await cycles(swarm, seconds)
        found["ask_us"] = await asks(swarm, count // 5)
    found["start_s"] = round(await start(folder), 3)
    return found


async def beats(swarm: Swarm, seconds: float) -> int:
    """Return how many heartbeats are taken in a second."""
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        for number in range(DRONES):
            await swarm.register(beat(number, float(count)))
        count += DRONES
    return round(count / (time.perf_counter() - began))


async def cycles(swarm: Swarm, seconds: float) -> dict[str, Any]:
    """Let drones ask and report at once, for so long or until nothing is left."""
    done = 0
    database = swarm.core.database
    began, cpu, commits = time.perf_counter(), time.process_time(), database.commits

    async def caller(first: int) -> None:
        nonlocal done
        number = first
        while time.perf_counter() - began < seconds:
            drone = f"{number % DRONES:032x}"
            number += CALLERS
            package = (await swarm.work(drone)).package
            if package is None:
                return
            report = Report(drone=drone, atom=package.atom, outcome="success", duration_s=300.0)
            assert (await swarm.complete(report)).accepted
            done += 1

    async with trio.open_nursery() as nursery:
        for first in range(CALLERS):
            nursery.start_soon(caller, first)
    spent = time.perf_counter() - began
    return {
        "per_s": round(done / spent),
        "cpu_us": round(1e6 * (time.process_time() - cpu) / done),
        "commits": round((database.commits - commits) / done, 2),
    }


async def asks(swarm: Swarm, count: int) -> float:
    """Return how long a request for work takes a drone that has failed many packages, which come before all others."""
    failed = await swarm.queue(QueueRequest(atoms=atoms(count, "failed"), priority=5))
    await swarm.queue(QueueRequest(atoms=atoms(count, "other")))
    drone = f"{0:032x}"
    for package in failed.packages:
        package.avoided_drones = frozenset({drone})
        swarm.desk.book.needed.put(package)
    spent, tries = 0.0, 200
    for _ in range(tries):
        at = Moment(swarm.moment().us, unix_now_us())
        began = time.perf_counter()
        swarm.desk.free_all(swarm.drone(drone), reason="")
        hand_out(swarm.desk, swarm.drone(drone), at)
        spent += time.perf_counter() - began
    return round(1e6 * spent / tries, 1)


async def start(folder: Path) -> float:
    """Return how long it takes to read everything at a start."""
    migrations = {"build_swarm": queue_schema.MIGRATIONS}
    async with Database.open(folder / "appliance.db", migrations=migrations) as database:
        began = time.perf_counter()
        Swarm(cast(Any, Core(database)))
        return time.perf_counter() - began


def plain(folder: Path, count: int, seconds: float) -> dict[str, float]:
    """Measure the plainest durable queue: SQLite with an index on the state, and a commit for each call."""
    connection = sqlite3.connect(folder / "plain.db", isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    connection.executescript(queue_schema.MIGRATIONS[0].sql)
    connection.execute("CREATE INDEX plain_state ON build_swarm_package (state, package_id)")
    rows = [(name, unix_now_us()) for name in atoms(count, "p")]
    began = time.perf_counter()
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(
        "INSERT INTO build_swarm_package (atom, session_id, state, priority, needs, waits_for, failures, failed_drones,"
        " avoided_drones, returns, absolved, error, queued_unix_us)"
        " VALUES (?, 's', 'needed', 0, '{}', '[]', 0, '[]', '[]', 0, 0, '', ?)",
        rows,
    )
    connection.execute("COMMIT")
    insert_s = time.perf_counter() - began
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds and done < count:
        plain_cycle(connection, f"{done % DRONES:032x}")
        done += 1
    per_s = done / (time.perf_counter() - began)
    connection.close()
    return {"insert_s": round(insert_s, 3), "per_s": round(per_s)}


def plain_cycle(connection: sqlite3.Connection, drone: str) -> None:
    """Give out a package and take its report, a commit for each."""
    connection.execute("BEGIN IMMEDIATE")
    (number,) = connection.execute(
        "SELECT package_id FROM build_swarm_package WHERE state = 'needed' ORDER BY package_id LIMIT 1"
    ).fetchone()
    connection.execute(
        "UPDATE build_swarm_package SET state = 'delegated', drone_id = ? WHERE package_id = ?", (drone, number)
    )
    connection.execute("COMMIT")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE build_swarm_package SET state = 'received' WHERE package_id = ?", (number,))
    connection.execute(
        "INSERT INTO build_swarm_build (atom, package_id, session_id, drone_id, drone_name, outcome, duration_s, error,"
        " built_unix_us) VALUES ('a', ?, 's', ?, 'd', 'success', 1.0, '', ?)",
        (number, drone, unix_now_us()),
    )
    connection.execute("COMMIT")


def timed(call: Any, times: int) -> float:
    """Return how many seconds a call takes."""
    began = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - began) / times


def rss_mib() -> float:
    """Return how much memory this process holds."""
    return float(psutil.Process().memory_info().rss) / 2**20


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--small", action="store_true", help="A tenth of it, to see that it runs.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        count, seconds = (1_000, 0.2) if given.small else (10_000, 3.0)
        plainly = plain(Path(name), count, seconds)
        figures = trio.run(measured, Path(name), count, seconds)
    figures["cycles"]["plain_per_s"] = plainly["per_s"]
    figures["cycles"]["ratio"] = round(figures["cycles"]["per_s"] / plainly["per_s"], 2)
    figures["plain_insert_s"] = plainly["insert_s"]
    json.dump(figures, sys.stdout)
    print()


if __name__ == "__main__":
    main()
