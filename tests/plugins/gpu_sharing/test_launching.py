"""What a worker's command is given."""

import subprocess
import sys
from pathlib import Path

from plugins.gpu_sharing.launching import MARK, NO_USER, NOT_ROOT, SAME_UID, environment
from plugins.gpu_sharing.settings import CommandSettings
from tests.plugins.gpu_sharing.runners import needs_root
from tests.plugins.gpu_sharing.test_mps import agent, worker

HOME = Path("/srv/own")


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
    found = environment(command, part, agent(), home=HOME, mark="i:w1", mps_pipe=Path("/run/ours"))
    assert environment(CommandSettings(argv=("x",)), part, agent(), home=HOME, mark="")["HOME"] == str(HOME)
    assert (found["CUDA_VISIBLE_DEVICES"], found[MARK]) == ("GPU-0", "i:w1")
    assert (found["CUDA_MPS_PIPE_DIRECTORY"], found["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"]) == ("/run/ours", "40")
    assert found["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == "0=100M"
    assert (found["HOME"], found["TOKEN"]) == ("/mine", "abc")


def test_every_gpu_of_a_worker_has_its_memory_limit_and_no_pipe_means_no_limits() -> None:
    part = worker("w1", "GPU-0", "GPU-1", vram_mb=100, compute_percent=None)
    command = CommandSettings(argv=("x",))
    found = environment(command, part, agent(), home=HOME, mark="m", mps_pipe=Path("/run/ours"))
    assert found["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == "0=100M,1=100M"
    assert "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE" not in found
    hard = worker("w1", isolation_mode="hard")
    assert not [name for name in environment(command, hard, agent(), home=HOME, mark="m") if "MPS" in name]


ASK = """
import os, sys
from plugins.gpu_sharing.launching import identity_of
from plugins.gpu_sharing.settings import CommandSettings
if sys.argv[1] == "nobody":
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
asked = ("", False), ("daemon", False), ("nobody", False), ("nobody", True), ("root", True), ("", True)
for user, is_unsafe in asked:
    found = identity_of(CommandSettings(argv=("true",), user=user, unsafe_same_uid=is_unsafe))
    print(found if isinstance(found, str) else f"{found.uid} {found.is_own}")
"""


def answers(person: str) -> list[str]:
    """Return as whom commands run where the appliance runs as somebody."""
    argv = [sys.executable, "-c", ASK, person]
    return subprocess.run(argv, capture_output=True, text=True, check=True, cwd=Path.cwd()).stdout.splitlines()


@needs_root
def test_root_runs_commands_as_their_users_and_as_itself_only_when_told_to() -> None:
    assert answers("root") == [NO_USER, "1 False", "65534 False", "65534 False", "0 True", "0 True"]


@needs_root
def test_anybody_else_runs_commands_as_itself_and_only_when_told_to() -> None:
    assert answers("nobody") == [NO_USER, NOT_ROOT, SAME_UID, "65534 True", NOT_ROOT, "65534 True"]
