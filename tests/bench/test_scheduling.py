"""The scheduler on a made-up day: not worse than the others, and every trace is the same for ever."""

from tests.bench.scheduling_policies import Ours, first_fit, round_robin, rts, simulate
from tests.bench.scheduling_trace import SEEDS, cluster, trace


def test_trace_of_a_seed_is_always_the_same() -> None:
    tasks = trace(300, SEEDS[0])
    assert tasks == trace(300, SEEDS[0])
    last = tasks[-1]
    assert (last.job.job_id, last.submitted_at_us, last.runtime_us, last.deadline_us) == (
        "task-000299",
        418_685_509,
        17_967_832,
        473_920_554,
    )


def test_more_tasks_end_in_time_than_with_the_others_and_no_less_is_used() -> None:
    tasks = trace(800, SEEDS[0])
    ours = simulate(tasks, cluster(), Ours())
    for other in (round_robin(), first_fit(), rts(), rts(tick_us=5_000_000)):
        theirs = simulate(tasks, cluster(), other)
        assert ours.sla_hit_rate > theirs.sla_hit_rate, other.name
        assert ours.core_utilisation > theirs.core_utilisation - 0.01, other.name
        assert ours.gpu_utilisation > theirs.gpu_utilisation - 0.01, other.name
