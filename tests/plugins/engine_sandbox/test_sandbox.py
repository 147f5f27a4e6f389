"""Tasks in real sandboxes: what they see, what they may, and how they end."""

import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from appliance.engines import Found, LaunchFailed, TaskEngine, Volume
from appliance.host import Host
from appliance.jobs import EndReason
from plugins.engine_sandbox.engine import KeptEngine
from tests.plugins.engine_sandbox.sandboxes import (
    collected,
    data_folder,
    engine_at,
    launch,
    mounts,
    needs_sandbox,
    output,
    printed,
    processes_with,
    run,
    sandboxes,
    silent,
    started,
    until,
)

pytestmark = needs_sandbox


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[KeptEngine]:
    async with sandboxes(tmp_path) as made:
        yield made


# ---------------------------------------------------------------------------------------------------- how they end


async def test_task_ends_with_its_exit_code_and_its_output_byte_by_byte(engine: KeptEngine) -> None:
    checked: TaskEngine = engine
    assert checked.name == "sandbox"
    noise = (
        "echo one; echo two >&2; printf 'no end'; head -c 300000 /dev/zero | tr '\\0' x; printf '\\r\\n' >&2; exit 3"
    )
    ended, stdout, stderr = await run(engine, noise)
    assert (ended.exit_code, ended.reason, ended.message) == (3, EndReason.EXIT, "")
    assert ended.ended_at_unix_us is not None
    assert (stdout, stderr) == (b"one\nno end" + b"x" * 300_000, b"two\n\r\n")


async def test_output_is_left_out_from_its_start_as_far_as_it_is_known(engine: KeptEngine) -> None:
    await run(engine, "echo one; echo two >&2; echo three")
    assert await output(engine, stdout=2) == (b"e\nthree\n", b"two\n")
    assert await output(engine, stdout=10, stderr=3) == (b"", b"\n")


@pytest.mark.parametrize(("command", "code"), [("kill -9 $$", 137), ("kill -TERM $$", 143), ("exit 255", 255)])
async def test_task_that_a_signal_ended_has_128_and_its_number(engine: KeptEngine, command: str, code: int) -> None:
    ended, _, _ = await run(engine, command)
    assert (ended.exit_code, ended.reason) == (code, EndReason.EXIT)


async def test_task_without_memory_left_is_killed_and_says_so(engine: KeptEngine) -> None:
    ended, _, _ = await run(engine, "x=a; while true; do x=$x$x; done", memory_mib=24)
    assert (ended.exit_code, ended.reason) == (137, EndReason.OOM)
    assert "24 MiB" in ended.message


async def test_task_gets_no_more_cpu_than_it_asked_for(engine: KeptEngine) -> None:
    await engine.start(launch("while true; do true; done", millicores=200), silent)
    group = engine.attempts.hierarchies.group(engine.attempts.group_name("task-1.1"))
    stat = group.folders["cpu"] / "cpu.stat"
    await until(lambda: dict(line.split() for line in stat.read_text().splitlines())["nr_throttled"] not in ("0", "1"))
    usage = await engine.usage("task-1.1")
    assert usage is not None
    assert (usage.cpu_seconds or 0) > 0
    assert (usage.memory_bytes or 0) > 0
    assert (usage.pids or 0) >= 2
    await engine.stop("task-1.1", grace_seconds=0)
    assert await engine.usage("task-1.1") is None


async def test_task_that_forks_without_end_stays_among_its_processes_and_ends_with_them(engine: KeptEngine) -> None:
    bomb = "awk 'BEGIN { while (1) system(\"sleep 1000 &\") }' 2>/dev/null"
    await engine.start(launch(bomb, pids_max=40), silent)
    group = engine.attempts.hierarchies.group(engine.attempts.group_name("task-1.1"))
    most = await until(lambda: (found := int((group.folders["pids"] / "pids.current").read_text())) > 30 and found)
    assert most <= 40
    await engine.stop("task-1.1", grace_seconds=0)
    assert (await engine.wait("task-1.1")).exit_code is not None
    await until(lambda: (group.folders["pids"] / "cgroup.procs").read_text() == "")


async def test_kill_lifts_the_limit_of_cpu_time_so_that_many_processes_can_die_of_it(engine: KeptEngine) -> None:
    spinning = "for i in $(seq 30); do (while :; do :; done) & done; wait"
    await engine.start(launch(spinning, millicores=10, pids_max=60), silent)
    group = engine.attempts.hierarchies.group(engine.attempts.group_name("task-1.1"))
    name = "cpu.max" if group.is_v2 else "cpu.cfs_quota_us"
    limit = (group.folders["cpu"] / name).read_text().split()[0]
    await engine.stop("task-1.1", grace_seconds=0)
    await engine.wait("task-1.1")
    lifted = (group.folders["cpu"] / name).read_text().split()[0]
    assert (limit, lifted) == ("1000", "max" if group.is_v2 else "-1")


async def test_task_without_room_for_a_process_says_so(engine: KeptEngine) -> None:
    ended, _, stderr = await run(engine, "for i in $(seq 50); do sleep 100 & done", pids_max=20)
    assert ended.exit_code != 0
    assert b"fork" in stderr


async def test_task_that_writes_more_than_its_space_fills_only_that(engine: KeptEngine) -> None:
    with pytest.raises(LaunchFailed):
        await engine.start(launch("true", image="none"), silent)  # proves the engine, and its features
    if "storage_limit" not in engine.status.features:
        pytest.skip("no loop devices here")
    ended, _, _ = await run(engine, "dd if=/dev/zero of=/output/full bs=1M count=64", storage_mib=16)
    assert (ended.exit_code, ended.reason) == (1, EndReason.DISK_FULL)
    kept = await collected(engine)
    assert 8 << 20 < len(kept.files["full"]) <= 16 << 20
    await engine.remove("task-1.1")
    assert not engine.attempts.at("task-1.1").path.exists()


async def test_file_system_of_a_task_is_seen_by_nobody_else_and_read_as_often_as_wanted(engine: KeptEngine) -> None:
    before = mounts()
    await engine.start(launch("echo kept > /output/x; echo not > /tmp/y; echo on; sleep 1000", storage_mib=8), silent)
    await printed(engine, b"on")
    assert mounts() == before
    await engine.stop("task-1.1", grace_seconds=0)
    for _ in range(2):
        assert (await collected(engine)).files == {"x": b"kept\n"}
        assert mounts() == before


async def test_log_is_bounded_and_says_what_was_lost_and_the_task_goes_on(tmp_path: Path) -> None:
    async with sandboxes(tmp_path, log_bytes=100_000) as engine:
        ended, stdout, _ = await run(engine, "head -c 5000000 /dev/zero; exit 4")
        assert ended.exit_code == 4
        assert 0 < len(stdout) < 100_000
        assert f"{5_000_000 - len(stdout)} bytes of its stdout were not kept" in ended.message
        assert engine.attempts.at("task-1.1").path.joinpath("log").stat().st_size <= 100_000


async def test_task_with_a_terminal_has_one_and_all_it_prints_is_stdout(engine: KeptEngine) -> None:
    ended, stdout, stderr = await run(engine, "test -t 0 && test -t 1 && echo yes; echo no >&2", tty=True)
    assert (ended.exit_code, stdout, stderr) == (0, b"yes\r\nno\r\n", b"")


# --------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("more", "reason", "words"),
    [
        ({"image": "nope"}, EndReason.IMAGE, "no image 'nope'"),
        ({"image": "../attempts"}, EndReason.IMAGE, "no image"),
        ({"network": "bridge"}, EndReason.REFUSED, "no network 'bridge'"),
        ({"privileges": frozenset({"SYS_ADMIN"})}, EndReason.REFUSED, "SYS_ADMIN"),
        ({"environment": {"A=B": "c"}}, EndReason.REFUSED, "cannot be a variable"),
        ({"environment": {"A": "c\0d"}}, EndReason.REFUSED, "cannot be a variable"),
        ({"environment": {f"V{number}": "" for number in range(2001)}}, EndReason.REFUSED, "more than 2000"),
        ({"gpu_ids": ("GPU-1234",)}, EndReason.REFUSED, "GPU-1234"),
        ({"command": ""}, EndReason.REFUSED, "does not say what to run"),
        ({"command": "x" * 140_000}, EndReason.REFUSED, "too long"),
        ({"command": "a\0b"}, EndReason.REFUSED, "NUL"),
    ],
)
async def test_what_is_refused_is_told_and_leaves_nothing(
    engine: KeptEngine, more: dict[str, object], reason: EndReason, words: str
) -> None:
    with pytest.raises(LaunchFailed) as refused:
        await engine.start(launch(str(more.pop("command", "true")), **more), silent)
    assert refused.value.reason == reason
    assert words in refused.value.message
    assert await engine.found() == []
    assert list(engine.attempts.folder.iterdir()) == []
    assert not engine.attempts.hierarchies.group(engine.attempts.group_name("task-1.1")).unique[0].exists()


async def test_image_that_is_not_there_is_told_with_those_that_are(engine: KeptEngine) -> None:
    with pytest.raises(LaunchFailed) as refused:
        await engine.start(launch("true", image="nope"), silent)
    assert refused.value.hint == "there are: host, busybox:1"


async def test_volume_that_would_show_our_data_is_refused(engine: KeptEngine, tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "data" / "keys", tmp_path / "missing"):
        volume = Volume(name="all", source=source, read_only=True)
        with pytest.raises(LaunchFailed):
            await engine.start(launch("true", volumes=(volume,)), silent)


async def test_task_is_refused_when_all_user_ids_are_taken_until_one_is_free(tmp_path: Path) -> None:
    async with sandboxes(tmp_path, uids=2) as engine:
        await run(engine, "true")
        await run(engine, "true", "task-2.1")
        with pytest.raises(LaunchFailed, match="user ids"):
            await engine.start(launch("true", "task-3.1"), silent)
        await engine.remove("task-1.1")
        assert (await run(engine, "true", "task-3.1"))[0].exit_code == 0


# --------------------------------------------------------------------------------------------------- what they see


async def test_task_is_nobody_with_no_rights_and_gets_none(engine: KeptEngine) -> None:
    seen = "id -u; id -G; awk '/^Cap|^NoNewPrivs/ {print $2}' /proc/self/status; cat /proc/sys/user/max_user_namespaces"
    _, stdout, _ = await run(engine, seen)
    uid, groups, *rest = stdout.decode().split()
    assert (uid, groups) == ("1000", "1000")
    assert set(rest[:5]) == {"0000000000000000"}
    assert rest[5] == "1"
    ended, _, _ = await run(engine, "unshare -U true", "task-2.1")
    assert ended.exit_code != 0
    ended, _, _ = await run(engine, "mount -t tmpfs none /tmp", "task-3.1")
    assert ended.exit_code != 0


async def test_tasks_are_different_users_of_this_host_and_none_of_its_own(engine: KeptEngine) -> None:
    for name in ("task-1.1", "task-2.1"):
        await engine.start(launch("touch /output/x; echo there; sleep 1000", name), silent)
        await printed(engine, b"there", name)
    owners = {(engine.attempts.at(name).path / "output" / "x").stat().st_uid for name in ("task-1.1", "task-2.1")}
    assert len(owners) == 2
    assert min(owners) >= engine.settings.first_uid


async def test_task_inherits_no_descriptor(engine: KeptEngine) -> None:
    _, stdout, _ = await run(engine, "ls /proc/$$/fd; true")
    assert sorted(stdout.split()) == [b"0", b"1", b"2"]


async def test_task_sees_only_its_own_processes_and_host_name(engine: KeptEngine) -> None:
    _, stdout, _ = await run(engine, "ls /proc; hostname")
    names = stdout.decode().split()
    assert len([name for name in names if name.isdigit()]) <= 4
    assert names[-1] == "task-1"


async def test_task_reaches_nothing_of_the_network(engine: KeptEngine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ended, stdout, _ = await run(engine, f"cat /proc/net/dev; nc -w 2 127.0.0.1 {port} < /dev/null")
        assert ended.exit_code != 0
        assert [line.split(b":")[0].strip() for line in stdout.splitlines()[2:]] == [b"lo"]
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("image", ["busybox:1", "host"])
async def test_task_sees_nothing_of_our_data_and_changes_nothing_but_its_own(
    engine: KeptEngine, tmp_path: Path, image: str
) -> None:
    secret = tmp_path / "data" / "secret"
    secret.write_text("word")
    command = (
        f"cat {secret} && echo data; ls /root /home && echo homes; cat /etc/shadow && echo shadow;"
        " touch /x && echo root; touch /usr/x /bin/x /etc/x && echo system; "
        " echo 1 > /proc/sys/vm/swappiness && echo sys;"
        " ls -d /var/lib /run/* /sys/fs && echo more; touch /tmp/x /var/tmp/x /output/x /run/x /dev/shm/x && echo own"
    )
    _, stdout, _ = await run(engine, command, image=image)
    assert stdout == b"own\n"
    assert (await collected(engine)).files == {"x": b""}


async def test_image_host_is_this_hosts_system(engine: KeptEngine) -> None:
    ended, stdout, _ = await run(engine, "readlink /bin; id -un; ls /etc/passwd; pwd", image="host")
    assert ended.exit_code == 0
    assert stdout.split()[-3:] == [b"task", b"/etc/passwd", b"/tmp"]


async def test_variables_reach_the_task_and_nobody_else(engine: KeptEngine) -> None:
    given = {"SECRET": "s3cret with\nlines", "LD_PRELOAD": "/nowhere.so", "PATH": "/bin", "UMLAUT": "ä\udcff"}
    await engine.start(launch("env; sleep 1000", environment=given), silent)
    await printed(engine, b"SECRET=s3cret with\nlines\n")
    assert processes_with("s3cret") == []
    assert [path for path in engine.attempts.folder.rglob("*") if path.is_file() and path.name != "log"] != []
    for path in engine.attempts.folder.rglob("*"):
        if path.is_file() and path.name != "log":
            assert b"s3cret" not in path.read_bytes()
    await engine.stop("task-1.1", grace_seconds=0)
    stdout, stderr = await output(engine)
    assert stderr == b""  # nothing that has our rights, or its own outside, loads what it names
    assert b"HOME=/tmp\n" in stdout
    assert "UMLAUT=ä".encode() + b"\xff\n" in stdout


async def test_inputs_and_volumes_are_where_they_belong(engine: KeptEngine, tmp_path: Path) -> None:
    inputs = tmp_path / "data" / "inputs"
    inputs.mkdir(mode=0o755)
    (inputs / "given").write_text("input")
    lent = tmp_path / "lent"
    lent.mkdir()
    lent.chmod(0o777)
    (lent / "there").write_text("volume")
    volumes = (Volume(name="rw", source=lent, read_only=False), Volume(name="ro", source=lent, read_only=True))
    command = "cat /input/given /volumes/ro/there; echo x > /volumes/rw/made; touch /volumes/ro/y /input/y /volumes/z"
    ended, stdout, stderr = await run(engine, command, inputs=inputs, volumes=volumes)
    assert (ended.exit_code, stdout) == (1, b"inputvolume")
    assert stderr.count(b"Read-only file system") == 3
    assert (lent / "made").read_text() == "x\n"


# ------------------------------------------------------------------------------------------------- what they leave


async def test_only_files_are_collected_and_nothing_is_followed(engine: KeptEngine) -> None:
    command = (
        "cd /output; mkdir -p a/b; echo 1 > a/b/c; printf 2 > top; ln -s /etc/passwd link; ln -s a folder; mkfifo pipe;"
        " ln top hard; echo 3 > closed; chmod 000 closed; mkdir shut; echo 4 > shut/x; chmod 000 shut"
    )
    await run(engine, command)
    kept = await collected(engine)
    assert kept.files == {"a/b/c": b"1\n", "top": b"2", "hard": b"2", "closed": b"3\n", "shut/x": b"4\n"}
    assert kept.skipped == {"link": "a link", "folder": "a link", "pipe": "a FIFO"}


async def test_folders_without_end_are_collected_to_a_depth_and_removed(engine: KeptEngine) -> None:
    command = f"mkdir -p /output/{'d/' * 1100}; echo x > /output/{'d/' * 1100}deep"
    ended, _, _ = await run(engine, command)
    assert ended.exit_code == 0
    kept = await collected(engine)
    assert (kept.files, list(kept.skipped.values())) == ({}, ["deeper than 64 folders"])
    await engine.remove("task-1.1")
    assert list(engine.attempts.folder.iterdir()) == []


async def test_removed_task_is_gone_whatever_it_did(engine: KeptEngine) -> None:
    await engine.start(launch("trap '' TERM; echo on; while true; do sleep 1; done"), silent)
    await printed(engine, b"on")
    assert await engine.found() == [Found(attempt_id="task-1.1", job_id="task-1", fencing_token=7, is_running=True)]
    await engine.remove("task-1.1")
    await engine.remove("task-1.1")
    assert await engine.found() == []
    assert list(engine.attempts.folder.iterdir()) == []
    group = engine.attempts.hierarchies.group(engine.attempts.group_name("task-1.1"))
    assert not any(folder.exists() for folder in group.unique)
    assert (await engine.wait("task-1.1")).reason == EndReason.ENGINE_LOST


# ------------------------------------------------------------------------------------------------- how they are ended


async def test_stopped_task_may_end_by_itself(engine: KeptEngine) -> None:
    await engine.start(launch("trap 'echo bye; exit 5' TERM; echo on; while true; do sleep 0.1; done"), silent)
    await printed(engine, b"on")
    await engine.stop("task-1.1", grace_seconds=30)
    ended = await engine.wait("task-1.1")
    assert (ended.exit_code, ended.reason) == (5, EndReason.EXIT)
    assert (await output(engine))[0] == b"on\nbye\n"


async def test_program_below_a_shell_has_the_grace_though_the_shell_ends_at_once(engine: KeptEngine) -> None:
    trap = "sleep 0.5; echo saved > /output/checkpoint; exit 0"
    child = f"sh -c 'trap \"{trap}\" TERM; echo on; while true; do sleep 0.1; done'"
    await engine.start(launch(f"{child}; echo never"), silent)
    await printed(engine, b"on")
    await engine.stop("task-1.1", grace_seconds=30)
    assert (await engine.wait("task-1.1")).exit_code == 143
    assert (await collected(engine)).files == {"checkpoint": b"saved\n"}
    assert b"never" not in (await output(engine))[0]


async def test_task_that_does_not_listen_is_killed(engine: KeptEngine) -> None:
    await engine.start(launch("trap '' TERM; echo on; while true; do sleep 0.1; done"), silent)
    await printed(engine, b"on")
    await engine.stop("task-1.1", grace_seconds=0.1)
    assert (await engine.wait("task-1.1")).exit_code == 137
    await engine.stop("task-1.1", grace_seconds=0.1)


async def test_what_a_task_leaves_running_ends_with_it(engine: KeptEngine) -> None:
    mark = f"sleep 98{os.getpid()}"
    ended, _, _ = await run(engine, f"{mark} & exit 6")
    assert ended.exit_code == 6
    assert processes_with(mark.replace(" ", "\0")) == []


async def test_task_is_started_once_however_often_it_is_asked_for(engine: KeptEngine) -> None:
    asked = launch("echo x >> /output/n; sleep 0.2")
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(engine.start, asked, silent)
    await engine.start(asked, silent)
    await engine.wait("task-1.1")
    await engine.start(asked, silent)
    assert (await collected(engine)).files == {"n": b"x\n"}


# --------------------------------------------------------------------------------------------- what survives whom


async def test_task_whose_keeper_was_killed_is_lost_and_nothing_of_it_is_left(engine: KeptEngine) -> None:
    mark = f"sleep 97{os.getpid()}"
    await engine.start(launch(f"{mark} & echo on; sleep 1000"), silent)
    await printed(engine, b"on")
    keeper = engine.attempts.at("task-1.1").keeper()
    assert keeper is not None
    os.kill(keeper.pid, signal.SIGKILL)
    ended = await engine.wait("task-1.1")
    assert (ended.exit_code, ended.reason) == (None, EndReason.ENGINE_LOST)
    assert "died" in ended.message
    await until(lambda: processes_with(mark.replace(" ", "\0")) == [])
    assert (await output(engine))[0] == b"on\n"
    assert [found.is_running for found in await engine.found()] == [False]


async def test_tasks_go_on_without_the_program_that_starts_them_and_others_follow(engine: KeptEngine) -> None:
    await engine.start(launch("echo on; sleep 0.5; echo off; exit 8"), silent)
    spawner = engine.attempts.spawner.pid
    assert spawner is not None
    os.kill(spawner, signal.SIGKILL)
    assert (await run(engine, "exit 9", "task-2.1"))[0].exit_code == 9
    assert (await output(engine))[0] == b"on\noff\n"
    assert (await engine.wait("task-1.1")).exit_code == 8


async def test_status_says_what_lacks(tmp_path: Path) -> None:
    engine = engine_at(data_folder(tmp_path), Host(environment={"PATH": str(tmp_path)}))
    async with started(engine):
        assert (engine.status.state, engine.status.hint) == ("absent", "apt install bubblewrap")
        with pytest.raises(LaunchFailed, match="bubblewrap"):
            await engine.start(launch("true"), silent)


async def test_status_says_what_was_proven(engine: KeptEngine) -> None:
    assert "not proven yet" in engine.status.message
    await run(engine, "true")
    assert engine.status.state == "ok"
    assert "limits by cgroup v" in engine.status.message


async def test_stop_amid_the_proof_leaves_nothing_of_it(tmp_path: Path) -> None:
    engine = engine_at(data_folder(tmp_path))
    async with started(engine), trio.open_nursery() as nursery:
        nursery.start_soon(engine.start, launch("true", image="host"), silent)
        await until(lambda: list(engine.attempts.folder.iterdir()))
        nursery.cancel_scope.cancel()
    assert [path.name for path in engine.attempts.folder.iterdir() if path.name != "task-1.1"] == []
    group = engine.attempts.hierarchies.group(engine.attempts.group_name("appliance-probe"))
    assert not any(folder.exists() for folder in group.unique)


async def test_tasks_are_refused_where_no_limits_can_be_set_unless_that_is_wanted(tmp_path: Path) -> None:
    root = tmp_path / "host"
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mountinfo").write_text("1 1 0:1 / / rw - ext4 /dev/x rw\n")
    host = Host(root=root)
    refusing = engine_at(data_folder(tmp_path), host)
    async with started(refusing):
        assert refusing.status.state == "unavailable"
        assert "memory, cpu, pids" in refusing.status.message
        assert "advisory" in refusing.status.hint
    async with sandboxes(tmp_path, limits="advisory") as engine:
        engine.attempts.hierarchies = refusing.attempts.hierarchies
        ended, stdout, _ = await run(engine, "echo on; exit 2", memory_mib=64, millicores=100)
        assert (ended.exit_code, stdout) == (2, b"on\n")
        await engine.start(launch("trap '' TERM; echo on; sleep 1000", "task-2.1"), silent)
        await printed(engine, b"on", "task-2.1")
        usage = await engine.usage("task-2.1")
        assert usage is not None
        assert (usage.pids or 0) >= 2
        await engine.stop("task-2.1", grace_seconds=0.1)
        assert (await engine.wait("task-2.1")).exit_code == 137


@pytest.mark.gpu
async def test_task_with_a_gpu_sees_that_one_alone(engine: KeptEngine) -> None:
    listed = (await trio.run_process(["nvidia-smi", "-L"], capture_stdout=True)).stdout.decode()
    gpu_id = listed.rpartition("UUID: ")[2].strip(")\n ")
    ended, stdout, _ = await run(engine, "nvidia-smi -L", image="host", gpu_ids=(gpu_id,))
    assert ended.exit_code == 0
    assert [line for line in stdout.decode().splitlines() if "UUID" in line and gpu_id not in line] == []
