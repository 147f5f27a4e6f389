"""What self-healing does next: pure rules."""

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from plugins.build_swarm.ladder import (
    CLEAR,
    REBOOTED,
    US,
    LadderRules,
    Patient,
    Step,
    Trouble,
    Verdict,
    after_grounding,
    after_probe,
    after_step,
    for_grounding,
    next_step,
    restored,
)
from plugins.build_swarm.probing import Status

RULES = LadderRules()
LXC = Patient(drone_type="lxc")
START_US = 1_000_000 * US


class Story:
    """A drone over time: probed every 30 s, each step taken at once."""

    def __init__(self, patient: Patient = LXC, *, works: bool = True) -> None:
        self.patient, self.works = patient, works
        self.trouble = CLEAR
        self.now_us = START_US
        self.steps: list[tuple[int, Step]] = []
        """Seconds since the start, and the step."""
        self.warnings: list[str] = []
        self.healed = 0

    def probe(self, status: Status = "unreachable", **more: Any) -> Verdict:
        verdict = after_probe(
            self.trouble,
            status,
            more.pop("patient", self.patient),
            RULES,
            now_us=self.now_us,
            now_unix_us=self.now_us,
            **more,
        )
        self.trouble = verdict.trouble
        self.healed += verdict.is_healed
        if verdict.warning:
            self.warnings.append(verdict.warning)
        if verdict.step is not None:
            self.steps.append(((self.now_us - START_US) // US, verdict.step))
            self.trouble = after_step(
                self.trouble,
                verdict.step,
                action="done",
                has_worked=self.works,
                rules=RULES,
                now_us=self.now_us,
                now_unix_us=self.now_us,
            )
        self.now_us += 30 * US
        return verdict

    def fails(self, probes: int, status: Status = "unreachable") -> "Story":
        for _ in range(probes):
            self.probe(status)
        return self


def test_nothing_is_done_before_three_probes_and_three_minutes_of_failing() -> None:
    story = Story().fails(6)
    assert story.steps == []
    assert story.fails(1).steps == [(180, Step.RESTART)]


def test_three_minutes_alone_do_not_suffice_where_only_two_probes_failed() -> None:
    story = Story().fails(1)
    story.now_us += 600 * US
    assert story.fails(1).steps == []
    assert [step for _, step in story.fails(1).steps] == [Step.RESTART]


def test_dead_machine_gets_to_the_last_step_although_no_command_works() -> None:
    story = Story(works=False).fails(20)
    assert story.steps == [(180, Step.RESTART), (210, Step.KILL), (240, Step.REBOOT), (360, Step.ALERT)]
    assert story.trouble.level == 4
    assert story.trouble.attempts == 4


def test_drone_has_to_fail_as_long_again_after_a_step_that_worked() -> None:
    # 30 s of rest after restarts, 120 s after the reboot, then 180 s of failing each time.
    story = Story().fails(60)
    assert story.steps == [(180, Step.RESTART), (390, Step.KILL), (600, Step.REBOOT), (900, Step.ALERT)]


def test_people_are_told_once() -> None:
    assert [step for _, step in Story(works=False).fails(500).steps].count(Step.ALERT) == 1


@pytest.mark.parametrize("status", ["service_down", "overloaded", "disk_full", "memory_full", "timeout", "error"])
def test_every_way_to_fail_climbs_the_ladder(status: Status) -> None:
    assert [step for _, step in Story().fails(7, status).steps] == [Step.RESTART]


@pytest.mark.parametrize(
    ("patient", "why"),
    [
        (Patient(drone_type="bare-metal"), "its type is bare-metal"),
        (Patient(drone_type="unknown"), "its type is unknown"),
        (Patient(drone_type="lxc", is_protected=True), "it is protected"),
        (Patient(drone_type="qemu", auto_reboot=False), "it says auto_reboot: false"),
    ],
)
def test_machine_that_must_not_be_rebooted_gets_the_last_step_instead(patient: Patient, why: str) -> None:
    assert [step for _, step in Story(patient, works=False).fails(30).steps] == [Step.RESTART, Step.KILL, Step.ALERT]
    assert next_step(Trouble(level=2), patient) == (Step.ALERT, f"it is not rebooted, because {why}")


def test_drone_whose_heartbeats_come_is_warned_about_and_not_healed_where_no_probe_reaches_it() -> None:
    story = Story(evolve(LXC, heartbeat_age_us=119 * US)).fails(40)
    assert story.steps == []
    assert story.trouble.failed_probes == 0
    assert len(story.warnings) == 4  # in 1,170 s, at most one in 300 s
    assert story.warnings[0] == "heartbeats come, but it cannot be probed: unreachable"


def test_drone_that_answers_badly_is_healed_although_its_heartbeats_come() -> None:
    assert Story(evolve(LXC, heartbeat_age_us=0)).fails(7, "service_down").steps


def test_drone_is_silent_once_its_last_heartbeat_is_two_minutes_old() -> None:
    assert Story(evolve(LXC, heartbeat_age_us=120 * US)).fails(7).steps


def test_paused_drone_is_let_be() -> None:
    story = Story(evolve(LXC, is_paused=True)).fails(50)
    assert (story.steps, story.trouble) == ([], CLEAR)


def test_healthy_probe_ends_the_trouble_and_is_told_only_after_a_step() -> None:
    story = Story().fails(3)
    story.probe("ok")
    assert (story.trouble, story.healed) == (CLEAR, 0)
    story.fails(7)
    assert story.steps
    story.probe("ok")
    assert (story.trouble, story.healed) == (CLEAR, 1)
    story.probe("ok")
    assert story.healed == 1


def test_one_healthy_probe_begins_the_count_anew() -> None:
    story = Story()
    for _ in range(20):
        story.fails(6)
        story.probe("ok")
    assert story.steps == []


def test_disk_that_fills_up_is_warned_about_and_never_healed() -> None:
    story = Story()
    for _ in range(30):
        story.probe("ok", disk_percent=93)
    assert story.steps == []
    assert story.warnings == ["its disk is 93 % full"] * 3
    story.now_us += 300 * US
    assert not story.probe("ok", disk_percent=90).warning


def test_grounded_drone_is_restarted_first_and_rebooted_from_the_second_time_on() -> None:
    assert for_grounding(1, LXC) == (Step.RESTART, "")
    assert for_grounding(2, LXC) == (Step.REBOOT, "")
    assert for_grounding(2, Patient(drone_type="bare-metal")) == (
        Step.RESTART,
        "no reboot, because its type is bare-metal",
    )


def test_grounding_moves_no_rung_and_leaves_the_drone_alone_for_a_while() -> None:
    trouble = after_grounding(CLEAR, Step.REBOOT, action="reboot done", rules=RULES, now_us=START_US, now_unix_us=5)
    assert (trouble.level, trouble.attempts, trouble.waits_until_us) == (0, 1, START_US + 120 * US)
    verdict = after_probe(trouble, "unreachable", LXC, RULES, now_us=START_US + 119 * US, now_unix_us=5)
    assert verdict.trouble.failed_probes == 0


def test_moments_of_a_clock_that_was_set_back_hold_nothing_up() -> None:
    kept = Trouble(
        level=2, failed_probes=3, first_failed_us=9 * START_US, waits_until_us=9 * START_US, warned_us=9 * START_US
    )
    found = restored(kept, now_us=START_US)
    assert found.first_failed_us == START_US
    assert found.waits_until_us <= START_US + 3600 * US
    assert found.warned_us == START_US


STATUSES = st.sampled_from(
    ["ok", "service_down", "overloaded", "disk_full", "memory_full", "timeout", "unreachable", "error"]
)
PATIENTS = st.builds(
    Patient,
    drone_type=st.sampled_from(["lxc", "qemu", "bare-metal", "unknown"]),
    is_protected=st.booleans(),
    auto_reboot=st.booleans(),
    is_paused=st.booleans(),
    heartbeat_age_us=st.none() | st.integers(0, 400 * US),
)
MOMENTS = st.lists(st.tuples(st.integers(0, 300), STATUSES, PATIENTS, st.booleans()), max_size=60)


@given(moments=MOMENTS)
def test_steps_come_in_order_in_time_and_never_to_who_must_not_have_them(
    moments: list[tuple[int, Status, Patient, bool]],
) -> None:
    trouble, now_us = CLEAR, START_US
    failing_since: int | None = None
    failed, alone_until = 0, 0
    for wait_s, status, patient, works in moments:
        now_us += wait_s * US
        before = trouble
        verdict = after_probe(trouble, status, patient, RULES, now_us=now_us, now_unix_us=now_us)
        trouble = verdict.trouble
        if patient.is_paused:
            assert verdict == Verdict(trouble=before)
            continue
        if status == "ok":
            assert verdict.step is None
            assert trouble.is_clear
            failing_since, failed = None, 0
            continue
        failed += 1
        failing_since = now_us if failing_since is None else failing_since
        if verdict.step is None:
            assert trouble.level == before.level
            continue
        assert verdict.reason
        assert verdict.step > before.level
        assert verdict.step - before.level == 1 or (before.level == 2 and verdict.step is Step.ALERT)
        assert failed >= 3
        assert now_us - failing_since >= 180 * US
        assert now_us >= alone_until
        if verdict.step is Step.REBOOT:
            assert patient.drone_type in REBOOTED
            assert not patient.is_protected
            assert patient.auto_reboot
        trouble = after_step(
            trouble, verdict.step, action="x", has_worked=works, rules=RULES, now_us=now_us, now_unix_us=now_us
        )
        alone_until = now_us + RULES.wait_us(verdict.step)
        if works:
            failing_since, failed = None, 0
