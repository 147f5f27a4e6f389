"""``appliance swarm payload`` beside a running appliance, and our own endpoints that it uses, with a real sshd."""

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from appliance.testing import running
from tests.appliance.cli.conftest import Said, Terminal
from tests.plugins.build_swarm.kit import Swarm
from tests.wire.sshd import Sshd, running_sshd

PROGRAM = "/proc/self/fd/9/bin/swarm-drone"
CONFIG = f"""
[plugins.build_swarm]
healing_enabled = false
[plugins.build_swarm.payload_destinations]
drone_binary = {{ path = "{PROGRAM}", restart = false }}
"""
ROLLS = "/api/appliance/swarm/payload-rolls"


@define(eq=False)
class Shell:
    """A shell on the host of an appliance with one approved drone, and the drone itself."""

    swarm: Swarm
    drone: Sshd
    folder: Path

    async def __call__(self, *words: str) -> Said:
        return await Terminal(self.swarm.appliance)("swarm", "payload", *words, COLUMNS="300")

    async def said(self, *words: str, status: int = 0) -> str:
        done = await self(*words)
        assert done.status == status, done.out + done.err
        return done.out

    async def add(self, version: str, content: str = "") -> None:
        file = self.folder / "content"
        file.write_text(content or f"program {version}")
        await self.said("add", "drone_binary", version, str(file))

    @property
    def program(self) -> Path:
        return self.drone.folder / "home" / "bin" / "swarm-drone"


@pytest.fixture
def drone(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path / "drone") as one:
        session = one.folder / "session"
        session.write_text(session.read_text().replace("\ncd\n", '\ncd\nexec 9< "$HOME"\n'))
        yield one


@pytest.fixture
async def shell(tmp_path: Path, drone: Sshd) -> AsyncIterator[Shell]:
    async with running(tmp_path, config=CONFIG) as appliance:
        swarm = Swarm(appliance)
        await swarm.drone("drone-a")
        await swarm.drone("drone-new")
        drone.authorize((await swarm.read("/api/appliance/swarm/approvals"))["public_key"])
        told = {"address": "127.0.0.1", "port": drone.port, "user": drone.user, "host_key": drone.host_key}
        await swarm.post("/api/appliance/swarm/drones/drone-a/approve", told)
        yield Shell(swarm, drone, tmp_path)


async def test_file_is_added_listed_and_taken_away(shell: Shell) -> None:
    digest = hashlib.sha256(b"program 1.0").hexdigest()
    file = shell.folder / "file"
    file.write_text("program 1.0")
    more = ("--description", "what it is", "--notes", "what is new")
    assert await shell.said("add", "drone_binary", "1.0", str(file), *more) == (
        f"drone_binary v1.0 is kept: sha256 {digest}\n"
    )
    await shell.said("add", "drone_binary", "1.0", str(file))
    await shell.said("add", "config", "7", str(file))
    lines = (await shell.said("list")).splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["config", "7", digest[:12]],
        ["drone_binary", "1.0", digest[:12]],
    ]
    assert lines[2].endswith("what it is")
    assert len((await shell.said("list", "config")).splitlines()) == 2
    file.write_text("something else")
    done = await shell("add", "drone_binary", "1.0", str(file))
    assert (done.status, "other content" in done.err) == (1, True)
    assert "is deleted" in await shell.said("remove", "drone_binary", "1.0")
    assert (await shell("remove", "drone_binary", "1.0")).status == 1
    assert len((await shell.said("list")).splitlines()) == 2


async def test_file_that_is_none_or_of_no_type_is_refused(shell: Shell) -> None:
    assert (await shell("add", "drone_binary", "1", str(shell.folder / "missing"))).status == 1
    (shell.folder / "file").write_text("x")
    for words in (("Drone", "1"), ("drone_binary", "a b"), ("drone_binary", "x" * 65)):
        done = await shell("add", *words, str(shell.folder / "file"))
        assert done.status == 1
        assert "does not match" in done.err
    (shell.folder / "file").write_text("")
    assert "empty" in (await shell("add", "drone_binary", "1", str(shell.folder / "file"))).err


async def test_deploy_says_what_came_of_it_and_exits_so(shell: Shell) -> None:
    await shell.add("1.0")
    assert await shell.said("deploy", "drone_binary", "1.0", "drone-a") == (
        "ok   drone-a: Deployed drone_binary v1.0 to drone-a\n"
    )
    assert shell.program.read_text() == "program 1.0"
    refused = await shell("deploy", "drone_binary", "1.0", "drone-new")
    assert refused.status == 1
    assert "drone 'drone-new' is not approved for ssh" in refused.err
    assert "hint: appliance swarm approve drone-new" in refused.err
    assert "no drone 'nobody'" in await shell.said("deploy", "drone_binary", "1.0", "nobody", status=1)
    assert (await shell("deploy", "drone_binary", "9.9", "drone-a")).status == 1
    log = (await shell.said("log", "drone_binary")).splitlines()
    assert [line.split()[2:6] for line in log[1:]] == [["drone-a", "deploy", "1.0", "success"]]
    assert len((await shell.said("log", "drone_binary", "--drone", "drone-new")).splitlines()) == 1


async def test_roll_takes_who_lacks_it_and_says_when_nobody_does(shell: Shell) -> None:
    await shell.add("1.0")
    await shell.add("2.0")
    await shell.said("deploy", "drone_binary", "1.0", "drone-a", "--no-verify")
    status = await shell.said("status")
    assert "1 of 2 drones have something that is not the newest" in status
    assert await shell.said("rolling-deploy", "drone_binary", "2.0") == (
        "ok   drone-a: Deployed drone_binary v2.0 to drone-a\n"
    )
    assert "no approved drone lacks drone_binary v2.0" in await shell.said(
        "rolling-deploy", "drone_binary", "2.0", "--no-health-check", "--no-rollback"
    )
    assert "0 of 2 drones" in await shell.said("status")
    whole = json.loads((await Terminal(shell.swarm.appliance)("--json", "swarm", "payload", "status")).out)
    assert whole["drones"]["drone-a"]["drone_binary"]["version"] == "2.0"


async def test_verify_exits_as_it_finds(shell: Shell) -> None:
    await shell.add("1.0")
    await shell.said("deploy", "drone_binary", "1.0", "drone-a")
    assert await shell.said("verify", "drone_binary", "drone-a") == "drone-a: Hash matches (expected: v1.0)\n"
    shell.program.write_text("changed")
    assert "Hash differs" in await shell.said("verify", "drone_binary", "drone-a", status=1)
    assert (await shell("verify", "drone_binary", "drone-new")).status == 1


async def test_roll_that_makes_no_sense_is_refused_by_field(shell: Shell) -> None:
    good = {"payload_type": "drone_binary", "version": "1.0"}
    wrong: tuple[dict[str, Any], ...] = (
        {"payload_type": "Bad"},
        {"payload_type": None},
        {"version": ""},
        {"drones": "drone-a"},
        {"drones": [""]},
        {"drones": ["x" * 300]},
        {"drones": ["a"] * 1001},
        {"health_check": "yes"},
        {"unknown": 1},
    )
    for changes in wrong:
        reply = await shell.swarm.send("POST", ROLLS, good | changes)
        assert reply.status == 400
        assert reply.json["field"].startswith(f"$.{next(iter(changes))}")


async def test_roll_is_asked_for_until_it_is_over_and_forgotten_rolls_are_404(shell: Shell) -> None:
    await shell.add("1.0")
    wanted = {"payload_type": "drone_binary", "version": "1.0", "drones": ["drone-a", "nobody"]}
    found = await shell.swarm.post(ROLLS, wanted, 202)
    assert (found["drone_count"], found["is_over"]) == (2, False)
    while not found["is_over"]:
        query = f"revision={found['revision']}&wait_seconds=30"
        later = await shell.swarm.read(f"{ROLLS}/{found['id']}?{query}")
        assert later["revision"] > found["revision"]
        found = later
    assert {one["drone"]: one["success"] for one in found["results"]} == {"drone-a": True, "nobody": False}
    assert (await shell.swarm.send("GET", f"{ROLLS}/roll_other")).status == 404
    for query in ("wait_seconds=31", "wait_seconds=-1", "revision=-2", "revision=x", "other=1"):
        assert (await shell.swarm.send("GET", f"{ROLLS}/{found['id']}?{query}")).status == 400
