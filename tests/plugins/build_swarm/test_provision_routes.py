"""Provisioning, where this process does not run from the built file: nothing is pretended."""

from pathlib import Path

from plugins.build_swarm.provisioning import FILE_PATH
from tests.plugins.build_swarm.kit import swarm


async def test_appliance_that_runs_from_a_checkout_has_no_file_to_give(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        for path in ("/api/v1/provision/bootstrap", FILE_PATH):
            assert "not available" in await one.refused("GET", path, status=501)
        await one.refused("GET", "/api/v1/provision/bootstrap?name=a;b", status=400)


async def test_host_that_nobody_has_approved_is_not_entered(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        drone = await one.drone()
        for body, status in (
            ({"name": drone.name}, 409),
            ({"ip": "127.0.0.1"}, 409),
            ({"ip": "not an address"}, 400),
            ({"name": "../x"}, 400),
            ({}, 400),
        ):
            await one.refused("POST", "/api/v1/provision/drone", body, status=status)
