"""Starting a container where the engine has something against it."""

from pathlib import Path
from typing import Any

import pytest

from appliance.engines import EngineLost, LaunchFailed
from appliance.host import Host
from appliance.jobs import EndReason
from plugins.engine_docker.client import Refused
from plugins.engine_docker.engine import DockerEngine
from plugins.engine_docker.settings import DockerSettings
from plugins.engine_docker.starting import launch_failure
from tests.plugins.engine_docker.attempts import launch, silent
from tests.plugins.engine_docker.scripted import ScriptedEngine, serving

NAME = "/containers/appliance-id-task-1.1"


async def test_engine_that_cannot_limit_storage_after_all_starts_without_and_says_so(tmp_path: Path) -> None:
    made: list[dict[str, Any]] = []

    def answers(method: str, path: str, body: Any) -> tuple[int, Any]:
        if path == "/containers/create":
            made.append(body["HostConfig"])
            if "StorageOpt" in body["HostConfig"]:
                return 500, {
                    "message": "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"
                }
            return 201, {"Id": "a"}
        return (404, {"message": "No such container"}) if method == "GET" else (204, b"")

    async with serving(tmp_path / "s", ScriptedEngine(answers)) as url:
        engine = DockerEngine(DockerSettings(host=url), Host(environment={}), tmp_path, "id")
        await engine.start(launch("task-1.1", "true", storage_mib=10), silent)
        assert ["StorageOpt" in one for one in made] == [True, False]
        await engine.start(launch("task-1.1", "true", storage_mib=10), silent)
        assert "storage_limit" not in engine.status.features
    assert ["StorageOpt" in one for one in made] == [True, False, False]


async def test_container_that_was_made_by_a_request_without_an_answer_is_started(tmp_path: Path) -> None:
    def answers(method: str, path: str, body: Any) -> tuple[int, Any]:
        if path == "/containers/create":
            return 409, {"message": "Conflict. The container name is already in use"}
        return (404, {"message": "No such container"}) if method == "GET" else (204, b"")

    script = ScriptedEngine(answers)
    async with serving(tmp_path / "s", script) as url:
        await DockerEngine(DockerSettings(host=url), Host(environment={}), tmp_path, "id").start(
            launch("task-1.1", "true"), silent
        )
    assert script.asked[-1] == ("POST", f"{NAME}/start")


async def test_container_that_does_not_start_is_removed(tmp_path: Path) -> None:
    def answers(method: str, path: str, body: Any) -> tuple[int, Any]:
        if path.endswith("/start"):
            return 500, {"message": "OCI runtime create failed: no space left on device"}
        return (404, {"message": "No such container"}) if method in ("GET", "DELETE") else (201, {"Id": "a"})

    script = ScriptedEngine(answers)
    async with serving(tmp_path / "s", script) as url:
        engine = DockerEngine(DockerSettings(host=url), Host(environment={}), tmp_path, "id")
        with pytest.raises(LaunchFailed) as caught:
            await engine.start(launch("task-1.1", "true"), silent)
    assert caught.value.reason is EndReason.DISK_FULL
    assert script.asked[-2:] == [("DELETE", NAME), ("DELETE", f"{NAME}-net")]


async def test_runtime_that_fails_once_is_asked_once_more(tmp_path: Path) -> None:
    def answers(method: str, path: str, body: Any) -> tuple[int, Any]:
        if path.endswith("/start") and script.asked.count((method, path)) == 1:
            return 500, {"message": "`/usr/bin/runc start 69d0` failed: exit status 1"}
        return (404, {"message": "No such container"}) if method == "GET" else (204, b"")

    script = ScriptedEngine(answers)
    async with serving(tmp_path / "s", script) as url:
        engine = DockerEngine(DockerSettings(host=url), Host(environment={}), tmp_path, "id")
        await engine.start(launch("task-1.1", "true"), silent)
    assert script.asked.count(("POST", f"{NAME}/start")) == 2


async def test_command_that_has_begun_in_spite_of_a_failure_is_not_started_again(tmp_path: Path) -> None:
    def answers(method: str, path: str, body: Any) -> tuple[int, Any]:
        if path.endswith("/start"):
            return 500, {"message": "timed out"}
        if method == "GET" and ("POST", f"{NAME}/start") in script.asked:
            return 200, {"Id": "a", "State": {"Status": "running", "Running": True}, "Config": {}}
        return (404, {"message": "No such container"}) if method == "GET" else (204, b"")

    script = ScriptedEngine(answers)
    async with serving(tmp_path / "s", script) as url:
        engine = DockerEngine(DockerSettings(host=url), Host(environment={}), tmp_path, "id")
        await engine.start(launch("task-1.1", "true"), silent)
    assert script.asked.count(("POST", f"{NAME}/start")) == 1


async def test_fence_that_the_kernel_refuses_ends_the_launch(tmp_path: Path) -> None:
    def answers(method: str, path: str, body: Any) -> tuple[int, Any]:
        if path.endswith("-net/logs"):
            return 200, b""
        if path.endswith("-net/json") and ("POST", f"{NAME}-net/start") in script.asked:
            return 200, {"Id": "f", "State": {"Status": "exited", "ExitCode": 95}, "Config": {}}
        return (404, {"message": "No such container"}) if method in ("GET", "DELETE") else (201, {"Id": "a"})

    script = ScriptedEngine(answers)
    async with serving(tmp_path / "s", script) as url:
        engine = DockerEngine(DockerSettings(host=url), Host(environment={}), tmp_path, "id")
        with pytest.raises(LaunchFailed, match="Operation not supported") as caught:
            await engine.start(launch("task-1.1", "true", network="bridge"), silent)
    assert caught.value.reason is EndReason.REFUSED
    assert "link_local" in caught.value.hint
    assert ("POST", f"{NAME}/start") not in script.asked


async def test_engine_that_fails_in_the_middle_counts_as_lost_and_not_as_refusing(tmp_path: Path) -> None:
    def answers(method: str, path: str, body: Any) -> tuple[int, Any]:
        return 500, {"message": "database is locked"}

    async with serving(tmp_path / "s", ScriptedEngine(answers)) as url:
        engine = DockerEngine(DockerSettings(host=url), Host(environment={}), tmp_path, "id")
        with pytest.raises(EngineLost, match="database is locked"):
            await engine.wait("task-1.1")
        with pytest.raises(EngineLost, match="database is locked"):
            await engine.remove("task-1.1")


@pytest.mark.parametrize(
    ("status", "message", "reason"),
    [
        (400, 'exec: "/bin/sh": stat /bin/sh: no such file or directory', EndReason.IMAGE),
        (500, "exec /bin/sh: exec format error", EndReason.IMAGE),
        (404, "No such image: x:latest", EndReason.IMAGE),
        (400, 'invalid mount config for type "bind": bind source path does not exist: /x', EndReason.REFUSED),
        (500, "failed to mkdir: no space left on device", EndReason.DISK_FULL),
        (500, "could not select device driver", EndReason.REFUSED),
    ],
)
def test_refusal_of_a_container_has_its_reason(status: int, message: str, reason: EndReason) -> None:
    assert launch_failure(Refused(status, message)).reason is reason
