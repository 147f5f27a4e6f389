"""This host as a drone of its own swarm: shown always, building only where an operator has said so."""

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define

from appliance.host import Host
from appliance.testing import RunningAppliance, running
from plugins.build_swarm.drone.models import Refused
from plugins.build_swarm.local.place import runs_as_us
from plugins.build_swarm.local.server import LocalServer
from plugins.build_swarm.local.service import LocalDrone
from plugins.build_swarm.local.settings import LocalSettings
from plugins.build_swarm.state import SwarmState
from plugins.build_swarm.states import Drone, QueueRequest
from tests.plugins.build_swarm.binhost.packages import gpkg
from tests.plugins.build_swarm.drone.kit import until

ATOM = "=app-swarm/one-1.0"
EMERGE = """#!/bin/sh
echo emerging "$@"
"""


@define(eq=False)
class Here:
    """A running appliance on a host that has emerge."""

    appliance: RunningAppliance

    @property
    def state(self) -> SwarmState:
        found = self.appliance.running.plugins.parts["build_swarm"].surfaces[0].state
        assert isinstance(found, SwarmState)
        return found

    @property
    def drones(self) -> list[Drone]:
        return self.state.swarm.drones()

    def local(self, *, builds: bool, uid: int = 0) -> LocalDrone:
        """Return a drone of this host that nobody has started."""
        state = self.state
        settings = LocalSettings(local_builds=builds, local_build_command="emerge --oneshot {atom}")
        return LocalDrone(state.core, settings, state.swarm, state.binhost, state.build_logs, uid=lambda: uid)

    @asynccontextmanager
    async def started(self, one: LocalDrone) -> AsyncIterator[Drone]:
        """Run it, and return what the swarm knows of it."""
        async with trio.open_nursery() as nursery:
            await nursery.start(one.run)
            yield self.state.swarm.drone(one.drone_id)
            nursery.cancel_scope.cancel()

    async def built(self, atom: str) -> Any:
        """Queue a package and wait for its report."""
        swarm = self.state.swarm
        await swarm.queue(QueueRequest(atoms=(atom,)))
        with trio.fail_after(60):
            while True:
                found = await swarm.builds(limit=1)
                if found and found[0].atom == atom:
                    return found[0]
                await trio.sleep(0.01)


@asynccontextmanager
async def here(folder: Path, config: str = "", *, has_emerge: bool = True) -> AsyncIterator[Here]:
    """Run an appliance whose PATH has an emerge that does nothing."""
    programs = folder / "bin"
    programs.mkdir()
    if has_emerge:
        (programs / "emerge").write_text(EMERGE)
        (programs / "emerge").chmod(0o755)
    text = f"[plugins.build_swarm]\n{config}\n"
    async with running(folder, config=text, host=Host(environment={"PATH": str(programs)})) as appliance:
        yield Here(appliance)


async def test_host_with_emerge_is_listed_as_a_drone_that_builds_nothing(tmp_path: Path) -> None:
    async with here(tmp_path) as one:
        (drone,) = await until(lambda: one.drones)
        assert drone.name.endswith("-local")
        assert drone.drone_id == one.state.core.host_id.replace("-", "")
        assert drone.paused
        assert drone.is_online
        assert drone.is_proven  # a stranger can neither be it nor take its name
        assert drone.cores > 0
        await one.state.swarm.queue(QueueRequest(atoms=(ATOM,)))
        assert (await one.state.swarm.work(drone.drone_id)).package is None
        assert (await one.appliance.get("/api/v1/status")).status == 200  # trust is as it was


@pytest.mark.parametrize(("config", "has_emerge"), [("", False), ("local_drone = false", True)])
async def test_host_is_no_drone_without_emerge_or_when_switched_off(
    tmp_path: Path, config: str, has_emerge: bool
) -> None:
    async with here(tmp_path, config, has_emerge=has_emerge) as one:
        assert one.appliance.running.plugins.parts["build_swarm"].runs_as_us == ""
        assert one.drones == []
        assert not [
            each for each in (await one.appliance.get("/readyz")).json["items"] if "local-drone" in each["name"]
        ]


async def test_host_builds_what_is_queued_where_it_may(tmp_path: Path) -> None:
    async with here(tmp_path, "local_drone = false") as one, one.started(one.local(builds=True)) as drone:
        assert not drone.paused
        build = await one.built(ATOM)
        assert (build.outcome, build.drone_id) == ("success", drone.drone_id)
        (log,) = await one.state.build_logs.page(
            {"package": ATOM, "drone": "", "session_id": "", "before_unix_us": 2**62, "before_id": "", "limit": 9}
        )
        assert (log.outcome, log.drone_name) == ("success", drone.name)
        block = await one.state.build_logs.read(log.log_id, 0)
        assert b"".join(piece.data for piece in block.pieces) == f"emerging --oneshot {ATOM}\n".encode()


async def test_what_the_host_builds_is_staged_without_a_request(tmp_path: Path) -> None:
    async with here(tmp_path, "local_drone = false") as one:
        state = one.state
        server = LocalServer(state.core, state.swarm, state.binhost, state.build_logs, "id-1", "here-local")
        data = gpkg(cpv="app-test/hello-1.0")
        file = tmp_path / "it"
        await trio.Path(file).write_bytes(data)
        path, sha256 = "app-test/hello/hello-1.0-1.gpkg.tar", hashlib.sha256(data).hexdigest()
        await server.upload(path, file, sha256)
        staged = state.binhost.store.staged_at(path)
        assert staged is not None
        assert (staged.sha256, staged.uploaded_by) == (sha256, "here-local")
        with pytest.raises(Refused) as refused:
            await server.upload(path, file, "0" * 64)
        assert refused.value.status == 400


async def test_host_that_may_build_but_is_not_root_says_so_and_stays_paused(tmp_path: Path) -> None:
    async with here(tmp_path, "local_drone = false") as one:
        local = one.local(builds=True, uid=1000)
        async with one.started(local) as drone:
            assert drone.paused
            problem = local.readiness.check()
            assert problem is not None
            assert "needs an appliance that runs as root" in problem


async def test_pause_ends_when_builds_are_allowed_unless_an_operator_set_it(tmp_path: Path) -> None:
    async with here(tmp_path, "local_drone = false") as one:
        async with one.started(one.local(builds=False)) as drone:
            assert drone.paused
        async with one.started(one.local(builds=True)) as drone:
            assert not drone.paused
            await one.state.swarm.pause_drone(drone.drone_id, True, by="ana")
        async with one.started(one.local(builds=True)) as drone:
            assert drone.paused


@pytest.mark.skipif(os.geteuid() != 0, reason="emerge builds for root alone")
async def test_builds_as_our_own_user_end_trust_in_it(tmp_path: Path) -> None:
    async with here(tmp_path, "local_builds = true") as one:
        core = one.state.core
        assert "local_builds" in runs_as_us(LocalSettings(local_builds=True), core)
        assert runs_as_us(LocalSettings(local_builds=True), core, uid=lambda: 1000) == ""
        assert runs_as_us(LocalSettings(), core) == ""
        assert (await one.appliance.get("/api/v1/queue")).status == 401
