"""Nobody is there, and next to nothing happens."""

from collections import Counter
from pathlib import Path

import trio
from trio.testing import MockClock

from appliance.testing import running, scripted_gpus

WATCHED_SECONDS = 100
STEPS_PER_SECOND_MAX = 2.5
"""A look each second, and what it waits for on the way."""


class Steps(trio.abc.Instrument):
    """Counts how often each task runs on."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.of[task.name] += 1


async def test_no_service_wakes_more_than_once_a_second_while_nobody_is_there(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    # With a GPU, which gpu_sharing makes a worker of that nobody has given a command.
    async with running(tmp_path, inline=True, backends=[scripted_gpus(1)]):
        await trio.sleep(20)  # what a start still has to finish is no idle cost
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        await trio.sleep(WATCHED_SECONDS)
        trio.lowlevel.remove_instrument(steps)
    assert steps.of["build_swarm: swarm"] > WATCHED_SECONDS / 2
    often = {name: count for name, count in steps.of.items() if count > STEPS_PER_SECOND_MAX * WATCHED_SECONDS}
    assert not often
