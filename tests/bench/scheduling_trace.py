"""A made-up day of a small cluster: hosts, and a mixed trace of tasks with what each really takes.

The same seed gives the same trace for ever. Half of the work is bursts: arrays submitted at once, and hours in which
three times as much comes as in others. On average the scarcest resource is offered 85 % of what there is.
"""

import random
from itertools import pairwise
from typing import Final

from attrs import frozen

from appliance.jobs import WHOLE_MILLI_GPU, Job, Needs
from appliance.scheduler.capacity import EngineOffer, GpuCapacity, HostCapacity

SEEDS: Final = (20020, 20021, 20022)
OFFERED_LOAD: Final = 0.85
GIB: Final = 1024


@frozen(kw_only=True)
class Kind:
    """A sort of task: how often it comes, how long it takes, what it needs."""

    tags: tuple[str, ...]
    share: float
    seconds: float
    """Typical; each image takes between a third and three times as long."""
    cores: tuple[float, ...]
    memory_gib: tuple[float, ...]
    milli_gpu: tuple[int, ...] = (0,)
    vram_gib: tuple[int, ...] = (0,)
    is_service: bool = False


KINDS: Final = (
    Kind(
        tags=("cpu-light", "background-task", ""),
        share=0.30,
        seconds=6,
        cores=(0.25, 0.5, 1, 2),
        memory_gib=(0.5, 1, 2),
    ),
    Kind(tags=("cpu-heavy", "ml-training"), share=0.17, seconds=18, cores=(4, 8, 12, 16), memory_gib=(2, 4, 8)),
    Kind(tags=("memory-heavy", "data-processing"), share=0.14, seconds=22, cores=(1, 2, 4), memory_gib=(16, 48, 96)),
    Kind(
        tags=("gpu-inference", "gpu-heavy"),
        share=0.17,
        seconds=12,
        cores=(1, 2),
        memory_gib=(4, 8),
        milli_gpu=(250, 500, 1000),
        vram_gib=(8, 16),
    ),
    Kind(
        tags=("gpu-training", "ml-training"),
        share=0.05,
        seconds=70,
        cores=(4, 8),
        memory_gib=(16, 32),
        milli_gpu=(1000, 1000, 1000, 2000, 2000, 4000, 8000),
        vram_gib=(0, 40),
    ),
    Kind(tags=("mixed", "batch-job", ""), share=0.15, seconds=11, cores=(1, 2, 4, 6), memory_gib=(1, 4, 16)),
    Kind(
        tags=("web-server", "api-service"),
        share=0.02,
        seconds=400,
        cores=(0.25, 0.5),
        memory_gib=(0.5, 1),
        is_service=True,
    ),
)
IMAGES_PER_KIND: Final = 4
OWNERS: Final = 24
KS_MILLI: Final = (1500, 1800, 2000, 2200, 2500)


@frozen(kw_only=True)
class Task:
    """A job of the trace, and what no policy knows beforehand."""

    job: Job
    submitted_at_us: int
    runtime_us: int
    deadline_us: int | None
    """Submission + k * the mean runtime of its image; ``None`` for services."""


def cluster() -> tuple[HostCapacity, ...]:
    """Return seven hosts: two for CPU work, one with much memory, four with 20 GPUs."""
    shapes = [(16, 64, 0, 0)] * 2 + [(8, 256, 0, 0)] + [(16, 128, 4, 48)] * 3 + [(32, 256, 8, 80)]
    return tuple(_host(number, *shape) for number, shape in enumerate(shapes))


def _host(number: int, cores: int, memory_gib: int, gpus: int, vram_gib: int) -> HostCapacity:
    name = f"host-{number}"
    return HostCapacity(
        host_id=name,
        hostname=name,
        engines=(EngineOffer(name="docker", features=frozenset({"gpu", "network"})),),
        millicores=cores * 1000,
        memory_mib=memory_gib * GIB,
        storage_mib=1000 * GIB,
        gpus=tuple(
            GpuCapacity(
                gpu_id=f"GPU-{number}-{index}",
                model="NVIDIA L40S" if vram_gib == 48 else "NVIDIA A100 80GB",
                vram_mib=vram_gib * GIB,
                free_vram_mib=vram_gib * GIB,
            )
            for index in range(gpus)
        ),
    )


def trace(count: int, seed: int) -> list[Task]:
    """Return ``count`` tasks in the order of their submission."""
    chance = random.Random(seed)
    images = {
        (kind.tags, number): kind.seconds * 3 ** chance.uniform(-1, 1)
        for kind in KINDS
        for number in range(IMAGES_PER_KIND)
    }
    drawn: list[tuple[Kind, int, Needs, str, int]] = []
    while len(drawn) < count:
        kind = chance.choices(KINDS, weights=[kind.share for kind in KINDS])[0]
        # A few people do most of the work.
        owner = f"person-{min(int(chance.paretovariate(1.1)), OWNERS)}"
        one = (kind, chance.randrange(IMAGES_PER_KIND), _needs(kind, chance), owner, chance.choice(KS_MILLI))
        is_array = not kind.is_service and chance.random() < 0.02
        drawn.extend([one] * (chance.randint(15, 50) if is_array else 1))
    del drawn[count:]
    runtimes = [images[kind.tags, number] * chance.lognormvariate(-0.045, 0.3) for kind, number, *_ in drawn]
    span_us = _span_us([needs for _, _, needs, *_ in drawn], runtimes)
    at_us = 0
    tasks = []
    before: object = None
    gap_us = span_us / max(1, sum(one is not other for one, other in pairwise(drawn)))
    for position, (one, seconds) in enumerate(zip(drawn, runtimes, strict=True)):
        kind, number, needs, owner, k_milli = one
        if one is not before:
            # Tenths of the trace in turn bring less and more than the average of 1.
            busy = (0.5, 1.5, 0.75, 1.25, 0.6, 1.6, 0.8, 1.4, 0.7, 1.3)[position * 10 // count]
            at_us += int(chance.expovariate(busy / gap_us))
        before = one
        mean_seconds = images[kind.tags, number]
        tasks.append(
            Task(
                job=Job(
                    job_id=f"task-{position:06}",
                    owner=owner,
                    image=f"registry.example/{kind.tags[0]}-{number}:1",
                    tag=kind.tags[chance.randrange(len(kind.tags))],
                    needs=needs,
                    k_milli=k_milli,
                ),
                submitted_at_us=at_us,
                runtime_us=max(100_000, int(seconds * 1e6)),
                deadline_us=None if kind.is_service else at_us + int(k_milli * mean_seconds * 1000),
            )
        )
    return tasks


def _needs(kind: Kind, chance: random.Random) -> Needs:
    milli_gpu = chance.choice(kind.milli_gpu)
    return Needs(
        millicores=int(chance.choice(kind.cores) * 1000),
        memory_mib=int(chance.choice(kind.memory_gib) * GIB),
        storage_mib=GIB,
        milli_gpu=milli_gpu,
        gpu_vram_mib=chance.choice(kind.vram_gib) * GIB if milli_gpu else 0,
    )


def _span_us(needs: list[Needs], runtimes: list[float]) -> float:
    """Return over how long the tasks come, so that the scarcest resource is offered `OFFERED_LOAD` of what there is."""
    hosts = cluster()
    seconds = max(
        sum(need.millicores * runtime for need, runtime in zip(needs, runtimes, strict=True))
        / sum(host.millicores for host in hosts),
        sum(need.memory_mib * runtime for need, runtime in zip(needs, runtimes, strict=True))
        / sum(host.memory_mib for host in hosts),
        sum(need.milli_gpu * runtime for need, runtime in zip(needs, runtimes, strict=True))
        / sum(WHOLE_MILLI_GPU * len(host.gpus) for host in hosts),
    )
    return seconds / OFFERED_LOAD * 1e6
