"""Attempts in real containers of Docker and of Podman: the same claims for both."""

import io
import json
import tarfile
from contextlib import aclosing
from pathlib import Path

import pytest
import trio

from appliance.engines import Found, LaunchFailed, TaskEngine, Volume
from appliance.host import Host
from appliance.jobs import EndReason
from plugins.engine_docker.engine import DockerEngine
from plugins.engine_docker.positions import GAP
from plugins.engine_docker.settings import DockerSettings
from tests.plugins.engine_docker.attempts import PATIENCE_SECONDS, Kept, ended, launch, output, run, silent
from tests.plugins.engine_docker.conftest import APPLIANCE_ID
from tests.plugins.engine_docker.daemons import IMAGE, Daemon

NOISE = (
    "echo one; echo two >&2; printf 'no end'; head -c 40000 /dev/zero | tr '\\0' x; printf 'err\\r\\n\\n' >&2; exit 3"
)
STDOUT = b"one\nno end" + b"x" * 40_000
STDERR = b"two\nerr\r\n\n"


def other(daemon: Daemon, folder: Path, appliance_id: str = APPLIANCE_ID) -> DockerEngine:
    """Return a second engine object, as after a restart of the appliance."""
    return DockerEngine(DockerSettings(host=daemon.url, pull="never"), Host(), folder, appliance_id)


async def test_engine_is_one_and_says_what_it_found(
    engine: DockerEngine, daemon: Daemon, nursery: trio.Nursery
) -> None:
    checked: TaskEngine = engine
    assert checked.status.state == "starting"
    await nursery.start(engine.run)
    assert engine.status.state == "ok"
    assert engine.name == "docker"
    assert ("Podman" if daemon.kind == "podman" else "Docker") in engine.status.message
    assert engine.status.features >= {"pull", "network"}
    nursery.cancel_scope.cancel()


async def test_attempt_ends_with_its_exit_code_and_its_output_byte_by_byte(engine: DockerEngine) -> None:
    verdict, stdout, stderr = await run(engine, "task-1.1", NOISE)
    assert (verdict.exit_code, verdict.reason) == (3, EndReason.EXIT)
    assert verdict.ended_at_unix_us is not None
    assert (stdout, stderr) == (STDOUT, STDERR)
    await engine.start(launch("task-1.1", "echo again"), silent)  # it has ended: nothing happens
    assert await output(engine, "task-1.1", stdout=5, stderr=4) == (STDOUT[5:], STDERR[4:])
    assert await output(engine, "task-1.1", stdout=len(STDOUT) - 1, stderr=len(STDERR)) == (b"x", b"")


async def test_output_comes_while_the_attempt_runs_and_another_engine_object_goes_on(
    engine: DockerEngine, daemon: Daemon, tmp_path: Path
) -> None:
    command = "echo first; echo e1 >&2; while [ ! -e /tmp/go ]; do sleep 0.05; done; echo second; echo e2 >&2; exit 4"
    await engine.start(launch("task-1.1", command), silent)
    seen = {"stdout": b"", "stderr": b""}
    with trio.fail_after(PATIENCE_SECONDS):
        async with aclosing(engine.logs("task-1.1", skip={})) as chunks:
            async for chunk in chunks:
                seen[chunk.stream] += chunk.data
                if seen == {"stdout": b"first\n", "stderr": b"e1\n"}:
                    break
    later = other(daemon, tmp_path)
    assert await later.found() == [Found(attempt_id="task-1.1", job_id="task-1", fencing_token=7, is_running=True)]
    await later.start(launch("task-1.1", command), silent)  # it runs: nothing happens
    _touch(daemon, "task-1.1", "/tmp/go")
    assert await output(later, "task-1.1", stdout=len(b"first\n"), stderr=1) == (b"second\n", b"1\ne2\n")
    assert (await ended(later, "task-1.1")).exit_code == 4
    assert not (await later.found())[0].is_running


def _touch(daemon: Daemon, attempt_id: str, path: str) -> None:
    """Put an empty file into a running container."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo(path.lstrip("/")))
    name = f"appliance-{APPLIANCE_ID[:8]}-{attempt_id}"
    answer = daemon.request("PUT", f"/containers/{name}/archive?path=/", archive.getvalue())
    assert answer.status_code == 200, answer.text


FLOOD = "echo first; while [ ! -e /tmp/go ]; do sleep 0.05; done; sleep 1.5; yes flood | head -c 3000000; echo last"


@pytest.mark.long  # megabytes through the engine's log
async def test_log_says_where_the_engine_dropped_what_nobody_had_read(daemon: Daemon, tmp_path: Path) -> None:
    settings = DockerSettings(host=daemon.url, pull="never", log_mib=1)
    engine = DockerEngine(settings, Host(), tmp_path, APPLIANCE_ID)
    await engine.start(launch("task-1.1", FLOOD), silent)
    with trio.fail_after(PATIENCE_SECONDS):
        async with aclosing(engine.logs("task-1.1", skip={})) as chunks:
            assert (await anext(chunks)).data == b"first\n"
    _touch(daemon, "task-1.1", "/tmp/go")
    await ended(engine, "task-1.1")
    again = DockerEngine(settings, Host(), tmp_path, APPLIANCE_ID)
    stdout, _ = await output(again, "task-1.1", stdout=len(b"first\n"))
    assert stdout.startswith(GAP)
    assert stdout.endswith(b"flood\nlast\n")
    assert len(stdout) < 1_100_000
    assert await output(again, "task-1.1", stdout=len(b"first\n" + stdout) - 5) == (b"last\n", b"")
    await again.remove("task-1.1")


async def test_attempt_that_was_made_and_not_started_is_started(engine: DockerEngine, daemon: Daemon) -> None:
    body = {
        "Image": IMAGE,
        "Entrypoint": ["/bin/sh", "-c", "echo made"],
        "Labels": {"appliance.id": APPLIANCE_ID, "appliance.attempt": "task-1.1", "appliance.token": "7"},
        "HostConfig": {
            "NetworkMode": "none",
            "Ulimits": [{"Name": name, "Soft": 99, "Hard": 99} for name in ("nofile", "nproc")],
        },
    }
    name = f"appliance-{APPLIANCE_ID[:8]}-task-1.1"
    made = daemon.request_json("POST", f"/containers/create?name={name}", body)
    assert made.status_code == 201, made.text
    assert (await ended(engine, "task-1.1")).reason is EndReason.ENGINE_LOST
    _, stdout, _ = await run(engine, "task-1.1", "echo other")
    assert stdout == b"made\n"


async def test_memory_limit_ends_an_attempt_as_out_of_memory(engine: DockerEngine) -> None:
    verdict, _, _ = await run(engine, "task-1.1", "tail /dev/zero", memory_mib=32)
    assert (verdict.exit_code, verdict.reason) == (137, EndReason.OOM)


LIMITS = """
cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup/cpu.max
cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max
cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max
grep CapEff /proc/self/status | cut -f2
grep NoNewPrivs /proc/self/status | cut -f2
ls /sys/class/net
echo $PYTHONUNBUFFERED $NVIDIA_VISIBLE_DEVICES $WHO
cat /volumes/data/shared
touch /volumes/data/new 2>/dev/null || echo read-only
touch /volumes/scratch/new && echo writable
cat /input/a.txt /input/sub/b.txt
ls /input
for i in $(seq 80); do sleep 1 & done
"""


async def test_container_has_what_the_launch_says_and_nothing_more(engine: DockerEngine, tmp_path: Path) -> None:
    data, scratch, inputs = tmp_path / "data", tmp_path / "scratch", tmp_path / "inputs"
    for folder in (data, scratch, inputs / "sub"):
        folder.mkdir(parents=True)
    (data / "shared").write_text("lent\n")
    (inputs / "a.txt").write_text("a\n")
    (inputs / "sub" / "b.txt").write_text("b\n")
    (inputs / "link").symlink_to("/etc/hostname")
    verdict, stdout, stderr = await run(
        engine,
        "task-1.1",
        LIMITS,
        millicores=500,
        memory_mib=64,
        pids_max=50,
        privileges=frozenset({"SYS_PTRACE"}),
        environment={"WHO": "é = x", "NVIDIA_VISIBLE_DEVICES": "all"},
        volumes=(
            Volume(name="data", source=data, read_only=True),
            Volume(name="scratch", source=scratch, read_only=False),
        ),
        inputs=inputs,
    )
    lines = stdout.decode().splitlines()
    assert verdict.exit_code is not None
    assert b"can't fork" in stderr  # of 80 processes, 50 may be
    assert lines[:6] == ["50000", str(64 * 2**20), "50", f"{1 << 19:016x}", "1", "lo"]
    assert lines[6:] == ["1 void é = x", "lent", "read-only", "writable", "a", "b", "a.txt", "sub"]
    assert (scratch / "new").exists()


async def test_stop_lets_an_attempt_end_by_itself_within_the_grace(engine: DockerEngine) -> None:
    command = "trap 'echo bye; exit 9' TERM; echo up; while true; do sleep 0.05; done"
    await engine.start(launch("task-1.1", command), silent)
    async with aclosing(engine.logs("task-1.1", skip={})) as chunks:
        await anext(chunks)
    usage = await engine.usage("task-1.1")
    assert usage is not None
    assert usage.memory_bytes
    assert usage.cpu_seconds
    assert usage.pids
    with trio.fail_after(PATIENCE_SECONDS):
        await engine.stop("task-1.1", grace_seconds=PATIENCE_SECONDS / 2)
    assert (await ended(engine, "task-1.1")).exit_code == 9
    assert await output(engine, "task-1.1") == (b"up\nbye\n", b"")
    assert await engine.usage("task-1.1") is None


async def test_stop_kills_what_does_not_end(engine: DockerEngine) -> None:
    await engine.start(launch("task-1.1", "trap '' TERM; while true; do sleep 0.05; done", memory_mib=64), silent)
    with trio.fail_after(PATIENCE_SECONDS):
        await engine.stop("task-1.1", grace_seconds=0.1)
        await engine.stop("task-1.1", grace_seconds=0.1)
    verdict = await ended(engine, "task-1.1")
    assert (verdict.exit_code, verdict.reason) == (137, EndReason.EXIT)


async def test_what_is_not_there_is_lost_and_nothing_happens_to_it(engine: DockerEngine) -> None:
    assert (await ended(engine, "task-9.1")).reason is EndReason.ENGINE_LOST
    assert await output(engine, "task-9.1") == (b"", b"")
    await engine.stop("task-9.1", grace_seconds=1)
    await engine.remove("task-9.1")
    assert await engine.usage("task-9.1") is None
    sink = Kept()
    await engine.collect("task-9.1", sink)
    assert not sink.files


async def test_removing_a_running_attempt_leaves_nothing_of_it_and_no_other_appliance_can(
    engine: DockerEngine, daemon: Daemon, tmp_path: Path
) -> None:
    await engine.start(launch("task-1.1", "sleep 600"), silent)
    stranger = other(daemon, tmp_path, "ffffffff-0000-4000-8000-000000000000")
    assert await stranger.found() == []
    await stranger.remove("task-1.1")
    assert [one.is_running for one in await engine.found()] == [True]
    with trio.fail_after(PATIENCE_SECONDS):
        await engine.remove("task-1.1")
        await engine.remove("task-1.1")
    assert await engine.found() == []


async def test_missing_image_fails_without_a_trace(engine: DockerEngine) -> None:
    with pytest.raises(LaunchFailed, match="no image") as caught:
        await engine.start(launch("task-1.1", "true", image="localhost/nobody:1"), silent)
    assert caught.value.reason is EndReason.IMAGE
    assert await engine.found() == []


@pytest.mark.long  # Podman tries three times
async def test_pull_that_is_refused_says_why(daemon: Daemon, tmp_path: Path) -> None:
    told: list[str] = []
    engine = DockerEngine(DockerSettings(host=daemon.url), Host(), tmp_path, APPLIANCE_ID)
    with pytest.raises(LaunchFailed, match="cannot be fetched") as caught, trio.fail_after(PATIENCE_SECONDS):
        # A registry of the engine's own host where nobody listens.
        await engine.start(launch("task-1.1", "true", image="127.0.0.1:9/nobody:1"), told.append)
    assert caught.value.reason is EndReason.IMAGE
    assert told
    assert await engine.found() == []


async def test_image_without_a_shell_cannot_run_a_command(engine: DockerEngine, daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no program")
    with tarfile.open(tmp_path / "empty.tar", "w") as tar:
        tar.add(tmp_path / "data", "data")
    daemon.load(tmp_path / "empty.tar", "localhost/empty")
    with pytest.raises(LaunchFailed, match="the image cannot run the command") as caught:
        await engine.start(launch("task-1.1", "true", image="localhost/empty:latest"), silent)
    assert caught.value.reason is EndReason.IMAGE
    assert await engine.found() == []


async def test_gpus_are_refused_where_the_engine_has_none(engine: DockerEngine) -> None:
    with pytest.raises(LaunchFailed, match="GPU") as caught:
        await engine.start(launch("task-1.1", "true", gpu_ids=("GPU-0a",)), silent)
    assert caught.value.reason is EndReason.REFUSED


OUTPUT = """
cd /output; mkdir -p deep/er; echo hi > a; echo x > "deep/er/é b"; ln -s /etc/passwd link; ln -s /etc folder
mkfifo fifo; ln a second; head -c 3000000 /dev/zero > refused; echo after > z; : > empty; chmod 000 z
"""


async def test_files_below_output_are_collected_and_nothing_else(engine: DockerEngine) -> None:
    verdict, _, stderr = await run(engine, "task-1.1", OUTPUT)
    assert verdict.exit_code == 0, stderr
    sink = Kept()
    await engine.collect("task-1.1", sink)
    assert sink.files == {"a": b"hi\n", "deep/er/é b": b"x\n", "z": b"after\n", "empty": b""}
    assert sink.sizes["refused"] == 3_000_000
    assert sink.skipped.keys() == {"link", "folder", "fifo", "second"}


async def test_output_that_is_a_link_leads_nowhere(engine: DockerEngine) -> None:
    # With Podman the folder of all folders is not the task's to change, and the link is made below /output.
    await run(engine, "task-1.1", "rmdir /output; ln -s /etc /output")
    sink = Kept()
    await engine.collect("task-1.1", sink)
    assert sink.files == {}


async def test_terminal_is_one_stream_and_goes_on_where_it_was(engine: DockerEngine) -> None:
    verdict, stdout, stderr = await run(engine, "task-1.1", "tty; echo two >&2; exit 5", tty=True)
    assert verdict.exit_code == 5
    assert (stdout, stderr) == (b"/dev/pts/0\r\ntwo\r\n", b"")
    assert await output(engine, "task-1.1", stdout=12) == (b"two\r\n", b"")


SERVERS = (
    "for a in 10.99.0.1 169.254.169.254; do printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 $a 80 | tail -n 1; echo; done"
)


async def test_bridge_reaches_a_server_and_no_link_local_address(engine: DockerEngine, daemon: Daemon) -> None:
    command = f"ip route del unreachable 169.254.0.0/16; {SERVERS}"
    _, stdout, stderr = await run(engine, "task-1.1", command, network="bridge")
    assert stdout.split() == [b"served"]
    assert b"not permitted" in stderr  # the task cannot take the fence away
    assert b"169.254.169.254" in stderr
    # A fence whose task is gone is found all the same, so that it is removed.
    name = f"appliance-{APPLIANCE_ID[:8]}-task-1.1"
    assert daemon.request("DELETE", f"/containers/{name}?force=1").status_code == 204
    assert await engine.found() == [Found(attempt_id="task-1.1", job_id="task-1", fencing_token=7, is_running=False)]
    await engine.remove("task-1.1")
    assert daemon.request("GET", "/containers/json?all=1").json() == []


async def test_capability_that_would_take_the_fence_away_is_refused(engine: DockerEngine) -> None:
    with pytest.raises(LaunchFailed, match="NET_ADMIN") as caught:
        await engine.start(launch("task-2.1", "true", network="bridge", privileges=frozenset({"NET_ADMIN"})), silent)
    assert caught.value.reason is EndReason.REFUSED


async def test_bridge_reaches_link_local_addresses_where_that_is_allowed(engine: DockerEngine) -> None:
    _, stdout, _ = await run(engine, "task-1.1", SERVERS, network="bridge", link_local=True)
    assert stdout.split() == [b"served", b"served"]


async def test_container_of_our_name_that_is_not_ours_is_left_alone(engine: DockerEngine, daemon: Daemon) -> None:
    body = {"Image": IMAGE, "Entrypoint": ["/bin/true"], "HostConfig": {"NetworkMode": "none"}}
    name = f"appliance-{APPLIANCE_ID[:8]}-task-1.1"
    assert daemon.request_json("POST", f"/containers/create?name={name}", body).status_code == 201
    with pytest.raises(LaunchFailed, match="not ours"):
        await engine.start(launch("task-1.1", "true"), silent)
    assert json.loads(daemon.request("GET", f"/containers/{name}/json").content)["State"]["Status"] == "created"
