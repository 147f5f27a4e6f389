"""Jobs that wait for other jobs. A job may only name jobs that are there before it, so there are no cycles."""

from collections.abc import Callable, Sequence

from attrs import define, field, frozen

from appliance.jobs import Dependency, DependencyKind, Job, JobState


def refuse(jobs: Sequence[Job], exists: Callable[[str], bool]) -> str | None:
    """Return in words why jobs submitted together name others that they may not; ``None`` when all is well.

    Each may depend on jobs that ``exists`` knows and on those before it in ``jobs``, once on each, not on itself.
    """
    before: set[str] = set()
    for job in jobs:
        named: set[str] = set()
        for dependency in job.dependencies:
            if dependency.job_id in named:
                return f"job {job.job_id!r} depends on {dependency.job_id!r} twice"
            if dependency.job_id == job.job_id:
                return f"job {job.job_id!r} depends on itself"
            if dependency.job_id not in before and not exists(dependency.job_id):
                return f"job {job.job_id!r} depends on {dependency.job_id!r}, and there is no such job"
            named.add(dependency.job_id)
        before.add(job.job_id)
    return None


@frozen(kw_only=True)
class Released:
    """What the end of a job, or the arrival of one, decides about others."""

    ready: tuple[str, ...] = ()
    """Jobs that wait for no other any more."""
    doomed: tuple[tuple[str, Dependency, JobState], ...] = ()
    """Jobs that can never run: the one it depends on, as it ended. Fail each, and tell `ended` of each in turn."""


@define
class Dependencies:
    """Who waits for whom."""

    _missing: dict[str, dict[str, Dependency]] = field(factory=dict, init=False)
    """By waiting job: what it waits for, by id."""
    _waiting_for: dict[str, dict[str, None]] = field(factory=dict, init=False)
    """The other way round, in the order in which they came."""

    def add(self, job: Job, state_of: Callable[[str], JobState | None]) -> Released:
        """Let a job wait for what it depends on; it is in the answer if that is decided already.

        :param state_of: ``None`` for a job that is forgotten; that one counts as failed.
        """
        missing = {}
        for dependency in job.dependencies:
            state = state_of(dependency.job_id)
            state = JobState.FAILED if state is None else state
            if not state.is_final:
                missing[dependency.job_id] = dependency
            elif not _is_met(dependency, state):
                return Released(doomed=((job.job_id, dependency, state),))
        if not missing:
            return Released(ready=(job.job_id,))
        self._missing[job.job_id] = missing
        for other_id in missing:
            self._waiting_for.setdefault(other_id, {})[job.job_id] = None
        return Released()

    def ended(self, job_id: str, state: JobState) -> Released:
        """Tell that a job has ended for good; a second time changes nothing."""
        self.forget(job_id)
        ready: list[str] = []
        doomed: list[tuple[str, Dependency, JobState]] = []
        for waiting_id in self._waiting_for.pop(job_id, {}):
            missing = self._missing[waiting_id]
            dependency = missing.pop(job_id)
            if not _is_met(dependency, state):
                self.forget(waiting_id)
                doomed.append((waiting_id, dependency, state))
            elif not missing:
                del self._missing[waiting_id]
                ready.append(waiting_id)
        return Released(ready=tuple(ready), doomed=tuple(doomed))

    def forget(self, job_id: str) -> None:
        """Let a job wait no more: it was cancelled or timed out."""
        for other_id in self._missing.pop(job_id, {}):
            others = self._waiting_for[other_id]
            del others[job_id]
            if not others:
                del self._waiting_for[other_id]

    def missing(self, job_id: str) -> tuple[Dependency, ...]:
        """Return what a job still waits for; empty when it does not wait."""
        return tuple(self._missing.get(job_id, {}).values())


def _is_met(dependency: Dependency, state: JobState) -> bool:
    return dependency.kind is DependencyKind.AFTER_ANY or state is JobState.COMPLETED
