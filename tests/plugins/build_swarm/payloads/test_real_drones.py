"""Payloads on drones behind a real sshd: what is deployed, verified and rolled back is looked at on the drone itself.

All drones here share this host, and each has a home of its own that its sessions hold open: so ``/proc/self/fd/9``
leads to another place on each, as one path does on different machines.
"""

import hashlib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio
from attrs import define

from plugins.build_swarm.payloads.catalogue import Catalogue
from plugins.build_swarm.payloads.contents import Contents
from plugins.build_swarm.payloads.deploying import Deployer, DeployFailed
from plugins.build_swarm.payloads.health import Health
from plugins.build_swarm.payloads.journal import Journal
from plugins.build_swarm.payloads.models import NewVersion
from plugins.build_swarm.payloads.service import Payloads, RollRequest
from plugins.build_swarm.payloads.settings import PayloadDestination, PayloadSettings
from tests.plugins.build_swarm import ssh_kit
from tests.plugins.build_swarm.payloads.parts import BY
from tests.wire.sshd import Sshd, running_sshd

PROGRAM = "/proc/self/fd/9/opt/bin/swarm-drone"
SETTINGS = PayloadSettings(
    payload_destinations={"drone_binary": PayloadDestination(path=PROGRAM)},
    payload_folder="/proc/self/fd/9/payloads",
)
GOOD = b"#!/bin/sh\nexit 0\n"
BAD = b"#!/bin/sh\nexit 1\n"
SERVICE = 'echo "$*" >> "$HOME/restarts"; exec "$HOME/opt/bin/swarm-drone"'
"""Restarts by running what was deployed: it comes up, or does not."""


@define(eq=False)
class Farm:
    """Drones, and payloads on the real ways into them."""

    box: ssh_kit.Box
    payloads: Payloads
    drones: dict[str, Sshd]

    def file(self, drone: str) -> Path:
        return self.drones[drone].folder / "home" / "opt" / "bin" / "swarm-drone"

    def files(self, drone: str) -> set[str]:
        home = self.drones[drone].folder / "home"
        return {str(one.relative_to(home)) for one in home.rglob("*") if one.is_file()} - {"restarts"}

    def restarts(self, drone: str) -> int:
        path = self.drones[drone].folder / "home" / "restarts"
        return len(path.read_text().splitlines()) if path.exists() else 0

    async def add(self, version: str, content: bytes) -> None:
        async with self.payloads.catalogue.incoming() as written:
            await written.write(content)
            await self.payloads.catalogue.add(NewVersion(payload_type="drone_binary", version=version), written)

    async def deploy(self, drone: str, version: str) -> None:
        await self.payloads.deploy(drone, "drone_binary", version, verify=True, by=BY)

    async def roll(self, version: str, *, health_check: bool = True) -> dict[str, tuple[bool, str]]:
        request = RollRequest(
            payload_type="drone_binary", version=version, drones=None, health_check=health_check, by=BY
        )
        return {one.drone: (one.success, one.message) for one in await self.payloads.roll(request)}


@pytest.fixture
def two_sshd(tmp_path: Path) -> Iterator[dict[str, Sshd]]:
    with ExitStack() as stack:
        drones = {name: stack.enter_context(running_sshd(tmp_path / name)) for name in ("drone-a", "drone-b")}
        for drone in drones.values():
            drone.stub("rc-service", SERVICE)
            drone.stub("pgrep", "exit 0")
            session = drone.folder / "session"
            session.write_text(session.read_text().replace("\ncd\n", '\ncd\nexec 9< "$HOME"\n'))
        yield drones


@asynccontextmanager
async def farm_of(folder: Path, drones: dict[str, Sshd]) -> AsyncIterator[Farm]:
    async with ssh_kit.opened(folder) as box, box.serving(), trio.open_nursery() as nursery:
        for name, drone in drones.items():
            await box.approve(drone, name)
        catalogue = Catalogue(box.core, Contents(box.folder / "payloads"), SETTINGS.payload_bytes_max)
        journal = Journal(core=box.core, note=box.fleet.chronicle.note, monotonic=trio.current_time)
        deployer = Deployer(
            settings=SETTINGS,
            service="swarm-drone",
            approvals=box.approvals,
            ssh=box.ssh,
            catalogue=catalogue,
            journal=journal,
        )
        health = Health(find=box.fleet.find_drone, process="[s]warm-drone", seconds=60.0, probe_seconds=0.05)
        payloads = Payloads(core=box.core, fleet=box.fleet, catalogue=catalogue, deployer=deployer, health=health)
        await nursery.start(payloads.work.run)
        yield Farm(box, payloads, drones)
        nursery.cancel_scope.cancel()


async def test_deploy_puts_the_program_on_the_drone_and_verify_reads_it_there(
    tmp_path: Path, two_sshd: dict[str, Sshd]
) -> None:
    async with farm_of(tmp_path, two_sshd) as farm:
        large = GOOD + bytes(range(256)) * 12_000  # beyond what one argument of a command can hold
        await farm.add("1.0", large)
        await farm.deploy("drone-a", "1.0")
        assert farm.file("drone-a").read_bytes() == large
        assert farm.file("drone-a").stat().st_mode & 0o777 == 0o755
        assert farm.files("drone-a") == {"opt/bin/swarm-drone"}
        assert farm.files("drone-b") == set()
        found = await farm.payloads.verify("drone_binary", "drone-a")
        assert (found.matches, found.sha256) == (True, hashlib.sha256(large).hexdigest())
        farm.file("drone-a").write_bytes(large + b"\n")
        assert not (await farm.payloads.verify("drone_binary", "drone-a")).matches
        farm.file("drone-a").unlink()
        found = await farm.payloads.verify("drone_binary", "drone-a")
        assert (found.matches, found.sha256) == (False, None)
        assert "No such file" in found.message


@pytest.mark.long
async def test_roll_whose_program_does_not_come_up_brings_back_what_each_drone_had(
    tmp_path: Path, two_sshd: dict[str, Sshd]
) -> None:
    async with farm_of(tmp_path, two_sshd) as farm:
        await farm.add("1.0", GOOD + b"# 1.0\n")
        first = await farm.roll("1.0")
        assert {name: good for name, (good, _) in first.items()} == {"drone-a": True, "drone-b": True}
        before = farm.file("drone-a").stat()
        await farm.add("2.0", GOOD + b"# 2.0\n")
        # The second drone's own service refuses what it gets now.
        refusing = 'echo "$*" >> "$HOME/restarts"; grep -q 1.0 "$HOME/opt/bin/swarm-drone"'
        two_sshd["drone-b"].stub("rc-service", refusing)
        results = await farm.roll("2.0")
        assert results["drone-a"] == (False, "rolled back to drone_binary v1.0 (drone-b failed)")
        assert results["drone-b"][1].startswith("rolled back to drone_binary v1.0 (")
        assert "swarm-drone did not restart" in results["drone-b"][1]
        for name in two_sshd:
            assert farm.file(name).read_bytes() == GOOD + b"# 1.0\n"
            assert farm.files(name) == {"opt/bin/swarm-drone"}
            assert farm.restarts(name) == 3  # of 1.0, of 2.0, and of 1.0 again
            assert (await farm.payloads.verify("drone_binary", name)).matches
        after = farm.file("drone-a").stat()
        assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


async def test_first_roll_that_fails_leaves_no_file_on_any_drone(tmp_path: Path, two_sshd: dict[str, Sshd]) -> None:
    async with farm_of(tmp_path, two_sshd) as farm:
        await farm.add("1.0", BAD)
        results = await farm.roll("1.0")
        assert results["drone-a"][1].startswith("rolled back to no file, as before")
        assert results["drone-b"] == (False, "not reached: the roll ended at drone-a")
        assert farm.files("drone-a") == farm.files("drone-b") == set()
        matrix = await farm.payloads.matrix()
        assert [rows for _, rows in matrix.drones] == [[], []]


async def test_connection_that_ends_in_the_middle_leaves_the_old_program(
    tmp_path: Path, two_sshd: dict[str, Sshd]
) -> None:
    async with farm_of(tmp_path, two_sshd) as farm:
        await farm.add("1.0", GOOD)
        await farm.deploy("drone-a", "1.0")
        await farm.add("2.0", BAD)
        drone = two_sshd["drone-a"]
        drone.stub("install", f'touch "{drone.folder}/installing"; sleep 60')
        failures: list[DeployFailed] = []

        async def attempt() -> None:
            try:
                await farm.deploy("drone-a", "2.0")
            except DeployFailed as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(attempt)
            with trio.fail_after(30):
                while not await trio.Path(drone.folder / "installing").exists():  # noqa: ASYNC110  a program makes it
                    await trio.sleep(0.01)
            await trio.to_thread.run_sync(drone.drop)
        assert not failures[0].is_untouched
        assert "not known" not in failures[0].message
        assert farm.file("drone-a").read_bytes() == GOOD
        (_, rows), _ = (await farm.payloads.matrix()).drones
        assert [(row.version, row.status.value) for row in rows] == [("1.0", "failed")]


async def test_drone_that_is_down_fails_alone_and_the_others_get_theirs(
    tmp_path: Path, two_sshd: dict[str, Sshd]
) -> None:
    async with farm_of(tmp_path, two_sshd) as farm:
        await farm.add("1.0", GOOD)
        two_sshd["drone-a"].down()
        results = await farm.roll("1.0")
        assert {name: good for name, (good, _) in results.items()} == {"drone-a": False, "drone-b": True}
        assert farm.file("drone-b").read_bytes() == GOOD
        two_sshd["drone-a"].up()
        assert list(await farm.roll("1.0")) == ["drone-a"]
        assert farm.file("drone-a").read_bytes() == GOOD


async def test_service_that_keeps_what_it_was_started_with_holds_no_roll_up(
    tmp_path: Path, two_sshd: dict[str, Sshd]
) -> None:
    for drone in two_sshd.values():
        drone.stub("rc-service", SERVICE.replace("exec ", 'sleep 600 & echo $! > "$HOME/pid"; exec '))
    async with farm_of(tmp_path, two_sshd) as farm:
        await farm.add("1", GOOD)
        try:
            with trio.fail_after(50):  # less than one command may take
                results = await farm.roll("1")
        finally:
            for drone in two_sshd.values():
                if (pid := drone.folder / "home" / "pid").exists():
                    os.kill(int(pid.read_text()), signal.SIGKILL)
        assert [is_done for is_done, _ in results.values()] == [True, True]
