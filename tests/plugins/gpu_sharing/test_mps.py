"""MPS control daemons, against a stand-in for NVIDIA's program that is a program."""

import json
import os
import pwd
import signal
import stat
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define

from appliance.testing import until
from plugins.gpu_sharing.launching import Identity
from plugins.gpu_sharing.models import Agent, Gpu, Worker
from plugins.gpu_sharing.mps import MISSING, Mps, MpsState, wants
from tests.plugins.gpu_sharing.mps_device import MpsDevice, is_alive, mps_device

OWN = Identity(uid=os.geteuid(), gid=os.getegid(), home=Path("/"), is_own=True)
NOBODY = pwd.getpwnam("nobody")
OTHER = Identity(uid=NOBODY.pw_uid, gid=NOBODY.pw_gid, home=Path("/"), is_own=False)


def agent(vendor: str = "nvidia") -> Agent:
    gpus = tuple(
        Gpu(gpu_id=gpu_id, gpu_index=place, vendor=vendor, model="H200", vram_mb=1000)
        for place, gpu_id in enumerate(("GPU-0", "GPU-1", "MIG-0"))
    )
    made: dict[str, Any] = {
        "agent_id": "a",
        "owner": "",
        "hostname": "box",
        "os": "linux",
        "arch": "amd64",
        "host_id": "h",
    }
    return Agent(**made, gpus=gpus, is_local=True, created_unix_us=1)


def worker(worker_id: str = "w1", *gpu_ids: str, **changes: Any) -> Worker:
    made: dict[str, Any] = {"agent_id": "a", "name": worker_id, "listen_port": 9001, "compute_percent": 40}
    return Worker(worker_id=worker_id, gpu_ids=gpu_ids or ("GPU-0",), created_unix_us=1, **made | changes)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[MpsDevice]:
    with mps_device() as made:
        monkeypatch.setenv("PATH", f"{made.bin}:{os.environ['PATH']}")
        yield made


@define
class Serving:
    mps: Mps
    device: MpsDevice

    def want(self, one: Worker, identity: Identity = OWN) -> MpsState:
        found = self.mps.want(one, agent(), identity)
        assert found is not None
        return found

    async def ready(self, one: Worker, identity: Identity = OWN) -> MpsState:
        await until(lambda: self.want(one, identity).is_ready)
        return self.want(one, identity)

    def starts(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.device.lines("starts")]


def daemons(device: MpsDevice, **changes: Any) -> Mps:
    quick: dict[str, Any] = {
        "linger_seconds": 0.3,
        "ready_seconds": 30.0,
        "ask_seconds": 0.3,
        "backoff_seconds": (0.3,),
    }
    return Mps(device.folder / "own", "instance-1", run_folder=device.run, **quick | changes)


@asynccontextmanager
async def serving(device: MpsDevice, **changes: Any) -> AsyncIterator[Serving]:
    mps = daemons(device, **changes)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda *, task_status: mps.run(task_status=task_status))
        yield Serving(mps, device)
        mps.release_all()
        nursery.cancel_scope.cancel()


def left(argv: list[str], variables: dict[str, str]) -> "subprocess.Popen[bytes]":
    """Start a program that is none of a service's children."""
    return subprocess.Popen(argv, env=variables)


def mode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return stat.S_IMODE(found.st_mode), found.st_uid


async def test_daemon_of_ours_serves_the_gpus_of_its_workers_from_folders_that_are_its_users_alone(
    device: MpsDevice,
) -> None:
    async with serving(device) as here:
        first = here.want(worker())
        assert (first.is_ready, first.is_starting, first.generation) == (False, True, 0)
        found = await here.ready(worker())
        assert (found.generation, found.why) == (1, "")
        assert found.pipe is not None
        (start,) = here.starts()
        assert start["CUDA_VISIBLE_DEVICES"] == "GPU-0"
        assert start["CUDA_MPS_PIPE_DIRECTORY"] == str(found.pipe)
        assert found.pipe.is_relative_to(device.folder / "own")
        assert [mode(Path(start[name])) for name in ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")] == [
            (0o700, os.geteuid())
        ] * 2
    assert not is_alive(start["pid"])
    assert not found.pipe.exists()


async def test_workers_of_one_user_and_gpu_share_a_daemon_and_others_have_their_own(device: MpsDevice) -> None:
    async with serving(device) as here:
        first, second = await here.ready(worker("w1")), await here.ready(worker("w2"))
        both = await here.ready(worker("w3", "GPU-1", "GPU-0"))
        assert first.pipe == second.pipe != both.pipe
        assert [start["CUDA_VISIBLE_DEVICES"] for start in here.starts()] == ["GPU-0", "GPU-0,GPU-1"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts programs of others")
async def test_daemon_of_another_users_worker_runs_as_that_user_and_quits_for_it(device: MpsDevice) -> None:
    async with serving(device) as here:
        own, other = await here.ready(worker("w1")), await here.ready(worker("w2"), OTHER)
        assert other.pipe is not None
        assert own.pipe != other.pipe
        assert other.pipe.is_relative_to(device.run)
        assert mode(other.pipe) == (0o700, OTHER.uid)
        assert mode(other.pipe.parent) == (0o711, 0)
        assert {start["uid"] for start in here.starts()} == {0, OTHER.uid}
        here.mps.release("w2")
        pipe = other.pipe
        await until(lambda: here.mps.state("w2") is None and not pipe.exists())
        assert f"{other.pipe} quit" in device.lines("asked")
        assert here.want(worker("w1")).is_ready


async def test_daemon_that_ends_is_started_again_and_its_servers_do_not_stay(device: MpsDevice) -> None:
    async with serving(device) as here:
        await here.ready(worker())
        (start,) = here.starts()
        os.kill(start["pid"], signal.SIGKILL)
        await until(lambda: not here.want(worker()).is_ready)
        assert here.want(worker()).generation == 1
        assert "ended with status -9" in here.want(worker()).why
        assert not here.want(worker()).is_starting
        assert (await here.ready(worker())).generation == 2
        assert not is_alive(start["server"])


@pytest.mark.long
async def test_daemon_that_does_not_answer_any_more_is_replaced(device: MpsDevice) -> None:
    async with serving(device) as here:
        await here.ready(worker())
        (start,) = here.starts()
        device.behave("mute")
        await until(lambda: "did not answer any more" in here.want(worker()).why, seconds=30)
        device.behave("well")
        assert (await here.ready(worker())).generation == 2
        assert not is_alive(start["pid"])


async def test_daemon_that_ends_at_once_is_tried_again_ever_later_and_nobody_waits_for_it(device: MpsDevice) -> None:
    device.behave("dead")
    async with serving(device, backoff_seconds=(0.1, 1000.0)) as here:
        await until(lambda: "ended with status 3" in here.want(worker()).why)
        found = here.want(worker())
        assert (found.is_ready, found.is_starting, found.generation) == (False, False, 0)
        (daemon,) = here.mps._daemons.values()
        await until(lambda: daemon.ends == 2)
        assert daemon.start_at - trio.current_time() > 900


async def test_daemon_that_nobody_wants_any_more_is_told_to_quit(device: MpsDevice) -> None:
    async with serving(device) as here:
        found = await here.ready(worker())
        assert here.mps.want(worker(compute_percent=None), agent(), OWN) is None
        (start,) = here.starts()
        assert found.pipe is not None
        pipe = found.pipe
        await until(lambda: not pipe.exists())
        assert device.lines("asked")[-1] == f"{found.pipe} quit"
        assert not is_alive(start["pid"])
        assert not is_alive(start["server"])


async def test_what_a_killed_run_has_left_ends_and_daemons_of_others_are_never_spoken_to(device: MpsDevice) -> None:
    pipe = device.folder / "theirs"
    pipe.mkdir()
    program = str(device.bin / "nvidia-cuda-mps-control")
    variables = {"CUDA_VISIBLE_DEVICES": "", "CUDA_MPS_LOG_DIRECTORY": "", "CUDA_MPS_PIPE_DIRECTORY": str(pipe)}
    remains = device.run / "appliance-mps" / "instance1" / "0-abc" / "pipe"
    remains.mkdir(parents=True)
    with (
        left([program, "-f"], variables) as theirs,
        left(["/bin/sleep", "1000"], {"APPLIANCE_WORKER": "mps:instance-1:0-abc"}) as ours,
    ):
        try:
            await until((pipe / "control").exists)
            async with serving(device) as here:
                assert ours.wait(5) == -signal.SIGKILL
                assert not remains.parent.exists()
                await here.ready(worker())
            assert theirs.poll() is None
            assert not [line for line in device.lines("asked") if line.startswith(str(pipe))]
        finally:
            theirs.send_signal(signal.SIGKILL)
            for start in device.lines("starts"):
                if is_alive(json.loads(start)["server"]):
                    os.kill(json.loads(start)["server"], signal.SIGKILL)


async def test_host_without_mps_says_so(device: MpsDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    found = daemons(device).want(worker(), agent(), OWN)
    assert found == MpsState(why=MISSING)


@pytest.mark.parametrize(
    ("one", "vendor", "is_wanted"),
    [
        (worker(), "nvidia", True),
        (worker(isolation_mode="soft"), "nvidia", True),
        (worker(vram_mb=100, compute_percent=None), "nvidia", True),
        (worker(compute_percent=None), "nvidia", False),
        (worker(isolation_mode="hard"), "nvidia", False),
        (worker("w1", "GPU-0", "MIG-0"), "nvidia", False),
        (worker("w1", "GPU-9"), "nvidia", False),
        (worker(), "amd", False),
    ],
)
def test_mps_is_for_soft_parts_of_whole_nvidia_gpus(one: Worker, vendor: str, is_wanted: bool) -> None:
    assert wants(one, agent(vendor)) is is_wanted
