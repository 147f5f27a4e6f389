"""Looking at an engine: what is found, and what is said where nothing works."""

from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.engines import EngineLost
from appliance.host import Host
from plugins.engine_docker.containers import Info, Version
from plugins.engine_docker.engine import DockerEngine
from plugins.engine_docker.link import LOOK_SECONDS, limits_storage, numbers, spoken
from plugins.engine_docker.settings import DockerSettings
from tests.plugins.engine_docker.scripted import INFO, VERSION, ScriptedEngine, serving

PODMAN = dict(VERSION) | {"Version": "5.2.1", "Components": [{"Name": "Podman Engine"}]}


def nothing(method: str, path: str, body: Any) -> tuple[int, Any]:
    return 404, {"message": "no such thing"}


async def looked(folder: Path, engine: ScriptedEngine, host: Host) -> DockerEngine:
    async with serving(folder / "s", engine) as url:
        made = DockerEngine(DockerSettings(host=url), host, folder, "id")
        with pytest.raises(EngineLost, match="refused"):
            await made.found()
    return made


async def test_host_without_an_engine_says_what_was_looked_for(tmp_path: Path, nursery: trio.Nursery) -> None:
    engine = DockerEngine(DockerSettings(), Host(root=tmp_path, environment={}), tmp_path, "id")
    await nursery.start(engine.run)
    nursery.cancel_scope.cancel()
    assert engine.status.state == "absent"
    assert "docker.sock" in engine.status.message
    assert engine.status.hint
    with pytest.raises(EngineLost, match="no Docker and no Podman"):
        await engine.wait("task-1.1")


async def test_engine_that_appears_and_goes_away_is_seen(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    url = f"unix://{tmp_path}/s"
    made = DockerEngine(DockerSettings(host=url), Host(environment={}), tmp_path, "id")
    async with trio.open_nursery() as nursery:
        await nursery.start(made.run)
        assert made.status.state == "unavailable"
        assert "No such file" in made.status.message
        assert made.status.hint
        async with serving(tmp_path / "s", ScriptedEngine(nothing)):
            await trio.sleep(2 * LOOK_SECONDS)
            assert made.status.state == "ok"
            assert made.status.message.startswith("Docker 27.1 at ")
        await trio.sleep(2 * LOOK_SECONDS)
        assert made.status.state == "unavailable"
        nursery.cancel_scope.cancel()


async def test_engine_that_took_its_socket_with_it_is_away_and_not_absent(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    socket = tmp_path / "var/run/docker.sock"
    socket.parent.mkdir(parents=True)
    made = DockerEngine(DockerSettings(), Host(root=tmp_path, environment={}), tmp_path, "id")
    async with trio.open_nursery() as nursery:
        async with serving(socket, ScriptedEngine(nothing)):
            await nursery.start(made.run)
            assert made.status.state == "ok"
        socket.unlink(missing_ok=True)
        await trio.sleep(2 * LOOK_SECONDS)
        assert (made.status.state, made.status.message) == ("unavailable", "its socket has gone")
        nursery.cancel_scope.cancel()


async def test_engine_is_asked_what_it_can_once_and_then_only_whether_it_is_there(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    script = ScriptedEngine(nothing)
    async with serving(tmp_path / "s", script) as url, trio.open_nursery() as nursery:
        made = DockerEngine(DockerSettings(host=url), Host(environment={}), tmp_path, "id")
        await nursery.start(made.run)
        await trio.sleep(10 * LOOK_SECONDS)
        nursery.cancel_scope.cancel()
    assert script.paths.count("/version") == 1
    assert script.paths.count("/v1.41/info") == 1
    assert script.paths.count("/v1.41/_ping") >= 5


async def test_gpus_are_offered_where_nvidias_runtime_is(tmp_path: Path) -> None:
    plain = await looked(tmp_path, ScriptedEngine(nothing), Host(root=tmp_path, environment={"PATH": ""}))
    assert "gpu" not in plain.status.features
    assert "gives no GPUs" in plain.status.message
    (tmp_path / "s").unlink()
    info = dict(INFO) | {"Runtimes": {"runc": {}, "nvidia": {}}}
    able = await looked(tmp_path, ScriptedEngine(nothing, info=info), Host(root=tmp_path, environment={"PATH": ""}))
    assert able.status.features == {"gpu", "pull", "network", "storage_limit"}


@pytest.mark.parametrize(("version", "offered"), [("5.2.1", True), ("4.9.3", False), ("", False)])
async def test_podman_gives_gpus_by_their_cdi_names_from_version_5_on(
    tmp_path: Path, version: str, offered: bool
) -> None:
    (tmp_path / "etc" / "cdi").mkdir(parents=True)
    (tmp_path / "etc" / "cdi" / "nvidia.yaml").write_text("cdiVersion: 0.6.0")
    script = ScriptedEngine(nothing, version=PODMAN | {"Version": version})
    made = await looked(tmp_path, script, Host(root=tmp_path, environment={"PATH": ""}))
    assert ("gpu" in made.status.features) is offered
    assert made.status.message.startswith("Podman")


async def test_engine_of_another_processor_says_that_bridge_needs_link_local(tmp_path: Path) -> None:
    made = await looked(
        tmp_path, ScriptedEngine(nothing, version=dict(VERSION) | {"Arch": "arm64"}), Host(environment={})
    )
    assert "link_local" in made.status.message


async def test_engine_whose_kernel_limits_nothing_says_so(tmp_path: Path) -> None:
    info = dict(INFO) | {"MemoryLimit": False, "CpuCfsQuota": False, "PidsLimit": True}
    made = await looked(tmp_path, ScriptedEngine(nothing, info=info), Host(environment={}))
    assert "cannot limit memory, CPU time" in made.status.message


async def test_many_who_wait_for_an_engine_ask_it_once_what_it_can(tmp_path: Path) -> None:
    script = ScriptedEngine(nothing)
    async with serving(tmp_path / "s", script) as url:
        made = DockerEngine(DockerSettings(host=url), Host(environment={}), tmp_path, "id")
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(made.wait, f"task-{number}.1")
    assert script.paths.count("/version") == 1


@pytest.mark.parametrize("answer", [b"", b"[]", b"<html>", b'{"Version": 5}', b"[" * 100_000])
async def test_whoever_answers_there_and_is_no_engine_is_unavailable(tmp_path: Path, answer: bytes) -> None:
    async with serving(tmp_path / "s", ScriptedEngine(nothing, version=answer)) as url:  # type: ignore[arg-type]
        made = DockerEngine(DockerSettings(host=url), Host(environment={}), tmp_path, "id")
        with pytest.raises(EngineLost, match="not understood"):
            await made.found()
    assert made.status.state == "unavailable"


@pytest.mark.parametrize(
    ("oldest", "expected"), [("1.12", "1.41"), ("1.44", "1.44"), ("", "1.41"), ("x.y", "1.41"), ("9" * 40, "1.41")]
)
def test_api_is_spoken_in_a_version_that_the_engine_knows(oldest: str, expected: str) -> None:
    assert spoken(Version(min_api_version=oldest)) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("20.10.24+dfsg1", (20, 10)), ("5", (5,)), ("dev", ()), ("5.2-rc1", (5, 2)), ("", ())]
)
def test_numbers_of_a_version_are_those_at_its_start(text: str, expected: tuple[int, ...]) -> None:
    assert numbers(text) == expected


@pytest.mark.parametrize(
    ("driver", "rows", "expected"),
    [
        ("overlay2", [["Backing Filesystem", "xfs"]], True),
        ("overlay2", [["Backing Filesystem", "extfs"], ["odd"]], False),
        ("zfs", None, True),
        ("vfs", None, False),
    ],
)
def test_storage_is_limited_where_the_driver_may_be_able_to(
    driver: str, rows: list[list[str]] | None, expected: bool
) -> None:
    assert limits_storage(Info(driver=driver, driver_status=rows)) is expected
