"""Control groups of both versions on a scripted tree, and on this host's own where it has them."""

import os
from pathlib import Path

import pytest

from appliance.engines import Usage
from appliance.host import Host
from plugins.engine_sandbox.cgroups import Limits, find_hierarchies
from plugins.engine_sandbox.processes import kill_all

LIMITS = Limits(millicores=1500, memory_mib=64, processes_max=100)


def host_with(tmp_path: Path, *lines: str, controllers: str = "") -> Host:
    """Return a host with some mounts; those of cgroups are folders."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text("\n".join(["garbage", "22 1 8:1 / / rw - ext4 /dev/x rw", *lines]))
    for line in lines:
        (tmp_path / line.split()[4].lstrip("/")).mkdir(parents=True, exist_ok=True)
    if controllers:
        (tmp_path / "sys/fs/cgroup/cgroup.controllers").write_text(controllers)
    return Host(root=tmp_path)


V2 = "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"


def v1(*names: str) -> list[str]:
    return [f"31 22 0:27 / /sys/fs/cgroup/{name} rw - cgroup cgroup rw,{name}" for name in names]


def test_version_two_sets_its_limits_top_down(tmp_path: Path) -> None:
    found = find_hierarchies(host_with(tmp_path, V2, controllers="cpuset cpu io memory pids\n"), "tasks")
    assert (found.is_v2, found.problem) == (True, "")
    mount = tmp_path / "sys/fs/cgroup"
    for folder in (mount, mount / "tasks"):
        assert (folder / "cgroup.subtree_control").read_text() == "+memory +cpu +pids"
    (mount / "tasks/one").mkdir()
    (mount / "tasks/one/memory.swap.max").write_text("max")
    group = found.make("one", LIMITS)
    assert group.unique == (mount / "tasks/one",)
    written = {path.name: path.read_text() for path in group.unique[0].iterdir()}
    assert written == {
        "memory.max": "67108864",
        "memory.swap.max": "0",
        "cpu.max": "150000 100000",
        "pids.max": "100",
    }
    group.unthrottle()
    assert (group.unique[0] / "cpu.max").read_text() == "max"
    assert group.procs == [str(mount / "tasks/one/cgroup.procs")]
    assert group.oom_files == [str(mount / "tasks/one/memory.events")]
    assert group.kill_files == [str(mount / "tasks/one/cgroup.kill")]
    assert found.keepers() == [str(mount / "tasks/keepers/cgroup.procs")]


def test_usage_of_version_two_leaves_out_files_that_the_kernel_takes_back(tmp_path: Path) -> None:
    found = find_hierarchies(host_with(tmp_path, V2, controllers="cpu memory pids"), "tasks")
    group = found.make("one", Limits())
    folder = group.unique[0]
    assert group.usage() == Usage(cpu_seconds=None, memory_bytes=None, pids=None)
    (folder / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\nnr_throttled x\n")
    (folder / "memory.current").write_text("1000\n")
    (folder / "memory.stat").write_text("anon 1\ninactive_file 400\n")
    (folder / "pids.current").write_text("3\n")
    assert group.usage() == Usage(cpu_seconds=2.5, memory_bytes=600, pids=3)


def test_version_two_without_a_controller_gives_way_to_version_one(tmp_path: Path) -> None:
    unified = V2.replace("/sys/fs/cgroup ", "/sys/fs/cgroup/unified ")
    names = ("memory", "cpu", "pids", "cpuacct")
    systemd = "35 22 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd"
    host = host_with(tmp_path, unified, systemd, *v1(*names))
    (tmp_path / "sys/fs/cgroup/unified/cgroup.controllers").write_text("hugetlb")
    found = find_hierarchies(host, "tasks")
    mount = tmp_path / "sys/fs/cgroup"
    assert (found.is_v2, found.problem) == (False, "")
    (mount / "memory/tasks/one").mkdir()
    (mount / "memory/tasks/one/memory.memsw.limit_in_bytes").write_text("")
    group = found.make("one", LIMITS)
    assert group.unique == tuple(mount / name / "tasks/one" for name in names)
    assert (mount / "memory/tasks/one/memory.limit_in_bytes").read_text() == "67108864"
    assert (mount / "memory/tasks/one/memory.memsw.limit_in_bytes").read_text() == "67108864"
    assert (mount / "cpu/tasks/one/cpu.cfs_quota_us").read_text() == "150000"
    assert (mount / "cpu/tasks/one/cpu.cfs_period_us").read_text() == "100000"
    assert (mount / "pids/tasks/one/pids.max").read_text() == "100"
    assert group.oom_files == [str(mount / "memory/tasks/one/memory.oom_control")]
    (mount / "cpuacct/tasks/one/cpuacct.usage").write_text("1500000000\n")
    (mount / "memory/tasks/one/memory.usage_in_bytes").write_text("900")
    (mount / "memory/tasks/one/memory.stat").write_text("inactive_file 1\ntotal_inactive_file 1000\n")
    assert group.usage() == Usage(cpu_seconds=1.5, memory_bytes=0, pids=None)
    keepers = {str(mount / name / "tasks/keepers/cgroup.procs") for name in ("systemd", "unified")}
    assert set(found.keepers()) == keepers


def test_least_cpu_is_what_the_kernel_takes(tmp_path: Path) -> None:
    found = find_hierarchies(host_with(tmp_path, V2, controllers="cpu memory pids"), "tasks")
    group = found.make("one", Limits(millicores=1))
    assert (group.unique[0] / "cpu.max").read_text() == "1000 100000"
    assert not (group.unique[0] / "memory.max").exists()
    assert not (group.unique[0] / "pids.max").exists()


@pytest.mark.parametrize(
    ("lines", "words"),
    [([], "memory, cpu, pids"), (v1("memory", "pids"), "for cpu are mounted"), (v1("cpu,cpuacct"), "memory, pids")],
)
def test_what_lacks_is_named(tmp_path: Path, lines: list[str], words: str) -> None:
    found = find_hierarchies(host_with(tmp_path, *lines), "tasks")
    assert words in found.problem
    assert not found.has_limits


def test_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    host = host_with(tmp_path, V2, controllers="cpu memory pids")
    (tmp_path / "sys/fs/cgroup/tasks").write_text("in the way")
    found = find_hierarchies(host, "tasks")
    assert "sys/fs/cgroup/tasks" in found.problem


def test_host_without_proc_is_told(tmp_path: Path) -> None:
    assert "/proc/self/mountinfo" in find_hierarchies(Host(root=tmp_path), "tasks").problem


def test_group_that_is_gone_is_removed_and_one_in_use_is_not(tmp_path: Path) -> None:
    found = find_hierarchies(host_with(tmp_path, V2, controllers="cpu memory pids"), "tasks")
    group = found.make("one", Limits())
    assert group.remove()
    assert group.remove()
    again = found.make("one", LIMITS)  # a folder with files stands for a group with processes
    assert not again.remove()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes control groups")
def test_this_hosts_own_groups_limit_and_kill() -> None:
    found = find_hierarchies(Host(), "appliance")
    if not found.has_limits:
        pytest.skip(found.problem)
    group = found.make(f"test-{os.getpid()}", LIMITS)
    child = os.fork()
    if child == 0:
        for path in group.procs:
            Path(path).write_text("0")
        os.kill(os.getpid(), 19)  # SIGSTOP: what is killed need not run
        os._exit(0)
    try:
        os.waitpid(child, os.WUNTRACED)
        assert group.usage().pids == 1
        assert not group.remove()
        kill_all(0, group.kill_files)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
    finally:
        assert group.remove()
