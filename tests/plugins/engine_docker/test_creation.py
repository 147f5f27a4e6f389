"""What the engine is asked to make of a launch."""

from typing import Any

import pytest
from attrs import evolve

from appliance.engines import LaunchFailed
from appliance.jobs import EndReason
from plugins.engine_docker.creation import Surroundings, container_body, fence_body
from plugins.engine_docker.settings import DockerSettings
from tests.plugins.engine_docker.attempts import launch

DOCKER = Surroundings(is_podman=False, cdi=False, gpus=True, storage_limit=True, nofile_max=None, nproc_max=None)
PODMAN = evolve(DOCKER, is_podman=True, cdi=True, storage_limit=False, nofile_max=20_000, nproc_max=32_768)


def body(around: Surroundings = DOCKER, *, network: str = "none", **more: Any) -> dict[str, Any]:
    return container_body(
        launch("task-1.1", more.pop("command", "true"), **more), "id", DockerSettings(), around, network
    )


def test_container_has_no_right_that_was_not_given() -> None:
    made = body(privileges=frozenset({"SYS_PTRACE", "CHOWN"}))
    host = made["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert host["CapAdd"] == ["CHOWN", "SYS_PTRACE"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["Privileged"] is False
    assert host["NetworkMode"] == "none"
    assert host["IpcMode"] == "private"
    assert not {"PidMode", "UTSMode", "UsernsMode", "Binds", "Devices"} & host.keys()


def test_limits_are_in_the_engines_units_and_leave_no_swap() -> None:
    host = body(millicores=1_500, memory_mib=4_096, storage_mib=10, pids_max=99)["HostConfig"]
    assert host["NanoCpus"] == 1_500_000_000
    assert host["Memory"] == host["MemorySwap"] == 4_096 * 2**20
    assert host["PidsLimit"] == 99
    assert host["StorageOpt"] == {"size": str(10 * 2**20)}
    assert host["ShmSize"] == 2_048 * 2**20
    assert host["Ulimits"] == []


def test_engine_that_cannot_limit_storage_is_not_asked_to() -> None:
    assert "StorageOpt" not in body(PODMAN, storage_mib=10)["HostConfig"]


def test_limits_of_files_and_processes_are_those_that_may_be_given_here() -> None:
    assert body(PODMAN)["HostConfig"]["Ulimits"] == [
        {"Name": "nofile", "Soft": 20_000, "Hard": 20_000},
        {"Name": "nproc", "Soft": 32_768, "Hard": 32_768},
    ]


def test_log_of_the_engine_is_bounded_with_both_engines() -> None:
    assert body()["HostConfig"]["LogConfig"] == {
        "Type": "json-file",
        "Config": {"max-size": "131072k", "max-file": "2"},
    }
    assert body(PODMAN)["HostConfig"]["LogConfig"] == {"Type": "k8s-file", "Config": {"max-size": "256m"}}


def test_gpus_are_bound_by_uuid_in_the_words_of_each_engine() -> None:
    gpus = ("GPU-5a2f", "MIG-71c0")
    assert body(gpu_ids=gpus)["HostConfig"]["DeviceRequests"] == [
        {"Driver": "nvidia", "DeviceIDs": ["GPU-5a2f", "MIG-71c0"], "Capabilities": [["gpu"]]}
    ]
    assert body(PODMAN, gpu_ids=gpus)["HostConfig"]["DeviceRequests"] == [
        {"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=GPU-5a2f", "nvidia.com/gpu=MIG-71c0"]}
    ]
    assert "DeviceRequests" not in body()["HostConfig"]


def test_environment_cannot_ask_for_other_gpus() -> None:
    asked = {"NVIDIA_VISIBLE_DEVICES": "all", "A": "b=c"}
    assert body(environment=asked)["Env"] == ["PYTHONUNBUFFERED=1", "NVIDIA_VISIBLE_DEVICES=void", "A=b=c"]
    assert "NVIDIA_VISIBLE_DEVICES=GPU-1" in body(environment=asked, gpu_ids=("GPU-1",))["Env"]


@pytest.mark.parametrize(
    ("around", "gpu"), [(evolve(DOCKER, gpus=False), "GPU-1"), (DOCKER, "0"), (DOCKER, "all"), (DOCKER, "GPU-1,all")]
)
def test_gpu_that_cannot_be_given_is_refused(around: Surroundings, gpu: str) -> None:
    with pytest.raises(LaunchFailed) as caught:
        body(around, gpu_ids=(gpu,))
    assert caught.value.reason is EndReason.REFUSED


def test_command_is_run_by_the_shell_and_without_one_the_image_decides() -> None:
    assert body(command="a 'b' $c")["Entrypoint"] == ["/bin/sh", "-c", "a 'b' $c"]
    assert not {"Entrypoint", "Cmd"} & body(command="").keys()


def test_fence_may_change_its_network_and_nothing_else() -> None:
    settings = DockerSettings(network="tasks", dns=("9.9.9.9",))
    host = fence_body(launch("task-1.1", "true"), "id", settings, DOCKER, "fence")["HostConfig"]
    assert (host["NetworkMode"], host["Dns"]) == ("tasks", ["9.9.9.9"])
    assert (host["CapDrop"], host["CapAdd"]) == (["ALL"], ["NET_ADMIN"])
    task = container_body(launch("task-1.1", "true"), "id", settings, DOCKER, "container:fence")["HostConfig"]
    assert "Dns" not in task  # who joins a network has its name servers, and engines refuse others


def test_small_init_is_asked_for_when_the_settings_say_so() -> None:
    asked = launch("task-1.1", "true")
    assert container_body(asked, "id", DockerSettings(init=True), DOCKER, "none")["HostConfig"]["Init"] is True
    assert "Init" not in body()["HostConfig"]


def test_name_servers_are_those_of_the_settings_on_a_network_of_its_own_only() -> None:
    asked, settings = launch("task-1.1", "true"), DockerSettings(dns=("9.9.9.9",))
    assert container_body(asked, "id", settings, DOCKER, "bridge")["HostConfig"]["Dns"] == ["9.9.9.9"]
    assert "Dns" not in container_body(asked, "id", settings, DOCKER, "none")["HostConfig"]
