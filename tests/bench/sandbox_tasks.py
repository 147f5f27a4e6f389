"""How much the engine ``sandbox`` adds to a task: tasks of one second each, some side by side.

Run as root with bubblewrap and busybox-static. Prints as JSON how much longer all of it takes than the seconds alone,
for each task; how long each takes beyond its second, from the call of ``start`` to the end of ``remove`` (those side by
side begin and end together, and wait for each other); our own process's CPU time; and a keeper's own memory.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import structlog
import trio

from tests.plugins.engine_sandbox.sandboxes import collected, launch, output, sandboxes, silent

TASK_SECONDS = 1.0


def private_kib(pid: int) -> int:
    """Return the memory that only this process has."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))


async def measure(tasks: int, at_once: int, storage_mib: int) -> dict[str, float]:
    """Run the tasks; return the figures."""
    beyond: list[float] = []
    starts: list[float] = []
    memory: list[int] = []
    limiter = trio.CapacityLimiter(at_once)
    with tempfile.TemporaryDirectory() as folder:
        async with sandboxes(Path(folder)) as engine:

            async def one(number: int) -> None:
                attempt_id = f"task-{number}.1"
                async with limiter:
                    begun = time.perf_counter()
                    needs = {"memory_mib": 64, "millicores": 1000, "storage_mib": storage_mib}
                    await engine.start(launch("sleep 1; echo done", attempt_id, **needs), silent)
                    starts.append(time.perf_counter() - begun)
                    keeper = engine.attempts.at(attempt_id).keeper()
                    if keeper is not None:
                        memory.append(private_kib(keeper.pid))
                    assert await output(engine, attempt_id) == (b"done\n", b"")
                    assert (await engine.wait(attempt_id)).exit_code == 0
                    await collected(engine, attempt_id)
                    await engine.remove(attempt_id)
                    beyond.append(time.perf_counter() - begun - TASK_SECONDS)

            await one(0)
            beyond.clear()
            ours, begun = time.process_time(), time.perf_counter()
            async with trio.open_nursery() as nursery:
                for number in range(1, tasks + 1):
                    nursery.start_soon(one, number)
            wall = time.perf_counter() - begun
            ours = time.process_time() - ours
    return {
        "tasks": tasks,
        "at_once": at_once,
        "storage_mib": storage_mib,
        "longer_than_the_seconds_ms_per_task": (wall - TASK_SECONDS * -(-tasks // at_once)) / tasks * 1e3,
        "beyond_p50_ms": statistics.median(beyond) * 1e3,
        "start_p50_ms": statistics.median(starts) * 1e3,
        "own_cpu_ms_per_task": ours / tasks * 1e3,
        "keeper_own_kib": statistics.median(memory),
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=20)
    parser.add_argument("--storage-mib", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="ten tasks: to see that it runs")
    asked = parser.parse_args()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    if shutil.which("bwrap") is None or shutil.which("busybox") is None:
        print(json.dumps({"skipped": "bubblewrap and busybox-static are not here"}))
        return
    figures = trio.run(measure, 10 if asked.small else asked.tasks, asked.at_once, asked.storage_mib)
    print(json.dumps({name: round(figure, 1) for name, figure in figures.items()}))


if __name__ == "__main__":
    main()
