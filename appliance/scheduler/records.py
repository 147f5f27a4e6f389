"""A job as it stands: what was asked for, its state, its attempts."""

from enum import IntEnum

from attrs import frozen

from appliance.jobs import Attempt, EndReason, Job, JobState, Placement


class Phase(IntEnum):
    """How far an attempt has come; each step is stored before the next is taken, so that a crash loses none."""

    PLACED = 0
    """Its container may be there or not: starting it again is safe."""
    RUNNING = 1
    """Was started, and is never started again."""
    ENDED = 2
    """Its end is known, and nothing is held any more."""
    SETTLED = 3
    """Its files are kept, and the job has its next state."""
    CLOSED = 4
    """Nothing is left of it at its engine."""


@frozen(kw_only=True)
class JobRecord:
    """A job as it stands."""

    number: int
    """Rises with submission: the place of the job in lists."""
    job: Job
    state: JobState
    submitted_by: str
    """Name of who submitted it."""
    submitted_at_unix_us: int
    deadline_unix_us: int
    """By when it should have ended: submitted + k * expected runtime."""
    expected_seconds: float | None
    """How long it was expected to run when it was submitted; ``None`` when nobody knew."""
    eligible_at_unix_us: int = 0
    """Before that no attempt is made: the back-off after the last one."""
    is_held: bool = False
    """Waits until it is released."""
    attempts: tuple[Attempt, ...] = ()
    """Oldest first."""
    stop_reason: EndReason | None = None
    """Why its attempt was asked to end; ``None`` while nobody has asked."""
    stop_message: str = ""
    reason: EndReason | None = None
    """Why it ended, once it has."""
    message: str = ""
    """How it ended, or what happened last, in words."""
    ended_at_unix_us: int | None = None
    retried_by: str = ""
    """The job that tries it again; empty when there is none."""

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.job.job_id

    @property
    def newest(self) -> Attempt | None:
        """The newest attempt; ``None`` before the first."""
        return self.attempts[-1] if self.attempts else None

    @property
    def placement(self) -> Placement | None:
        """Where its newest attempt runs or ran; ``None`` before the first."""
        return self.attempts[-1].placement if self.attempts else None

    @property
    def assigned_at_unix_us(self) -> int | None:
        """When its newest attempt was placed."""
        return self.attempts[-1].assigned_at_unix_us if self.attempts else None

    @property
    def started_at_unix_us(self) -> int | None:
        """When the command of its newest attempt began to run."""
        return self.attempts[-1].started_at_unix_us if self.attempts else None

    @property
    def exit_code(self) -> int | None:
        """The exit code of its newest attempt; ``None`` while it runs, and when nobody knows it."""
        return self.attempts[-1].exit_code if self.attempts else None
