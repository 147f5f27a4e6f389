"""How long jobs take: tau per tag and image, learned from those that completed."""

from collections.abc import Iterable, Mapping
from typing import Final

from attrs import define, field, frozen

from appliance.jobs import SECONDS_MAX, WHOLE_MILLI_GPU, Job, Needs

LEARN_FROM: Final = 0.2
"""Share of the newest runtime in the learned one."""
ROWS_MAX: Final = 10_000
"""Pairs of tag and image that are kept; the one that was not learned for longest goes first."""


CLASS_SECONDS: Final = {
    "cpu-light": 5.0,
    "cpu-heavy": 15.0,
    "memory-heavy": 20.0,
    "gpu-inference": 10.0,
    "gpu-training": 60.0,
    "mixed": 10.0,
}
"""What jobs of a class are expected to take until something is learned: the figures of document 002's scheduler."""
TAG_CLASSES: Final = {
    "web-server": "cpu-light",
    "api-service": "cpu-light",
    "background-task": "cpu-light",
    "memory-light": "cpu-light",
    "data-processing": "memory-heavy",
    "batch-job": "mixed",
    "gpu-heavy": "gpu-inference",
    **{name: name for name in CLASS_SECONDS},
}
SERVICE_TAGS: Final = frozenset({"web-server", "api-service"})
SECONDS_LEAST: Final = 0.001


@frozen(kw_only=True)
class Expected:
    """What is expected of a job."""

    job_class: str
    """A key of `CLASS_SECONDS`."""
    is_service: bool
    """Runs until it is stopped: has no deadline, and nobody knows its end."""
    tau_seconds: float
    observations: int
    """How many completions it is learned from; 0 is the default of the class."""

    def deadline_unix_us(self, job: Job, *, submitted_at_unix_us: int) -> int:
        """Return by when the job should have ended: k * tau after its submission."""
        return submitted_at_unix_us + int(job.k_milli * self.tau_seconds * 1000)

    def end_after_seconds(self, job: Job) -> float | None:
        """Return how long an attempt is expected to run, no longer than its time limit; ``None``: nobody knows."""
        known = None if self.is_service else self.tau_seconds
        if known is None or job.timeout_seconds is None:
            return job.timeout_seconds if known is None else known
        return min(known, job.timeout_seconds)


@frozen(kw_only=True)
class Runtime:
    """What was learned of one tag and image, as it is stored and shown."""

    tag: str
    image: str
    job_class: str
    tau_seconds: float
    observations: int
    learned_at_unix_us: int
    host_seconds: Mapping[str, float] = field(factory=dict)
    """The same per host, learned where it ran."""

    def affinity(self, host_id: str) -> float:
        """Return how much faster than on average it runs on a host: 2.0 in half the time, 1.0 when nobody knows."""
        return self.tau_seconds / self.host_seconds.get(host_id, self.tau_seconds)


def job_class(tag: str, needs: Needs) -> str:
    """Return the class of a job by its tag, or by its needs when the tag says nothing."""
    if tag == "ml-training":
        return "gpu-training" if needs.milli_gpu else "cpu-heavy"
    return TAG_CLASSES.get(tag) or _class_of_needs(needs)


def _class_of_needs(needs: Needs) -> str:
    """Return the class as document 002's scheduler infers it."""
    if needs.milli_gpu > 2 * WHOLE_MILLI_GPU and needs.millicores > 4000:
        return "gpu-training"
    if needs.milli_gpu:
        return "gpu-inference"
    if needs.memory_mib > 8 * 1024:
        return "memory-heavy"
    if needs.millicores > 4000:
        return "cpu-heavy"
    return "cpu-light" if needs.millicores else "mixed"


@define
class Runtimes:
    """The table of learned runtimes, bounded; ordered by when they were learned last."""

    _learned: dict[tuple[str, str], Runtime] = field(factory=dict, init=False)

    def expected(self, job: Job) -> Expected:
        """Return what is expected of a job now."""
        known = self._learned.get((job.tag, job.image))
        of_class = job_class(job.tag, job.needs)
        return Expected(
            job_class=of_class,
            is_service=job.tag in SERVICE_TAGS,
            tau_seconds=CLASS_SECONDS[of_class] if known is None else known.tau_seconds,
            observations=0 if known is None else known.observations,
        )

    def learn(self, job: Job, seconds: float, *, now_unix_us: int, host_id: str = "") -> Runtime:
        """Learn from an attempt that completed with exit code 0; return the row to store.

        The default of the class counts as the runtime before the first.
        """
        seconds = min(max(seconds, SECONDS_LEAST), float(SECONDS_MAX))
        expected = self.expected(job)
        tau = LEARN_FROM * seconds + (1 - LEARN_FROM) * expected.tau_seconds
        known = self._learned.pop((job.tag, job.image), None)
        on_hosts = dict(known.host_seconds) if known is not None else {}
        if host_id:
            on_hosts[host_id] = LEARN_FROM * seconds + (1 - LEARN_FROM) * on_hosts.get(host_id, expected.tau_seconds)
        row = Runtime(
            tag=job.tag,
            image=job.image,
            job_class=expected.job_class,
            tau_seconds=tau,
            observations=expected.observations + 1,
            learned_at_unix_us=now_unix_us,
            host_seconds=on_hosts,
        )
        # Popped and set again, so that the first of the table is the one learned longest ago.
        self._learned[job.tag, job.image] = row
        if len(self._learned) > ROWS_MAX:
            del self._learned[next(iter(self._learned))]
        return row

    def rows(self) -> list[Runtime]:
        """Return all that was learned, the newest first."""
        return list(reversed(self._learned.values()))

    @classmethod
    def restored(cls, rows: Iterable[Runtime]) -> "Runtimes":
        """Return what was stored."""
        table = cls()
        newest = sorted(rows, key=lambda row: (row.learned_at_unix_us, row.tag, row.image))[-ROWS_MAX:]
        table._learned = {(row.tag, row.image): row for row in newest}
        return table
