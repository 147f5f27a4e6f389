"""What a command is told: its own GPUs, its limits, its placeholders, and no more."""

from pathlib import Path
from typing import Any

import pytest

from plugins.gpu_sharing.runner import Mps, Wanted, arguments, variables
from plugins.gpu_sharing.runner.variables import cuda_name, limits, visible
from plugins.gpu_sharing.settings import CommandSettings

UNIQUE = "AMD-0123456789abcdef"


def wanted(*gpu_ids: str, **more: Any) -> Wanted:
    return Wanted(worker_id="w", name="n", command=CommandSettings(argv=("true",)), gpu_ids=gpu_ids, **more)


def test_nvidia_worker_sees_its_gpus_and_mig_instances_by_uuid_and_none_of_amd() -> None:
    assert visible(wanted("GPU-ab", "MIG-cd")) == {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "GPU-ab,MIG-cd",
        "ROCR_VISIBLE_DEVICES": "",
        "HIP_VISIBLE_DEVICES": "-1",
    }


def test_amd_worker_sees_its_gpus_by_unique_id_or_place_and_none_of_nvidia() -> None:
    found = visible(wanted(UNIQUE, "AMD-0000:03:00.0", vendor="amd", gpu_indices=(1, 4)))
    assert found["ROCR_VISIBLE_DEVICES"] == "GPU-0123456789abcdef,4"
    assert found["HIP_VISIBLE_DEVICES"] == "0,1", "HIP counts what is left over"
    assert found["CUDA_VISIBLE_DEVICES"] == ""


def test_worker_without_gpus_sees_none() -> None:
    found = visible(wanted(vendor=""))
    assert (found["CUDA_VISIBLE_DEVICES"], found["ROCR_VISIBLE_DEVICES"], found["HIP_VISIBLE_DEVICES"]) == (
        "",
        "",
        "-1",
    )


@pytest.mark.parametrize(
    ("gpu_id", "name"),
    [
        ("gpu-ab", "GPU-ab"),
        ("GPU-ab", "GPU-ab"),
        ("mig-ab", "MIG-ab"),
        ("Gpu-AB", "GPU-AB"),
        ("0", "0"),
        ("x-1", "x-1"),
    ],
)
def test_ids_that_agents_write_in_lower_case_are_those_of_cuda(gpu_id: str, name: str) -> None:
    assert cuda_name(gpu_id) == name


@pytest.mark.parametrize("gpu_id", ["", "GPU-1,GPU-2", "GPU-1\n", "a" * 129, "-1", "GPU 1"])
def test_id_that_could_name_another_gpu_is_refused(gpu_id: str) -> None:
    with pytest.raises(ValueError, match="gpu_ids"):
        wanted(gpu_id)


@pytest.mark.parametrize("worker_id", ["", "../w", "a/b", "w.1", "w\0", "w\n", "x" * 129])
def test_worker_id_that_is_no_name_of_a_file_is_refused(worker_id: str) -> None:
    with pytest.raises(ValueError, match="worker_id"):
        Wanted(worker_id=worker_id, name="", command=None)


def test_limits_are_given_to_mps_for_each_gpu() -> None:
    mps = Mps(pipe_directory=Path("/run/mps"))
    assert limits(wanted("GPU-a", "GPU-b", vram_mb=1000, compute_percent=25, mps=mps)) == {
        "CUDA_MPS_PIPE_DIRECTORY": "/run/mps",
        "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "25",
        "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": "0=1000M,1=1000M",
    }
    assert limits(wanted("GPU-a", mps=mps)) == {"CUDA_MPS_PIPE_DIRECTORY": "/run/mps"}


@pytest.mark.parametrize("more", [{}, {"vendor": "amd", "mps": Mps(pipe_directory=Path("/run/mps"))}])
def test_nothing_is_said_to_mps_where_there_is_none(more: dict[str, Any]) -> None:
    assert limits(wanted("GPU-a", vram_mb=1, compute_percent=1, **more)) == {}


def test_variables_of_the_operator_win_and_those_of_the_appliance_stay_out() -> None:
    command = CommandSettings(
        argv=("true",), environment={"PATH": "/opt/bin", "CUDA_DEVICE_ORDER": "FASTEST_FIRST", "APPLIANCE_WORKER": "x"}
    )
    asked = Wanted(worker_id="w", name="n", command=command)
    ours = {"PATH": "/bin", "LANG": "", "HOME": "/root", "APPLIANCE_TOKEN": "secret", "LD_PRELOAD": "/x.so"}
    found = variables(asked, ours=ours, home="/home/p", user="p", mark="i:w")
    assert found["PATH"] == "/opt/bin"
    assert found["CUDA_DEVICE_ORDER"] == "FASTEST_FIRST"
    assert found["APPLIANCE_WORKER"] == "i:w", "by it its processes are found"
    assert (found["LANG"], found["HOME"], found["USER"]) == ("C.UTF-8", "/home/p", "p")
    assert not {"APPLIANCE_TOKEN", "LD_PRELOAD"} & found.keys()


def test_placeholders_are_filled_in_once() -> None:
    command = CommandSettings(argv=("{port}", "-{name}-{worker_id}", "{x}{", "{port}{port}"))
    found = arguments(command, port=7, worker_id="w", name="{port}$(id)")
    assert found == ["7", "-{port}$(id)-w", "{x}{", "77"]
