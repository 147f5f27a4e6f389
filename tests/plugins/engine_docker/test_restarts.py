"""The engine is killed under a running attempt, and comes back."""

from contextlib import aclosing

import pytest
import trio

from appliance.engines import EngineLost, LogChunk
from appliance.jobs import EndReason
from plugins.engine_docker.engine import DockerEngine
from tests.plugins.engine_docker.attempts import PATIENCE_SECONDS, ended, launch, output, silent
from tests.plugins.engine_docker.daemons import Daemon

# Docker asks to end before it kills, and gives ten seconds for it.
COUNTING = "trap 'exit 143' TERM; i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i; sleep 0.01; done"


async def test_attempt_outlives_its_engine_or_ends_with_a_word_and_no_line_is_lost(
    engine: DockerEngine, daemon: Daemon
) -> None:
    await engine.start(launch("task-1.1", COUNTING), silent)
    taken: list[LogChunk] = []

    async def read_until_lost() -> None:
        async with aclosing(engine.logs("task-1.1", skip={})) as chunks:
            async for chunk in chunks:
                taken.append(chunk)
                if len(taken) == 3:
                    await trio.to_thread.run_sync(daemon.kill)

    with pytest.raises(EngineLost), trio.fail_after(PATIENCE_SECONDS):
        await read_until_lost()
    with pytest.raises(EngineLost):
        await engine.wait("task-1.1")
    with pytest.raises(EngineLost):
        await engine.found()
    await trio.to_thread.run_sync(daemon.start)
    first = b"".join(chunk.data for chunk in taken)
    if daemon.kind == "podman":
        # Its containers do not notice: each has a keeper of its own.
        assert [one.is_running for one in await engine.found()] == [True]
        await engine.stop("task-1.1", grace_seconds=0)
    verdict = await ended(engine, "task-1.1")
    # Docker ends what it finds running when it comes back, and remembers no more than the exit code.
    reason = EndReason.EXIT if daemon.kind == "podman" else EndReason.ENGINE_LOST
    assert verdict.exit_code in (137, 143)
    assert verdict.reason is reason
    rest, _ = await output(engine, "task-1.1", stdout=len(first))
    lines = (first + rest).decode().splitlines()
    assert len(lines) > 3
    assert lines == [f"line {number}" for number in range(1, len(lines) + 1)]
