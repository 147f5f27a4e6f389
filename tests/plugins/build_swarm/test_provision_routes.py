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
        for body in ({"name": drone.name}, {"ip": "127.0.0.1"}, {"name": drone.name, "ip": "127.0.0.1"}):
            # The command line shows the error of such an answer; of a 409 it says that there is no server.
            said = await one.post("/api/v1/provision/drone", body)
            assert said["status"] == "ssh_failed"
            assert said["steps"] == []
            assert "is not approved for ssh (appliance swarm approve " in said["error"]
        for wrong in ({"ip": "not an address"}, {"name": "../x"}, {"name": drone.name, "ip": "x"}, {}):
            await one.refused("POST", "/api/v1/provision/drone", wrong, status=400)
