"""An agent as it is behind the push proxy: curl in its place, with its variables, hears of what happens at once.

The agent's own connection is CONNECT, TLS with our authority, GET and server-sent events; so is curl's.
"""

import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define

from appliance.clock import unix_now_us
from appliance.testing import RunningAppliance, SteppingClock, running
from plugins.gpu_sharing.push_proxy import agent_environment
from tests.plugins.gpu_sharing.kit import Agent, agent, person

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")

STREAM = "https://sse.tensor-fusion.ai/v1/stream"
CONFIG = """
[plugins.gpu_sharing]
push_proxy = true
push_proxy_listen = "127.0.0.1:0"
"""
PUSHED_SECONDS = 20.0
"""What even a busy machine needs no longer for; less than the pause after which a stream looks again by itself."""
QUIET_SECONDS = 1.0
SHARE_SECONDS = 3600.0
CONNECT_REFUSED = 56
"""curl(1): receiving failed, which is what it says of a proxy that does not answer CONNECT with 200."""


@pytest.fixture
def clock() -> SteppingClock:
    return SteppingClock(unix_now_us())  # curl asks the real one whether a certificate is valid


@pytest.fixture
async def appliance(tmp_path: Path, clock: SteppingClock) -> AsyncIterator[RunningAppliance]:
    async with running(tmp_path, config=CONFIG, now=clock) as made:
        yield made


def variables(appliance: RunningAppliance, credential: str = "") -> dict[str, str]:
    """Return the environment of an agent that shall listen to our pushes."""
    services = appliance.running.plugins.parts["gpu_sharing"].services
    (proxy,) = [one for one in services if one.name == "push_proxy"]
    ((host, port),) = getattr(proxy, "addresses")  # noqa: B009  of this one service alone
    authorities = appliance.data_dir / "plugin-data" / "gpu_sharing" / "push" / "authorities.pem"
    asked = agent_environment(f"http://{credential}{host}:{port}", str(authorities), direct=["127.0.0.1"])
    # What Go reads as SSL_CERT_FILE, curl does as CURL_CA_BUNDLE.
    return {"PATH": os.environ["PATH"], "CURL_CA_BUNDLE": asked["SSL_CERT_FILE"], **asked}


@define(eq=False)
class Heard:
    """What comes on one stream."""

    process: trio.Process
    buffer: bytes = b""

    async def frame(self, *, seconds: float) -> Any:
        """Return the data of the next frame; fails when none comes within so many seconds."""
        assert self.process.stdout is not None
        with trio.fail_after(seconds):
            while True:
                event, found, rest = self.buffer.partition(b"\n\n")
                if found:
                    self.buffer = rest
                    if event.startswith(b"data: "):
                        return json.loads(event[6:])
                    continue
                more = await self.process.stdout.receive_some()
                assert more, "the stream has ended"
                self.buffer += more

    async def version_above(self, version: int) -> int:
        """Return the next version that is pushed, which must be greater."""
        told = int((await self.frame(seconds=PUSHED_SECONDS))["config_version"])
        assert told > version
        return told

    async def end(self) -> int:
        """Wait for the end of the stream, and return curl's exit status."""
        assert self.process.stdout is not None
        with trio.fail_after(30):
            while await self.process.stdout.receive_some():
                pass
            return await self.process.wait()


@asynccontextmanager
async def listening(appliance: RunningAppliance, agent_id: str, credential: str = "") -> AsyncIterator[Heard]:
    """Keep an agent's stream open."""
    command = ["curl", "-sSN", "-H", f"x-sse-topic: {agent_id}", STREAM]
    process = await trio.lowlevel.open_process(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=variables(appliance, credential)
    )
    try:
        yield Heard(process)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def curl(
    appliance: RunningAppliance, *arguments: str, credential: str = ""
) -> "subprocess.CompletedProcess[bytes]":
    """Run curl with an agent's variables to its end."""
    with trio.fail_after(30):
        return await trio.run_process(
            ["curl", "-sS", "--max-time", "10", *arguments],
            env=variables(appliance, credential),
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )


async def codes_of(one: Agent) -> list[str]:
    """Return the share codes that the agent's configuration has for its default worker."""
    (worker,) = (await one.config())["workers"]
    return list(worker["share_codes"])


async def test_share_made_ended_and_expired_each_reach_the_agent_by_itself(
    appliance: RunningAppliance, clock: SteppingClock
) -> None:
    ana = await person(appliance)
    one = await agent(ana)
    async with listening(appliance, one.agent_id) as heard:
        version = (await heard.frame(seconds=20))["config_version"]
        assert version == (await one.config())["config_version"]
        made = await ana.share(one.default)
        version = await heard.version_above(version)
        assert (await one.config())["config_version"] == version
        assert await codes_of(one) == [made["short_code"]]
        assert (await ana.send("DELETE", f"/api/v1/shares/{made['share_id']}")).status == 200
        version = await heard.version_above(version)
        assert made["short_code"] not in await codes_of(one)
        body = {"worker_id": one.default, "connection_ip": "10.0.0.4", "expires_in_seconds": SHARE_SECONDS}
        brief = await appliance.request("POST", "/api/appliance/sharing/shares", body=body, headers=ana.headers)
        assert brief.status == 201
        version = await heard.version_above(version)
        assert brief.json["short_code"] in await codes_of(one)
        clock.advance(SHARE_SECONDS)
        await heard.version_above(version)
        assert brief.json["short_code"] not in await codes_of(one)


async def test_change_of_one_agent_is_not_heard_by_another(appliance: RunningAppliance) -> None:
    ana, bob = await person(appliance), await person(appliance, "bob")
    mine, theirs = await agent(ana), await agent(bob)
    async with (
        listening(appliance, mine.agent_id, f"agent:{mine.secret}@") as ours,
        listening(appliance, theirs.agent_id, f"agent:{theirs.secret}@") as others,
    ):
        version = (await ours.frame(seconds=20))["config_version"]
        await others.frame(seconds=20)
        await ana.share(mine.default)
        await ours.version_above(version)
        with pytest.raises(trio.TooSlowError):
            await others.frame(seconds=QUIET_SECONDS)


async def test_deleted_agent_hears_the_end_and_is_not_let_in_again(appliance: RunningAppliance) -> None:
    ana = await person(appliance)
    one = await agent(ana)
    async with listening(appliance, one.agent_id) as heard:
        await heard.frame(seconds=20)
        assert (await ana.send("DELETE", one.path)).status == 200
        assert await heard.end() == 0
    topic = ("-H", f"x-sse-topic: {one.agent_id}")
    again = await curl(appliance, "-o", "/dev/null", "-w", "%{http_code}", *topic, STREAM)
    assert again.stdout == b"404"
    known = await curl(appliance, "-w", "%{http_connect}", *topic, STREAM, credential=f"agent:{one.secret}@")
    assert known.stdout == b"407", "its secret has gone with it"


async def test_any_other_host_is_refused_by_the_proxy(appliance: RunningAppliance) -> None:
    for url in (
        "https://example.com/",
        "https://sse.tensor-fusion.ai:8443/v1/stream",
        "https://sse.tensor-fusion.ai.example.com/",
        f"https://localhost:{appliance.port}/",
    ):
        told = await curl(appliance, "--noproxy", "", "-w", "%{http_connect}", url)
        assert (told.returncode, told.stdout) == (CONNECT_REFUSED, b"403"), url


async def test_secret_of_one_agent_does_not_open_anothers_stream(appliance: RunningAppliance) -> None:
    ana, bob = await person(appliance), await person(appliance, "bob")
    mine, theirs = await agent(ana), await agent(bob)
    asked = ("-o", "/dev/null", "-w", "%{http_code}", "-H", f"x-sse-topic: {theirs.agent_id}", STREAM)
    assert (await curl(appliance, *asked, credential=f"agent:{mine.secret}@")).stdout == b"403"
