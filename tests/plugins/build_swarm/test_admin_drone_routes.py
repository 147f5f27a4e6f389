"""What the admin surface reads and changes on drones, on one that is a real sshd on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from appliance.testing import SteppingClock, until
from plugins.build_swarm.drone_locks import DroneLocks
from plugins.build_swarm.drone_world import PROTECTED
from tests.plugins.build_swarm.kit import Drone, Swarm, atom, swarm
from tests.wire.sshd import Sshd, running_sshd

ONE = "/admin/api/drones/drone-01"
LOCKS = "/admin/api/drone/drone-01"


@frozen
class Farm:
    """A swarm with one approved drone."""

    swarm: Swarm
    drone: Drone
    sshd: Sshd
    world: Path
    clock: SteppingClock

    @property
    def locks(self) -> DroneLocks:
        state: Any = next(one.state for one in self.swarm.appliance.state.plugins.parts["build_swarm"].surfaces)
        locks: DroneLocks = state.drone_locks
        return locks


@asynccontextmanager
async def farmed(folder: Path) -> AsyncIterator[Farm]:
    world, clock = folder / "portage" / "world", SteppingClock()
    world.parent.mkdir()
    world.write_text("app-misc/screen\nkde-plasma/kwin\nsys-apps/portage\n")
    config = "\n".join(("[plugins.build_swarm]", "healing_enabled = false", f'admin_world_file = "{world}"'))
    with running_sshd(folder / "drone") as sshd:
        sshd.stub("chattr", f'echo "chattr $*" >> "{sshd.folder}/calls"')
        sshd.stub("lsattr", 'echo "----i---------e------- $3"')
        sshd.stub("eselect", 'echo "Current:"; echo "  default/linux/amd64/23.0"')
        sshd.stub("emerge", f'echo "emerge $*" >> "{sshd.folder}/calls"')
        async with swarm(folder, config, now=clock) as one:
            sshd.authorize((await one.read("/api/appliance/swarm/approvals"))["public_key"])
            drone = await one.drone("drone-01")
            told = {"address": sshd.address, "port": sshd.port, "user": sshd.user, "host_key": sshd.host_key}
            await one.post("/api/appliance/swarm/drones/drone-01/approve", told)
            yield Farm(one, drone, sshd, world, clock)


async def called(farm: Farm, line: str) -> None:
    """Wait until the drone has run something."""
    await until(lambda: line in farm.sshd.calls, seconds=60)


async def test_packages_and_world_of_a_drone_are_read_and_compared(tmp_path: Path) -> None:
    async with farmed(tmp_path) as farm:
        found = await farm.swarm.read(f"{ONE}/packages")
        assert (found["drone"], found["ip"], found["profile"]) == ("drone-01", "127.0.0.1", "default/linux/amd64/23.0")
        assert found["world"] == ["app-misc/screen", "kde-plasma/kwin", "sys-apps/portage"]
        assert found["installed_count"] == len(found["installed"])
        audit = await farm.swarm.read(f"{ONE}/audit")
        assert (audit["excess"], audit["clean"], audit["is_base_profile"]) == (["kde-plasma/kwin"], False, True)
        assert "sys-devel/gcc" in audit["missing"]
        assert audit["allowed_count"] == 17
        await farm.swarm.post("/admin/api/drones/allowlist", {"package": "kde-plasma/kwin", "drone": "drone-01"})
        assert (await farm.swarm.read(f"{ONE}/audit"))["clean"]


async def test_drone_is_cleaned_as_was_shown_and_once(tmp_path: Path) -> None:
    async with farmed(tmp_path) as farm:
        one = farm.swarm
        shown = await one.post(f"{ONE}/clean/preflight")
        assert (shown["status"], shown["expires_in_s"]) == ("preflight_ok", 300)
        assert {each["name"]: each["passed"] for each in shown["checks"]} == {
            "not_building": True,
            "ssh_reachable": True,
            "immutable_flags": True,
            "allowlist_sanity": True,
            "critical_packages": True,
        }
        assert shown["diff"]["removing"] == ["kde-plasma/kwin"]
        token = shown["preflight_token"]
        body = {"preflight_token": token, "confirm_name": "drone-01"}
        await one.refused("POST", f"{ONE}/clean/execute", body | {"preflight_token": "0" * 48}, status=403)
        await one.refused("POST", f"{ONE}/clean/execute", body | {"confirm_name": "drone-1"}, status=400)
        done = await one.post(f"{ONE}/clean/execute", body)
        world = farm.world.read_text().splitlines()
        assert done["world_packages"] == world == sorted(world)
        assert set(world) >= PROTECTED
        assert "kde-plasma/kwin" not in world
        assert farm.sshd.calls[:2] == [f"chattr -i -- {farm.world}", f"chattr +i -- {farm.world}"]
        await called(farm, "emerge --depclean --ask=n")
        await one.refused("POST", f"{ONE}/clean/execute", body, status=403)
        assert [each["details"]["removed"] for each in (await one.read("/api/v1/events?type=clean"))["events"]] == [
            ["kde-plasma/kwin"]
        ]


async def test_drone_that_builds_is_not_cleaned(tmp_path: Path) -> None:
    async with farmed(tmp_path) as farm:
        one, package = farm.swarm, atom()
        before = farm.world.read_text()
        token = (await one.post(f"{ONE}/clean/preflight"))["preflight_token"]
        await one.queue(package)
        await farm.drone.work()
        await farm.drone.register(current_task=package)
        body = {"preflight_token": token, "confirm_name": "drone-01"}
        assert package in await one.refused("POST", f"{ONE}/clean/execute", body, status=409)
        shown = await one.post(f"{ONE}/clean/preflight")
        assert (shown["status"], shown["checks"][0]["passed"]) == ("preflight_failed", False)
        assert "preflight_token" not in shown
        assert farm.world.read_text() == before


async def test_drone_that_cannot_be_reached_is_told_so(tmp_path: Path) -> None:
    async with farmed(tmp_path) as farm:
        farm.sshd.down()
        shown = await farm.swarm.post(f"{ONE}/clean/preflight")
        assert (shown["status"], shown["checks"][-1]["name"]) == ("preflight_failed", "ssh_reachable")
        await farm.swarm.refused("GET", f"{ONE}/audit", status=502)
        await farm.swarm.refused("POST", f"{LOCKS}/lock", {}, status=502)


async def test_world_is_locked_unlocked_and_locked_again_in_time(tmp_path: Path) -> None:
    async with farmed(tmp_path) as farm:
        one = farm.swarm
        assert (await one.post(f"{LOCKS}/lock"))["locked"] is True
        done = await one.post(f"{LOCKS}/unlock", {"timer_minutes": 5})
        assert (done["locked"], done["timer"]) == (False, 5.0)
        assert (await one.read("/admin/api/drone-config/drone-01"))["locked"] == 0
        await farm.locks.look()
        lock, unlock = f"chattr +i -- {farm.world}", f"chattr -i -- {farm.world}"
        assert farm.sshd.calls == [lock, unlock]
        farm.clock.advance(301)
        await farm.locks.look()
        assert farm.sshd.calls == [lock, unlock, lock]
        assert (await one.read("/admin/api/drone-config/drone-01"))["locked"] == 1
        await farm.locks.look()
        assert farm.sshd.calls == [lock, unlock, lock]
        forever = await one.send("POST", f"{LOCKS}/unlock")
        assert (forever.status, forever.json["timer"]) == (200, 0.0)
        await one.refused("POST", f"{LOCKS}/unlock", {"timer_minutes": -1}, status=400)
        await one.refused("POST", f"{LOCKS}/unlock", {"timer_minutes": 1e9}, status=400)


async def test_lock_that_fails_on_the_drone_is_told(tmp_path: Path) -> None:
    async with farmed(tmp_path) as farm:
        farm.sshd.stub("chattr", 'echo "Operation not supported" >&2; exit 1')
        words = await farm.swarm.refused("POST", f"{LOCKS}/lock", {}, status=502)
        assert "Operation not supported" in words
        assert (await farm.swarm.read("/admin/api/drone-config/drone-01"))["_unconfigured"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{ONE}/packages"),
        ("GET", f"{ONE}/audit"),
        ("POST", f"{ONE}/clean/preflight"),
        ("POST", f"{ONE}/clean/execute"),
        ("POST", f"{LOCKS}/lock"),
        ("POST", f"{LOCKS}/unlock"),
    ],
)
async def test_drone_that_nobody_has_approved_is_not_entered(tmp_path: Path, method: str, path: str) -> None:
    async with swarm(tmp_path) as one:
        await one.drone("drone-01")
        reply = await one.send(method, path, {} if method == "POST" else None)
        assert (reply.status, reply.json["hint"]) == (409, "appliance swarm approve drone-01")


async def test_configuration_of_an_approved_drone_begins_with_the_defaults_of_the_page(tmp_path: Path) -> None:
    async with farmed(tmp_path) as one:
        config = "/admin/api/drone-config/drone-01"
        begun = {"ssh_user": "root", "ssh_port": 22, "locked": 1}
        assert (await one.swarm.send("POST", config, begun)).status == 200
        assert (await one.swarm.read(config))["ssh_port"] == one.sshd.port
        # From then on what is sent is what is meant.
        assert (await one.swarm.send("POST", config, begun)).status == 409


async def test_way_into_an_approved_drone_is_the_approved_one(tmp_path: Path) -> None:
    async with farmed(tmp_path) as farm:
        config = "/admin/api/drone-config/drone-01"
        found = await farm.swarm.read(config)
        assert (found["ssh_user"], found["ssh_port"]) == (farm.sshd.user, farm.sshd.port)
        reply = await farm.swarm.send("POST", config, {"ssh_port": 2222})
        assert reply.status == 409
        assert "--port 2222" in reply.json["hint"]
        same = {"ssh_user": farm.sshd.user, "ssh_port": farm.sshd.port, "notes": "ours"}
        assert (await farm.swarm.post(config, same))["notes"] == "ours"
