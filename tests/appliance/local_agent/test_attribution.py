"""Who a process is, from a written-down /proc."""

import json
import os
import pwd
from pathlib import Path

import pytest

from appliance.devices import GpuProcess
from appliance.host import Host
from appliance.local_agent.attribution import COMMAND_LIMIT_CHARACTERS, Attribution, parse_cgroup
from tests.appliance.local_agent.backend_kit import gpu, sample

DOCKER = "3f" * 32


def write_process(
    root: Path, pid: int, *, start: int = 7, cmdline: bytes = b"", comm: str = "x", cgroup: str = ""
) -> None:
    """Write one process's files."""
    folder = root / "proc" / str(pid)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stat").write_text(f"{pid} (a) b) S " + " ".join(["0"] * 18) + f" {start} 0 0\n")
    (folder / "cmdline").write_bytes(cmdline)
    (folder / "comm").write_text(comm + "\n")
    (folder / "cgroup").write_text(cgroup)


@pytest.mark.parametrize(
    ("line", "container_id"),
    [
        (f"0::/system.slice/docker-{DOCKER}.scope", DOCKER),
        (f"12:memory:/docker/{DOCKER}", DOCKER),
        (f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{DOCKER}.scope/container", DOCKER),
        (f"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{DOCKER}.scope", DOCKER),
        (f"4:devices:/kubepods/besteffort/pod1/{DOCKER}", DOCKER),
        ("0::/user.slice/user-1000.slice/session-2.scope", None),
        (f"0::/docker-{DOCKER[:12]}.scope", None),
    ],
)
def test_control_group_names_the_container(line: str, container_id: str | None) -> None:
    assert parse_cgroup(line + "\n").container_id == container_id


def test_innermost_of_nested_containers_is_meant() -> None:
    assert parse_cgroup(f"0::/docker/{'a' * 64}/docker/{'b' * 64}").container_id == "b" * 64


def test_control_group_names_tasks_and_named_containers() -> None:
    assert parse_cgroup("0::/appliance.slice/appliance-task-t-7.scope").task == "t-7"
    assert parse_cgroup("0::/slurm/uid_1000/job_4711/step_0").task == "slurm job 4711"
    assert parse_cgroup("0::/lxc.payload.web-1/init").container == "web-1"
    assert parse_cgroup("0::/machine.slice/machine-build\\x2d1.scope").container == "build-1"


def test_process_is_completed_with_user_command_and_container(tmp_path: Path) -> None:
    write_process(tmp_path, 42, cmdline=b"/usr/bin/python3\0train.py\0--x\0", cgroup=f"0::/docker/{DOCKER}\n")
    known = sample(gpu(), 0, (GpuProcess(pid=42, sm_percent=5.0),))
    done = Attribution(Host(root=tmp_path)).complete([known])[0]
    assert done.processes is not None
    process = done.processes[0]
    assert process.user == pwd.getpwuid(os.getuid()).pw_name
    assert (process.command, process.container, process.sm_percent) == ("python3 train.py --x", DOCKER[:12], 5.0)


def test_container_has_its_docker_name_where_that_may_be_read(tmp_path: Path) -> None:
    write_process(tmp_path, 42, cgroup=f"0::/docker/{DOCKER}\n")
    folder = tmp_path / "var/lib/docker/containers" / DOCKER
    folder.mkdir(parents=True)
    (folder / "config.v2.json").write_text(json.dumps({"Name": "/jupyter-ana"}))
    assert Attribution(Host(root=tmp_path)).owner(42).container == "jupyter-ana"


def test_broken_docker_file_leaves_the_short_id(tmp_path: Path) -> None:
    write_process(tmp_path, 42, cgroup=f"0::/docker/{DOCKER}\n")
    folder = tmp_path / "var/lib/docker/containers" / DOCKER
    folder.mkdir(parents=True)
    (folder / "config.v2.json").write_text("[" * 100_000)
    assert Attribution(Host(root=tmp_path)).owner(42).container == DOCKER[:12]


def test_pid_used_again_is_another_process(tmp_path: Path) -> None:
    attribution = Attribution(Host(root=tmp_path))
    write_process(tmp_path, 42, start=7, cmdline=b"first\0")
    assert attribution.owner(42).command == "first"
    write_process(tmp_path, 42, start=7, cmdline=b"renamed\0")
    assert attribution.owner(42).command == "first", "a known process is not looked up again"
    write_process(tmp_path, 42, start=8, cmdline=b"second\0")
    assert attribution.owner(42).command == "second"


def test_process_that_is_gone_has_a_reason(tmp_path: Path) -> None:
    done = Attribution(Host(root=tmp_path)).complete([sample(gpu(), 0, (GpuProcess(pid=9),))])[0]
    assert done.processes is not None
    assert done.processes[0].user is None
    assert "gone" in done.processes[0].missing["user"]


def test_hidden_process_says_that_hidepid_is_on(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mounts").write_text("proc /proc proc rw,nosuid,hidepid=2 0 0\n")
    assert "hidepid" in (Attribution(Host(root=tmp_path)).owner(9).reason or "")


def test_endless_command_is_cut_and_bytes_that_are_no_text_survive(tmp_path: Path) -> None:
    write_process(tmp_path, 42, cmdline=b"a\xff" + b"b" * 10_000)
    command = Attribution(Host(root=tmp_path)).owner(42).command
    assert command is not None
    assert len(command) == COMMAND_LIMIT_CHARACTERS
    write_process(tmp_path, 43, comm="kworker/0:1")
    assert Attribution(Host(root=tmp_path)).owner(43).command == "kworker/0:1"
