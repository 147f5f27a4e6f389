"""The scheduler in figures, for ``/metrics``: how many wait and run, how attempts end, how long placing takes."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping

from attrs import define, field

from appliance.jobs import EndReason, JobState
from appliance.prometheus import escaped
from appliance.scheduler.records import JobRecord

BUCKETS_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 3600.0)


@define(eq=False)
class _Histogram:
    count: int = 0
    seconds: float = 0.0
    buckets: list[int] = field(factory=lambda: [0] * (len(BUCKETS_SECONDS) + 1))

    def observe(self, seconds: float) -> None:
        self.count += 1
        self.seconds += seconds
        self.buckets[bisect_left(BUCKETS_SECONDS, seconds)] += 1

    def lines(self, name: str, words: str) -> list[str]:
        lines = [f"# HELP {name} {words}", f"# TYPE {name} histogram"]
        total = 0
        for bound, count in zip((*BUCKETS_SECONDS, "+Inf"), self.buckets, strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {total}')
        return [*lines, f"{name}_sum {self.seconds:.6f}", f"{name}_count {self.count}"]


@define(eq=False)
class Figures:
    """Counters of this process; they start at zero with it."""

    submitted: int = 0
    passes: int = 0
    decided_seconds: float = 0.0
    """Spent in deciding."""
    _waited: _Histogram = field(factory=_Histogram)
    _ends: Counter[tuple[str, str]] = field(factory=Counter)

    def placed(self, record: JobRecord) -> None:
        """Take note of an attempt that was just placed."""
        newest = record.attempts[-1]
        since = max(record.submitted_at_unix_us, record.eligible_at_unix_us, record.job.not_before_unix_us)
        self._waited.observe(max(0, newest.assigned_at_unix_us - since) / 1_000_000)

    def ended(self, engine: str, reason: EndReason | None, exit_code: int | None) -> None:
        """Take note of the end of an attempt."""
        words = "completed" if reason == EndReason.EXIT and exit_code == 0 else (reason or EndReason.EXIT).value
        self._ends[engine, words] += 1

    def prometheus(self, counts: Mapping[JobState, int]) -> str:
        """Return the section of ``/metrics``."""
        name = "appliance_tasks"
        lines = [f"# HELP {name} Tasks that have not ended, by state.", f"# TYPE {name} gauge"]
        lines += [f'{name}{{state="{state.value}"}} {count}' for state, count in counts.items()]
        lines += [
            "# HELP appliance_tasks_submitted_total Tasks taken.",
            "# TYPE appliance_tasks_submitted_total counter",
            f"appliance_tasks_submitted_total {self.submitted}",
            "# HELP appliance_task_decisions_total Times the scheduler looked who can start.",
            "# TYPE appliance_task_decisions_total counter",
            f"appliance_task_decisions_total {self.passes}",
            "# HELP appliance_task_decisions_seconds_total Time spent in that.",
            "# TYPE appliance_task_decisions_seconds_total counter",
            f"appliance_task_decisions_seconds_total {self.decided_seconds:.6f}",
        ]
        if self._ends:
            name = "appliance_task_attempts_total"
            lines += [f"# HELP {name} Attempts that have ended.", f"# TYPE {name} counter"]
            lines += [
                f'{name}{{engine="{escaped(engine)}",end="{end}"}} {count}'
                for (engine, end), count in sorted(self._ends.items())
            ]
        if self._waited.count:
            lines += self._waited.lines(
                "appliance_task_wait_seconds", "Time from when a task could start to its placement."
            )
        return "\n".join(lines) + "\n"
