"""Is the scheduler any good, and is it quick: ours on a fixed trace beside others, and decisions on a full queue.

``python -m tests.bench.scheduling`` replays three traces of 10,000 tasks against round-robin, first-fit, the formulas
of document 002's scheduler (woken by every change, and every 5 s as the original), ours, and ours with all tasks of one
owner: half of the work is one person's, so the two tell what the fair share costs. It prints for each:

* ``sla``: share of the tasks with a deadline that ended by it;
* ``wait``: mean, 95th percentile and longest wait in seconds;
* ``cores``, ``gpus``: share of all that tasks held, from the first submission to the last end; in brackets to the last
  submission, which is less for those who put large tasks off.

Then 100,000 jobs of 5,000 shapes, 200 owners and 3 priorities wait for a full host: ``decide_ms`` is what a look at
them takes at the 50th percentile and at most, in which a few jobs end and as many start; ``add_us`` what one more
submission takes; both in time of the processor, for nothing in them waits. ``memory_mb`` is what the whole process has
resident then, ``empty_memory_mb`` before.

``--small`` takes 400 tasks and 2,000 jobs. The last line is JSON.
"""

import argparse
import json
import random
import statistics
import time

import psutil
from attrs import asdict, evolve

from appliance.jobs import Needs
from appliance.scheduler.capacity import EngineOffer, HostCapacity
from appliance.scheduler.placement import Request
from appliance.scheduler.queue import Occupied, Queue, Waiting, decide
from appliance.scheduler.quotas import Quotas
from tests.bench.scheduling_policies import policies, simulate
from tests.bench.scheduling_trace import SEEDS, cluster, trace

LOOKS = 100
NOW_US = 1_795_000_000_000_000


def compare(count: int, seeds: tuple[int, ...]) -> dict[str, dict[str, float]]:
    """Return the mean figures of every policy over the traces, and print each."""
    figures: dict[str, list[dict[str, float]]] = {}
    for seed in seeds:
        tasks = trace(count, seed)
        for policy in policies():
            came = simulate(tasks, cluster(), policy)
            figures.setdefault(policy.name, []).append(asdict(came))
            print(
                f"trace {seed}  {policy.name:16} sla {came.sla_hit_rate:6.1%}"
                f" wait {came.wait_seconds_mean:5.1f} {came.wait_seconds_p95:5.1f} {came.wait_seconds_max:6.1f}"
                f"  cores {came.core_utilisation:6.1%} ({came.core_utilisation_meanwhile:6.1%})"
                f"  gpus {came.gpu_utilisation:6.1%} ({came.gpu_utilisation_meanwhile:6.1%})",
                flush=True,
            )
    return {
        name: {key: round(statistics.fmean(one[key] for one in all_of), 4) for key in all_of[0]}
        for name, all_of in figures.items()
    }


def waiting(number: int, chance: random.Random, shapes: list[Request]) -> Waiting:
    """Return one job of the full queue."""
    submitted = NOW_US - chance.randrange(3_600_000_000)
    seconds = chance.choice((1.0, 5.0, 20.0, 60.0, 600.0))
    return Waiting(
        job_id=f"task-{NOW_US + number}",
        owner=f"person-{chance.randrange(200)}",
        request=chance.choice(shapes),
        submitted_at_unix_us=submitted,
        deadline_unix_us=submitted + int(2 * seconds * 1e6),
        expected_seconds=seconds,
        priority=chance.choice((10, 50, 50, 50, 90)),
    )


def full_queue(count: int) -> dict[str, float]:
    """Return what looks at a long queue take, in milliseconds, and its memory in MB (10^6 bytes)."""
    chance = random.Random(1)
    process = psutil.Process()
    before = process.memory_info().rss
    shapes = [
        Request(needs=Needs(millicores=chance.randrange(100, 16_000), memory_mib=chance.randrange(128, 64_000)))
        for _ in range(max(1, count // 20))
    ]
    queue = Queue()
    began = time.process_time()
    queue.extend(waiting(number, chance, shapes) for number in range(count))
    fill_seconds = time.process_time() - began
    host = HostCapacity(
        host_id="a",
        hostname="a",
        engines=(EngineOffer(name="docker"),),
        millicores=64_000,
        memory_mib=512_000,
        storage_mib=1_000_000,
    )
    running: dict[str, Occupied] = {}
    looks: list[float] = []
    started = added = 0
    add_seconds = 0.0
    for look in range(LOOKS):
        now_us = NOW_US + look * 1_000_000
        for job_id in list(running)[: 1 + look % 3]:
            del running[job_id]
        held = evolve(
            host,
            allocated_millicores=sum(one.needs.millicores for one in running.values()),
            allocated_memory_mib=sum(one.needs.memory_mib for one in running.values()),
        )
        began = time.process_time()
        decision = decide(queue, list(running.values()), [held], used={}, quotas=Quotas(), now_unix_us=now_us)
        looks.append(time.process_time() - began)
        for start in decision.starts:
            one = queue[start.job_id]
            queue.remove(start.job_id)
            running[start.job_id] = Occupied(
                attempt_id=start.job_id,
                job_id=start.job_id,
                owner=one.owner,
                needs=one.request.needs,
                placement=start.placement,
                priority=one.priority,
                preemptible=False,
                assigned_at_unix_us=now_us,
                expected_end_unix_us=now_us + int((one.expected_seconds or 0) * 1e6),
            )
            started += 1
            added += 1
            again = waiting(count + added, chance, shapes)
            began = time.process_time()
            queue.add(again)
            add_seconds += time.process_time() - began
    assert len(queue) == count
    later = sorted(looks[1:])
    return {
        "jobs": count,
        "fill_seconds": round(fill_seconds, 2),
        "first_decide_ms": round(looks[0] * 1e3, 2),
        "decide_ms_p50": round(statistics.median(later) * 1e3, 2),
        "decide_ms_p95": round(later[int(len(later) * 0.95)] * 1e3, 2),
        "decide_ms_max": round(later[-1] * 1e3, 2),
        "add_us": round(add_seconds / max(1, added) * 1e6, 1),
        "started": started,
        "empty_memory_mb": round(before / 1e6, 1),
        "memory_mb": round(process.memory_info().rss / 1e6, 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="400 tasks of one trace, 2,000 jobs in the queue")
    parser.add_argument("--queue-only", action="store_true", help="leave out the traces")
    arguments = parser.parse_args()
    # The queue first: its memory is the process's.
    queue = full_queue(2_000 if arguments.small else 100_000)
    for name, value in queue.items():
        print(f"{name:24} {value:>12}")
    compared = {}
    if not arguments.queue_only:
        compared = compare(*((400, SEEDS[:1]) if arguments.small else (10_000, SEEDS)))
    print(json.dumps({"queue": queue, "policies": compared}))


if __name__ == "__main__":
    main()
