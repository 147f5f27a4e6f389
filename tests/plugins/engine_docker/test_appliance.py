"""A whole appliance with a real engine: a task from its submission to its files, and over a restart."""

from pathlib import Path

import trio

from appliance.jobs import Job, JobState, Needs
from appliance.testing import RunningAppliance, running
from tests.plugins.engine_docker.attempts import PATIENCE_SECONDS
from tests.plugins.engine_docker.daemons import IMAGE, Daemon

COMMAND = "echo begun; while [ ! -e /volumes/gate/open ]; do sleep 0.05; done; echo kept > /output/result; echo done"


async def reached(appliance: RunningAppliance, job_id: str, state: JobState) -> None:
    """Wait until a job is in a state."""
    with trio.fail_after(PATIENCE_SECONDS):
        while (record := appliance.state.scheduler.get(job_id)).state is not state:
            assert not record.state.is_final, record.message
            await trio.sleep(0.05)


async def test_task_goes_on_while_the_appliance_restarts_and_its_log_and_files_are_whole(
    daemon: Daemon, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.mkdir()
    config = f"""
[plugins.engine_docker]
host = "{daemon.url}"
pull = "never"
[scheduler.volumes]
gate = {{ source = "{gate}" }}
"""
    needs = Needs(millicores=100, memory_mib=64)
    job = Job(
        job_id="task-1", owner="", image=IMAGE, command=COMMAND, needs=needs, engine="docker", volumes=("gate:ro",)
    )
    async with running(tmp_path, config=config, engines=None) as appliance:
        await appliance.state.scheduler.submit([job], who="")
        await reached(appliance, "task-1", JobState.RUNNING)
    async with running(tmp_path, config=config, engines=None) as appliance:
        (gate / "open").write_text("")
        await reached(appliance, "task-1", JobState.COMPLETED)
        scheduler = appliance.state.scheduler
        record = scheduler.get("task-1")
        assert [one.number for one in record.attempts] == [1]
        assert [line for _, line, _ in (await scheduler.logs.read("task-1")).lines()] == [b"begun", b"done"]
        assert [one.path for one in await scheduler.files.list_outputs("task-1")] == ["result"]
        with trio.fail_after(PATIENCE_SECONDS):  # it has completed before its container is removed
            while daemon.request("GET", "/containers/json?all=1").json():  # noqa: ASYNC110  the daemon is polled
                await trio.sleep(0.05)
