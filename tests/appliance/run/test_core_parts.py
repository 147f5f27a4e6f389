"""Core's parts in a whole appliance: where they keep what they keep."""

from pathlib import Path

import pytest

from appliance.data_folder import FolderRefused
from appliance.jobs import EndReason, Job
from appliance.testing import ScriptedEngine, running, until


async def test_files_of_tasks_lie_where_the_variable_of_the_system_before_says(tmp_path: Path) -> None:
    folder, engine = tmp_path / "elsewhere" / "files", ScriptedEngine()
    async with running(tmp_path, engines=[engine], environment={"CLOUDAI_FILES_DIR": str(folder)}) as appliance:
        scheduler = appliance.state.scheduler
        await scheduler.submit([Job(job_id="task-1", owner="", image="bb:1")], who="ana")
        await until(lambda: scheduler.get("task-1").state == "running")
        await scheduler.cancel("task-1", who="ana")
        await until(lambda: scheduler.get("task-1").state.is_final)
        assert scheduler.get("task-1").reason == EndReason.CANCELLED
        assert (folder / "task-1").is_dir()
        assert list((appliance.data_dir / "files").iterdir()) == []
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o755, 0o777])
async def test_folder_for_files_of_tasks_that_others_can_read_refuses_the_start(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(FolderRefused, match="open to other users") as refused:
        async with running(tmp_path, config=f"[scheduler]\nfiles_folder = '{folder}'\n"):
            pass
    assert "files_folder" in refused.value.hint
