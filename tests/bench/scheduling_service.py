"""The living scheduler on a real database: what it adds to a submission, what a hundred thousand waiting tasks cost.

``python -m tests.bench.scheduling_service [--small] [FOLDER]`` prints, last, one line of JSON:

* ``submit_to_start_ms``: from the call of `Scheduler.submit` to the engine being asked to start the task, with 1,000
  others waiting for a GPU; two durable commits lie between.
* ``commit_ms``: one durable commit alone, on the same disk in the same run.
* ``overhead``: processor time and time of ours for each of 500 tasks that end at once, four at a time.
* ``pass_ms`` and ``rss_mib`` with 100,000 waiting, right after their submission and after a start on the same database.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import trio

from appliance.clock import unix_now_us
from appliance.database import Database
from appliance.devices import Gpu
from appliance.engines import Exit, Launch
from appliance.events import EventBus
from appliance.inventory.store import Inventory
from appliance.jobs import EndReason, Job, JobState, Needs
from appliance.ledger.store import Ledger
from appliance.run.core_parts import MIGRATIONS
from appliance.scheduler.hosts import Machine
from appliance.scheduler.service import Scheduler
from appliance.scripted_engine import ScriptedEngine
from appliance.settings import SchedulerSettings
from appliance.testing import until

HOST = "host-1"
GPU = Gpu(gpu_id="GPU-0", index=0, vendor="nvidia", model="Scripted 80G", vram_total_bytes=80 * 2**30)
AT_ONCE = 1_000


class TimedEngine(ScriptedEngine):
    """Notes when it is asked to start each attempt."""

    def __init__(self) -> None:
        super().__init__()
        self.asked_at: dict[str, float] = {}
        self.asked = trio.Event()

    async def start(self, launch: Launch, tell: Callable[[str], None]) -> None:
        """Note the time, then start it."""
        self.asked_at[launch.job_id] = time.perf_counter()
        self.asked.set()
        await super().start(launch, tell)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[Scheduler, Database]]:
    """Make a scheduler on the database in a folder."""
    async with Database.open(folder / "appliance.db", migrations=MIGRATIONS) as database:
        inventory = Inventory(database, local_host_id=HOST)
        await inventory.saw_host(HOST, hostname="box", at_unix_us=unix_now_us())
        await inventory.saw_gpus(HOST, [GPU], at_unix_us=unix_now_us())
        ledger = await Ledger.load(database, inventory, unix_now_us, went_down_at_unix_us=None)
        scheduler = Scheduler(
            database,
            events=EventBus(database, unix_now_us),
            inventory=inventory,
            ledger=ledger,
            folder=folder,
            settings=lambda: SchedulerSettings(pending_max=1_000_000),
            now=unix_now_us,
            host_id=HOST,
            machine=lambda: Machine(millicores=64_000, memory_mib=500_000, free_disk_mib=500_000),
        )
        yield scheduler, database


def waiting_job(scheduler: Scheduler, number: int) -> Job:
    """Return one that waits for the GPU, in one of fifty shapes of forty people."""
    needs = Needs(millicores=100 + number % 50, memory_mib=256, milli_gpu=1000)
    return Job(
        job_id=scheduler.new_job_id(),
        owner=f"person-{number % 40}",
        image=f"registry.example.net/team/train:{number % 20}",
        command=f"python train.py --seed {number}",
        environment={"SEED": str(number)},
        needs=needs,
        tag="gpu-training",
    )


async def fill(scheduler: Scheduler, count: int) -> float:
    """Let so many wait; return how many seconds that took."""
    began = time.perf_counter()
    for start in range(0, count, AT_ONCE):
        numbers = range(start, min(count, start + AT_ONCE))
        await scheduler.submit([waiting_job(scheduler, number) for number in numbers], who="bench")
    return time.perf_counter() - began


async def latency(folder: Path, pending: int, tries: int) -> dict[str, Any]:
    """Measure submissions one after the other beside so many that wait."""
    engine = TimedEngine()
    async with opened(folder) as (scheduler, database):
        scheduler.use([engine])
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            await fill(scheduler, pending + 1)  # one of them gets the GPU, and keeps it
            await until(lambda: engine.attempts)
            engine.ends_at_once = Exit(exit_code=0, reason=EndReason.EXIT)
            spent: list[float] = []
            for _ in range(tries):
                job = Job(job_id=scheduler.new_job_id(), owner="ana", image="bb:1", needs=Needs(millicores=100))
                engine.asked = trio.Event()
                began = time.perf_counter()
                await scheduler.submit([job], who="ana")
                while job.job_id not in engine.asked_at:
                    await engine.asked.wait()
                spent.append((engine.asked_at[job.job_id] - began) * 1000)
                await until(lambda job=job: is_over(scheduler, engine, job))  # type: ignore[misc]
            commits = [await one_commit(database) for _ in range(tries)]
            figures = scheduler._desk.figures
            nursery.cancel_scope.cancel()
            return {
                "pending": pending,
                "submit_to_start_ms": {"p50": p(spent, 50), "p99": p(spent, 99)},
                "commit_ms": {"p50": p(commits, 50), "p99": p(commits, 99)},
                "pass_ms": round(1000 * figures.decided_seconds / figures.passes, 3),
            }


async def overhead(folder: Path, count: int) -> dict[str, Any]:
    """Measure what a task costs from its submission until nothing is left of it, engine aside."""
    engine = TimedEngine()
    engine.ends_at_once = Exit(exit_code=0, reason=EndReason.EXIT)
    async with opened(folder) as (scheduler, database):
        scheduler.use([engine])
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            needs = Needs(millicores=16_000)
            jobs = [Job(job_id=scheduler.new_job_id(), owner="ana", image="bb:1", needs=needs) for _ in range(count)]
            began, cpu, commits = time.perf_counter(), time.process_time(), database.commits
            await scheduler.submit(jobs, who="ana")
            await until(lambda: len(engine.removed) == count and not engine.attempts, seconds=300)
            spent, used = time.perf_counter() - began, time.process_time() - cpu
            nursery.cancel_scope.cancel()
            return {
                "tasks": count,
                "cpu_ms": round(1000 * used / count, 2),
                "ms": round(1000 * spent / count, 2),
                "commits": round((database.commits - commits) / count, 2),
            }


def is_over(scheduler: Scheduler, engine: ScriptedEngine, job: Job) -> bool:
    """Whether nothing is left to do for a job: the one with the GPU alone is still there."""
    return scheduler.get(job.job_id).state == JobState.COMPLETED and len(engine.attempts) == 1


async def one_commit(database: Database) -> float:
    """Return how many milliseconds one small durable write takes."""
    began = time.perf_counter()
    await database.write(
        lambda connection: (
            connection.execute(
                "INSERT OR REPLACE INTO scheduler_used VALUES ('bench', 1.0, :at)", {"at": unix_now_us()}
            ).rowcount
        )
    )
    return (time.perf_counter() - began) * 1000


async def crowd(folder: Path, count: int) -> dict[str, Any]:
    """Measure memory and passes with so many waiting."""
    before = rss_mib()
    async with opened(folder) as (scheduler, _):
        seconds = await fill(scheduler, count)
        return {
            "pending": count,
            "submitted_per_s": round(count / seconds),
            "rss_mib": rss_mib(),
            "rss_before_mib": before,
            "restored": restored_in_child(folder),
        }


def restored_in_child(folder: Path) -> dict[str, Any]:
    """Take the same database over in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.scheduling_service", "--restored", str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def restored(folder: Path) -> dict[str, Any]:
    """Take a database over, start what fits, and measure passes."""
    engine = TimedEngine()
    async with opened(folder) as (scheduler, _):
        pass
    began = time.perf_counter()
    async with opened(folder) as (scheduler, _):
        took = time.perf_counter() - began
        scheduler.use([engine])
        async with trio.open_nursery() as nursery:
            await nursery.start(scheduler.run)
            await until(lambda: engine.attempts)
            figures = scheduler._desk.figures
            first_seconds, first = figures.decided_seconds, figures.passes
            passes = []
            for _ in range(20):
                job = Job(job_id=scheduler.new_job_id(), owner="ana", image="bb:1", needs=Needs(millicores=100))
                spent, seen = figures.decided_seconds, figures.passes
                await scheduler.submit([job], who="ana")
                await until(lambda job=job: job.job_id in engine.asked_at)  # type: ignore[misc]
                passes.append(1000 * (figures.decided_seconds - spent) / max(1, figures.passes - seen))
            nursery.cancel_scope.cancel()
            return {
                "open_seconds": round(took, 2),
                "first_pass_ms": round(1000 * first_seconds / first, 1),
                "pass_ms": {"p50": p(passes, 50), "max": round(max(passes), 2)},
                "rss_mib": rss_mib(),
            }


def rss_mib() -> int:
    """Return how much memory this process holds."""
    return int(psutil.Process().memory_info().rss) // 2**20


def p(values: list[float], percent: int) -> float:
    """Return a percentile."""
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 2)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--small", action="store_true", help="A hundredth of it, to see that it runs.")
    parser.add_argument("--restored", action="store_true", help="Measure a start on the database in the folder.")
    given = parser.parse_args()
    if given.restored:
        print(json.dumps(trio.run(restored, given.folder)))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        many, few = (1_000, 100) if given.small else (100_000, 1_000)
        (one := Path(name) / "one").mkdir()
        (two := Path(name) / "two").mkdir()
        (three := Path(name) / "three").mkdir()
        figures = {
            "crowd": trio.run(crowd, two, many),
            "latency": trio.run(latency, one, few, 20 if given.small else 200),
            "overhead": trio.run(overhead, three, 50 if given.small else 500),
        }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
