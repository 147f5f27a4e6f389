"""``appliance swarm`` beside a running appliance, over its control socket."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from attrs import frozen

from tests.appliance.cli.conftest import Said, Terminal, alone
from tests.plugins.build_swarm.kit import Swarm, atom, swarm

__all__ = ["alone"]


@frozen
class Shell:
    """A shell on the host of a running appliance."""

    swarm: Swarm

    async def __call__(self, *words: str) -> Said:
        return await Terminal(self.swarm.appliance)(*words, COLUMNS="200")

    async def says(self, *words: str) -> str:
        done = await self(*words)
        assert done.status == 0, done.err
        return done.out


@pytest.fixture
async def terminal(tmp_path: Path) -> AsyncIterator[Shell]:
    async with swarm(tmp_path) as one:
        yield Shell(one)


async def test_packages_are_queued_listed_built_and_summed_up(terminal: Shell) -> None:
    first, second = atom(), atom()
    added = await terminal.says("swarm", "queue", "add", first, "--name", "Night", "--priority", "5")
    assert added.splitlines()[0] == first
    assert added.splitlines()[-1].startswith("1 queued in session-")
    again = await terminal.says("swarm", "queue", "add", first, second, "--after", first)
    assert f"{first}: waits or is being built already" in again
    drone = await terminal.swarm.drone("drone-01")
    assert (await drone.work())["package"] == first
    rows = (await terminal.says("swarm", "queue", "list")).splitlines()
    assert rows[1].split()[:4] == [first, "delegated", "5", "drone-01"]
    assert rows[2].split()[:2] == [second, "needed"]
    assert (await terminal.says("swarm", "queue", "list", "--limit", "1")).splitlines()[-1] == "1 of 2"
    assert first not in await terminal.says("swarm", "queue", "list", "--state", "needed", "--search", "DEV-TEST")
    await drone.complete(first)
    told = await terminal.says("swarm", "status")
    assert "packages: 1 needed" in told
    assert "drones: 1 of 1 online, 4 cores" in told
    assert "(Night): 1/2" in told
    shown = json.loads(await terminal.says("--json", "swarm", "queue", "list", "--state", "received"))
    assert [each["atom"] for each in shown["items"]] == [first]
    assert (await terminal.says("swarm", "sessions")).splitlines()[1].split()[1:4] == ["Night", "active", "1/2"]


async def test_queue_is_controlled_and_drones_are_listed(terminal: Shell) -> None:
    package = atom()
    told = await terminal.says("swarm", "status")
    assert told.startswith("nothing to build\n")
    assert "\nbuilds: 0\n" in told
    await terminal.swarm.queue(package)
    drone = await terminal.swarm.drone("drone-01")
    assert await terminal.says("swarm", "control", "pause") == "Queue paused\n"
    assert (await terminal.says("swarm", "status")).startswith("paused\n")
    await terminal.says("swarm", "control", "resume")
    assert (await terminal.says("swarm", "status")).startswith("building\n")
    await terminal.says("swarm", "control", "block", "--package", package)
    assert (await terminal.says("swarm", "queue", "list", "--state", "blocked")).count(package) == 1
    await terminal.says("swarm", "control", "unblock", "--package", package)
    await terminal.says("swarm", "control", "unground", "--drone", "drone-01")
    await drone.work()
    line = (await terminal.says("swarm", "nodes", "--online")).splitlines()[1].split()
    assert line[:3] == ["drone-01", "online", "127.0.0.1"]
    assert line[-1] == "no"


async def test_mistakes_are_told_and_end_with_a_status(terminal: Shell) -> None:
    refused = await terminal("swarm", "queue", "add", "; reboot")
    assert refused.status == 1
    assert "; reboot" in refused.err or "atom" in refused.err
    missing = await terminal("swarm", "control", "block")
    assert missing.status == 1
    assert missing.err
    for words in (("control", "fly"), ("queue",), (), ("queue", "list", "--state", "gone")):
        assert (await terminal("swarm", *words)).status == 2
    helped = await terminal.says("swarm", "--help")
    for name in ("queue", "status", "control", "nodes", "sessions", "approve", "payload", "release"):
        assert f"    {name} " in helped


def test_actions_offered_are_those_that_the_swarm_does() -> None:
    from plugins.build_swarm.controls import CONTROLS
    from plugins.build_swarm.queue_commands import ACTIONS

    assert set(ACTIONS) == set(CONTROLS) - {"optimize"}
