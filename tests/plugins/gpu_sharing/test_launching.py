"""What a worker's command is given."""

from pathlib import Path

from plugins.gpu_sharing.launching import MARK, Identity, as_identity, environment
from plugins.gpu_sharing.settings import CommandSettings
from tests.plugins.gpu_sharing.test_mps import agent, worker

OWN = Identity(uid=1, gid=1, home=Path("/home/own"), is_own=True)


def test_what_binds_a_command_to_its_part_wins_over_the_operators_variables() -> None:
    wished = {
        "CUDA_VISIBLE_DEVICES": "GPU-9",
        "CUDA_MPS_PIPE_DIRECTORY": "/elsewhere",
        "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "100",
        MARK: "unmarked",
        "HOME": "/mine",
        "TOKEN": "abc",
    }
    command = CommandSettings(argv=("x",), environment=wished)
    part = worker("w1", vram_mb=100)
    found = environment(command, part, agent(), identity=OWN, mark="i:w1", mps_pipe=Path("/run/ours"))
    assert (found["CUDA_VISIBLE_DEVICES"], found[MARK]) == ("GPU-0", "i:w1")
    assert (found["CUDA_MPS_PIPE_DIRECTORY"], found["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"]) == ("/run/ours", "40")
    assert found["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == "0=100M"
    assert (found["HOME"], found["TOKEN"]) == ("/mine", "abc")


def test_every_gpu_of_a_worker_has_its_memory_limit_and_no_pipe_means_no_limits() -> None:
    part = worker("w1", "GPU-0", "GPU-1", vram_mb=100, compute_percent=None)
    command = CommandSettings(argv=("x",))
    found = environment(command, part, agent(), identity=OWN, mark="m", mps_pipe=Path("/run/ours"))
    assert found["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == "0=100M,1=100M"
    assert "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE" not in found
    hard = worker("w1", isolation_mode="hard")
    assert not [name for name in environment(command, hard, agent(), identity=OWN, mark="m") if "MPS" in name]


def test_program_of_another_user_is_started_without_new_privileges_and_in_its_groups() -> None:
    other = Identity(uid=5, gid=6, home=Path("/"), is_own=False)
    said = as_identity(["x", "-f"], other, "--pdeathsig", "KILL")
    assert said[1:] == [
        "--no-new-privs",
        "--pdeathsig",
        "KILL",
        "--reuid=5",
        "--regid=6",
        "--init-groups",
        "--",
        "x",
        "-f",
    ]
