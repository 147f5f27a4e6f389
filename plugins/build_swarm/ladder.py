"""What self-healing does next to a drone: pure rules over what probes found.

Four steps, one after another: restart the drone's service; kill and start it; reboot the machine; tell people. A step
follows when at least so many probes in a row have failed, over at least so long. It counts whether its command worked
or not: a machine that cannot be entered gets to the last step as well. After a step that worked, the drone has to fail
as long again before the next one; after one that did not, the next follows as soon as it has been left alone for a
while and fails once more. A healthy probe ends all of it.

Only containers and virtual machines are rebooted, never a protected address, nor a drone that says
``auto_reboot: false``: for these, the last step follows the second. Paused drones are let be. A drone that no probe
reaches, but whose heartbeats come, does not count as failing: that is a matter of the way to it, and only told.

Moments (``_us``) are of a clock that never jumps.
"""

from enum import IntEnum
from typing import Final

from attrs import evolve, frozen

from .probing import ANSWERED, Status

US: Final = 1_000_000
REBOOTED: Final = frozenset({"lxc", "qemu"})
WAIT_MAX_US: Final = 3600 * US


class Step(IntEnum):
    """What is done, by the level that it leads to."""

    RESTART = 1
    KILL = 2
    REBOOT = 3
    ALERT = 4

    @property
    def words(self) -> str:
        """The step in words for people."""
        return _STEP_WORDS[self]


_STEP_WORDS: Final = {
    Step.RESTART: "restart of its service",
    Step.KILL: "kill and start of its service",
    Step.REBOOT: "reboot",
    Step.ALERT: "alert",
}
LEVEL_MAX: Final = int(Step.ALERT)


@frozen(kw_only=True)
class LadderRules:
    """Numbers of the ladder."""

    failed_probes: int = 3
    failed_us: int = 180 * US
    silence_us: int = 120 * US
    warn_us: int = 300 * US
    restart_wait_us: int = 30 * US
    reboot_wait_us: int = 120 * US
    disk_warn_percent: float = 90.0

    def wait_us(self, step: Step) -> int:
        """Return for how long a drone is left alone after a step."""
        match step:
            case Step.REBOOT:
                return self.reboot_wait_us
            case Step.ALERT:
                return 0
            case _:
                return self.restart_wait_us


@frozen(kw_only=True)
class Patient:
    """A drone, as far as the ladder has to know it."""

    drone_type: str = "unknown"
    is_protected: bool = False
    """Whether an operator has said that it is never rebooted."""
    auto_reboot: bool = True
    """``False`` where the drone itself says so."""
    is_paused: bool = False
    heartbeat_age_us: int | None = None
    """``None``: none has come."""

    @property
    def no_reboot(self) -> str:
        """Why it must not be rebooted; empty when it may."""
        if self.drone_type not in REBOOTED:
            return f"its type is {self.drone_type}"
        if self.is_protected:
            return "it is protected"
        return "" if self.auto_reboot else "it says auto_reboot: false"


@frozen(kw_only=True)
class Trouble:
    """What is remembered of a drone that fails, or has."""

    level: int = 0
    """The last step that was taken, 0 for none."""
    attempts: int = 0
    """Steps taken since it was well, by hand and for grounding too."""
    failed_probes: int = 0
    first_failed_us: int = 0
    """Of the failed probes that count; 0 for none."""
    first_failed_unix_us: int | None = None
    waits_until_us: int = 0
    """It is left alone until then."""
    warned_us: int | None = None
    last_action: str = ""
    last_status: str = ""
    """Of the newest probe that counted."""
    last_step_unix_us: int | None = None

    @property
    def is_clear(self) -> bool:
        """Whether nothing is wrong, as far as is known."""
        return self.level == 0 and self.failed_probes == 0 and self.attempts == 0


CLEAR: Final = Trouble()


@frozen(kw_only=True)
class Verdict:
    """What follows from a probe."""

    trouble: Trouble
    step: Step | None = None
    """To be taken now; `after_step` says what follows from it."""
    reason: str = ""
    """Why that step, in words."""
    warning: str = ""
    """To be told, and nothing more."""
    is_healed: bool = False
    """Whether a drone to which steps were taken is well again."""


def after_probe(
    trouble: Trouble,
    status: Status,
    patient: Patient,
    rules: LadderRules,
    *,
    now_us: int,
    now_unix_us: int,
    disk_percent: float | None = None,
    error: str = "",
) -> Verdict:
    """Return what a probe means.

    :param status: what the probe found.
    :param disk_percent: used, where it was answered: a disk that fills up is warned about, and no step is taken.
    :param error: what went wrong, for people.
    """
    if patient.is_paused:
        return Verdict(trouble=trouble)
    if status == "ok":
        return _healthy(trouble, rules, now_us, disk_percent)
    if status not in ANSWERED and _beats(patient, rules):
        text = f"heartbeats come, but it cannot be probed: {error or status}"
        return _warned(trouble, rules, now_us, text)
    if now_us < trouble.waits_until_us:
        return Verdict(trouble=trouble)
    is_first = trouble.failed_probes == 0 or not trouble.first_failed_us
    trouble = evolve(
        trouble,
        failed_probes=trouble.failed_probes + 1,
        first_failed_us=now_us if is_first else trouble.first_failed_us,
        first_failed_unix_us=now_unix_us if is_first else trouble.first_failed_unix_us,
        last_status=status,
    )
    is_due = trouble.failed_probes >= rules.failed_probes and now_us - trouble.first_failed_us >= rules.failed_us
    if not is_due or trouble.level >= LEVEL_MAX:
        return Verdict(trouble=trouble)
    step, reason = next_step(trouble, patient)
    said = f"{trouble.failed_probes} probes in a row failed ({status}{f': {error}' if error else ''})"
    return Verdict(trouble=trouble, step=step, reason=f"{said}{'; ' if reason else ''}{reason}")


def next_step(trouble: Trouble, patient: Patient) -> tuple[Step, str]:
    """Return the step after the last one, and why one was left out."""
    step = Step(min(trouble.level + 1, LEVEL_MAX))
    if step is Step.REBOOT and patient.no_reboot:
        return Step.ALERT, f"it is not rebooted, because {patient.no_reboot}"
    return step, ""


def after_step(
    trouble: Trouble, step: Step, *, action: str, has_worked: bool, rules: LadderRules, now_us: int, now_unix_us: int
) -> Trouble:
    """Return what is remembered once a step was taken, whether its command worked or not.

    :param action: what was done, and how it went, in words.
    """
    if has_worked and step is not Step.ALERT:
        trouble = evolve(trouble, failed_probes=0, first_failed_us=0, first_failed_unix_us=None)
    return evolve(
        trouble,
        level=int(step),
        attempts=trouble.attempts + 1,
        waits_until_us=now_us + rules.wait_us(step),
        last_action=action,
        last_step_unix_us=now_unix_us,
    )


def for_grounding(groundings: int, patient: Patient) -> tuple[Step, str]:
    """Return what is done to a drone that fails package after package: a restart first, a reboot from then on.

    :param groundings: how often in a row it was grounded, this time included.
    :return: the step, and why it is no reboot where it would be one.
    """
    if groundings <= 1:
        return Step.RESTART, ""
    return (Step.REBOOT, "") if not patient.no_reboot else (Step.RESTART, f"no reboot, because {patient.no_reboot}")


def after_grounding(
    trouble: Trouble, step: Step, *, action: str, rules: LadderRules, now_us: int, now_unix_us: int
) -> Trouble:
    """Return what is remembered of a step that was taken because of grounding: it is no rung of the ladder."""
    return evolve(
        trouble,
        attempts=trouble.attempts + 1,
        waits_until_us=max(trouble.waits_until_us, now_us + rules.wait_us(step)),
        last_action=action,
        last_step_unix_us=now_unix_us,
    )


def restored(trouble: Trouble, *, now_us: int) -> Trouble:
    """Return what was remembered before a start, held to what can be: clocks may have been set meanwhile."""
    return evolve(
        trouble,
        first_failed_us=min(trouble.first_failed_us, now_us),
        waits_until_us=min(trouble.waits_until_us, now_us + WAIT_MAX_US),
        warned_us=None if trouble.warned_us is None else min(trouble.warned_us, now_us),
    )


def _beats(patient: Patient, rules: LadderRules) -> bool:
    return patient.heartbeat_age_us is not None and patient.heartbeat_age_us < rules.silence_us


def _healthy(trouble: Trouble, rules: LadderRules, now_us: int, disk_percent: float | None) -> Verdict:
    well = evolve(CLEAR, warned_us=trouble.warned_us)
    if trouble.level > 0:
        return Verdict(trouble=well, is_healed=True)
    if disk_percent is not None and disk_percent > rules.disk_warn_percent:
        return _warned(well, rules, now_us, f"its disk is {disk_percent:g} % full")
    return Verdict(trouble=well)


def _warned(trouble: Trouble, rules: LadderRules, now_us: int, text: str) -> Verdict:
    if trouble.warned_us is not None and now_us - trouble.warned_us < rules.warn_us:
        return Verdict(trouble=trouble)
    return Verdict(trouble=evolve(trouble, warned_us=now_us), warning=text)
