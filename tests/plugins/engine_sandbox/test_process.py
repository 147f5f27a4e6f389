"""The engine ``process``: plain processes, only where that is wanted."""

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from appliance.engines import LaunchFailed, Volume
from appliance.host import Host
from appliance.jobs import EndReason
from plugins.engine_sandbox.engine import KeptEngine
from plugins.engine_sandbox.settings import SandboxSettings
from plugins.engine_sandbox.setup import engines, runs_as_us
from tests.plugins.engine_sandbox.sandboxes import (
    APPLIANCE_ID,
    collected,
    data_folder,
    launch,
    needs_sandbox,
    printed,
    processes_with,
    run,
    sandboxes,
    silent,
)


@pytest.fixture
def passable() -> Iterator[Path]:
    """A folder that other users can go through, as the tests' own cannot."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture
async def engine(tmp_path: Path, passable: Path) -> AsyncIterator[KeptEngine]:
    async with sandboxes(tmp_path, kind="process", process_folder=str(passable)) as made:
        yield made


def test_processes_are_offered_only_where_the_configuration_says_so(tmp_path: Path) -> None:
    folder = data_folder(tmp_path)
    assert [one.name for one in engines(Host(), SandboxSettings(), folder, APPLIANCE_ID)] == ["sandbox"]
    both = engines(Host(), SandboxSettings(process=True), folder, APPLIANCE_ID)
    assert [one.name for one in both] == ["sandbox", "process"]
    assert runs_as_us(SandboxSettings(unsafe_same_uid=True)) == ""
    expected = "" if os.geteuid() == 0 else "tasks of the engine process run as the appliance's own user"
    assert runs_as_us(SandboxSettings(process=True, unsafe_same_uid=True)) == expected


@needs_sandbox
async def test_process_runs_as_another_user_without_rights_in_a_folder_of_its_own(engine: KeptEngine) -> None:
    command = (
        "id -u; id -G; pwd; grep CapEff /proc/self/status; grep NoNewPrivs /proc/self/status;"
        ' echo kept > "$APPLIANCE_OUTPUT/x"; ls /proc/$$/fd | tr "\\n" " "; exit 3'
    )
    ended, stdout, stderr = await run(engine, command, image="host", environment={"A": "b"})
    assert (ended.exit_code, ended.reason, stderr) == (3, EndReason.EXIT, b"")
    uid, groups, folder, rights, new, *fds = stdout.decode().splitlines()
    assert uid == groups
    assert int(uid) >= engine.settings.first_uid
    assert folder == str(engine.attempts.at("task-1.1").path / "tmp")
    assert (rights, new) == ("CapEff:\t0000000000000000", "NoNewPrivs:\t1")
    assert set(fds[0].split()) <= {"0", "1", "2", "3"}
    assert (await collected(engine)).files == {"x": b"kept\n"}


@needs_sandbox
async def test_all_that_a_process_started_ends_with_it(engine: KeptEngine) -> None:
    mark = f"96{os.getpid()}"
    ended, _, _ = await run(engine, f"setsid sleep {mark} & exit 2", image="host")
    assert ended.exit_code == 2
    assert processes_with(f"sleep\0{mark}") == []


@needs_sandbox
async def test_process_that_does_not_listen_is_killed_with_all_of_its_own(engine: KeptEngine) -> None:
    mark = f"95{os.getpid()}"
    await engine.start(launch(f"trap '' TERM; (trap '' TERM; sleep {mark}) & echo on; wait", image="host"), silent)
    await printed(engine, b"on")
    assert engine.attempts.at("task-1.1").is_running()
    await engine.stop("task-1.1", grace_seconds=0.1)
    assert (await engine.wait("task-1.1")).exit_code == 137
    assert processes_with(f"sleep\0{mark}") == []


@needs_sandbox
async def test_process_may_end_by_itself_when_asked(engine: KeptEngine) -> None:
    command = "trap 'echo bye; exit 5' TERM; echo on; while true; do sleep 0.1; done"
    await engine.start(launch(command, image="host"), silent)
    await printed(engine, b"on")
    await engine.stop("task-1.1", grace_seconds=30)
    assert (await engine.wait("task-1.1")).exit_code == 5


@needs_sandbox
async def test_process_without_memory_left_is_killed_and_says_so(engine: KeptEngine) -> None:
    ended, _, _ = await run(engine, "x=a; while true; do x=$x$x; done", image="host", memory_mib=24)
    assert (ended.exit_code, ended.reason) == (137, EndReason.OOM)


@needs_sandbox
async def test_inputs_of_a_process_are_its_own(engine: KeptEngine, tmp_path: Path) -> None:
    inputs = tmp_path / "data" / "inputs"
    inputs.mkdir(mode=0o755)
    (inputs / "given").write_text("input")
    ended, stdout, _ = await run(engine, 'cat "$APPLIANCE_INPUT/given"', image="host", inputs=inputs)
    assert (ended.exit_code, stdout) == (0, b"input")


@needs_sandbox
@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"image": "busybox:1"}, EndReason.IMAGE),
        ({"volumes": (Volume(name="a", source=Path("/usr"), read_only=True),)}, EndReason.REFUSED),
        ({"network": "bridge"}, EndReason.REFUSED),
    ],
)
async def test_what_a_process_cannot_have_is_refused(
    engine: KeptEngine, more: dict[str, object], reason: EndReason
) -> None:
    with pytest.raises(LaunchFailed) as refused:
        await engine.start(launch("true", **({"image": "host"} | more)), silent)
    assert refused.value.reason == reason
    assert await engine.found() == []
