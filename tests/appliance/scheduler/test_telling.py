"""Events about tasks: everybody reads them, so they tell nothing that is the owner's business."""

from pathlib import Path

import pytest

from appliance.engines import LaunchFailed
from appliance.jobs import EndReason, JobState

from .scheduler_kit import World, running


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "data")


async def test_events_tell_neither_what_a_task_is_called_nor_what_it_runs(world: World) -> None:
    secrets = {"name": "secret-project", "image": "registry/secret-image", "command": "secret-command"}
    async with running(world) as run:
        first = await run.submit(**secrets, environment={"KEY": "secret-value"})
        attempt = await world.engine.running(first)
        await run.reaches(first, JobState.RUNNING)
        attempt.end(exit_code=3)
        await run.reaches(first, JobState.FAILED)
        world.engine.refuses = LaunchFailed("no image 'registry/secret-image'", reason=EndReason.IMAGE)
        second = await run.submit(**secrets)
        record = await run.reaches(second, JobState.FAILED)
        told = await run.told()
    assert "secret-image" in record.message
    kinds = [event.kind for event in told if event.subject == first]
    assert kinds == ["task.submitted", "task.started", "task.failed"]
    assert f"Task {first} has failed: exit code 3" in [event.message for event in told]
    assert "secret" not in repr(told)
