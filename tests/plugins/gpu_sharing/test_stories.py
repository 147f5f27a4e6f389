"""Whole stories over a running appliance: a host installs its agent, hears of changes, and outlives our restarts."""

import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.credentials.kinds import Role
from appliance.testing import RunningAppliance, running, scripted_gpus

SHARING = "/api/appliance/sharing"
AGENT = """#!/bin/sh
# Does what the agent's registration does, with what the install line gives it.
[ "$1 $2" = "agent register" ] || exit 2
curl -fsS -X POST "$GPU_GO_ENDPOINT/api/v1/agents/register" -H "Authorization: Bearer $GPU_GO_TOKEN" \\
  -H "Content-Type: application/json" -d '{"hostname":"fresh","os":"linux","arch":"amd64","gpus":null}' >/dev/null
"""


async def in_shell(line: str, home: Path) -> "subprocess.CompletedProcess[bytes]":
    """Run a line as a person would paste it."""
    variables = {"PATH": os.environ["PATH"], "HOME": str(home), "GGO_INSTALL_DIR": str(home / "bin")}
    with trio.fail_after(60):
        return await trio.run_process(
            ["sh", "-c", line], env=variables, capture_stdout=True, capture_stderr=True, check=False
        )


async def mirrored(appliance: RunningAppliance, file: Path) -> None:
    await trio.Path(file).write_text(AGENT)
    release = {"path": str(file), "name": "ggo-linux-amd64", "vendor": "nvidia", "version": "1.0.0", "type": "cli"}
    added = await appliance.control("POST", f"{SHARING}/releases", release)
    assert added.status == 201, added.text


async def test_install_line_fetches_checks_and_registers_a_host_that_has_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as appliance:
        await mirrored(appliance, tmp_path / "agent")
        ana = await appliance.bearer("ana", Role.USER)
        made = (await appliance.post("/api/v1/tokens/generate", {"type": "agent_install"}, headers=ana)).json
        home = tmp_path / "home"
        await trio.Path(home).mkdir()
        done = await in_shell(made["install_command"], home)
        assert done.returncode == 0, done.stderr
        (agent,) = (await appliance.get("/api/v1/agents", headers=ana)).json["agents"]
        assert agent["hostname"] == "fresh"
        status = (await appliance.get(f"/api/v1/tokens/{made['token_id']}/status", headers=ana)).json
        assert (status["status"], status["agent"]["agent_id"]) == ("used", agent["agent_id"])
        again = await in_shell(made["install_command"], home)
        assert again.returncode != 0


async def test_install_line_runs_nothing_that_was_changed_after_it_was_made(tmp_path: Path) -> None:
    async with running(tmp_path) as appliance:
        await mirrored(appliance, tmp_path / "agent")
        ana = await appliance.bearer("ana", Role.USER)
        made = (await appliance.post("/api/v1/tokens/generate", {"type": "agent_install"}, headers=ana)).json
        stored = appliance.data_dir / "plugin-data" / "gpu_sharing" / "releases" / "ggo-linux-amd64"
        await trio.Path(stored).write_text(AGENT.replace("exit 2", "exit 3"))
        home = tmp_path / "home"
        await trio.Path(home).mkdir()
        refused = await in_shell(made["install_command"], home)
        assert refused.returncode != 0
        assert b"nothing was run" in refused.stderr
        assert not await trio.Path(home / "bin" / "ggo").exists()
        assert (await appliance.get("/api/v1/agents", headers=ana)).json["agents"] == []


PUSH = """
[plugins.gpu_sharing]
push_proxy = true
push_proxy_listen = "127.0.0.1:{port}"
"""


async def registered(appliance: RunningAppliance, headers: dict[str, str]) -> dict[str, Any]:
    made = (await appliance.post("/api/v1/tokens/generate", {"type": "agent_install"}, headers=headers)).json
    gpu = {"gpu_id": "GPU-0", "vendor": "nvidia", "model": "RTX 4090", "vram_mb": 24_564}
    body = {"hostname": "box", "os": "linux", "arch": "amd64", "gpus": [gpu], "network_ips": ["192.0.2.7"]}
    answer = await appliance.post("/api/v1/agents/register", body, headers={"Authorization": f"Bearer {made['token']}"})
    assert answer.status == 201, answer.text
    return dict(answer.json)


async def test_agent_as_it_is_hears_of_a_new_share_as_it_is_made(tmp_path: Path, free_port: int) -> None:
    async with running(tmp_path, config=PUSH.format(port=free_port)) as appliance:
        ana = await appliance.bearer("ana", Role.USER)
        agent = await registered(appliance, ana)
        told = (await appliance.get(f"{SHARING}/push", headers=ana)).json
        assert told["environment"]["HTTPS_PROXY"] == f"http://127.0.0.1:{free_port}"
        authorities = tmp_path / "authorities.pem"
        await trio.Path(authorities).write_text(told["authorities_pem"])
        stream = await trio.lowlevel.open_process(
            [
                *("curl", "-sN", "--proxy", f"http://127.0.0.1:{free_port}", "--cacert", str(authorities)),
                *("-H", f"x-sse-topic: {agent['agent_id']}", "https://sse.tensor-fusion.ai/v1/stream"),
            ],
            stdout=subprocess.PIPE,
        )
        try:
            assert stream.stdout is not None
            with trio.fail_after(30):
                while b"data:" not in await stream.stdout.receive_some():  # it begins with the present version
                    pass
            (worker,) = (await appliance.get("/api/v1/workers", headers=ana)).json["workers"]
            share = await appliance.post("/api/v1/shares", {"worker_id": worker["worker_id"]}, headers=ana)
            assert share.status == 201
            with trio.fail_after(20):  # less than the pause after which a silent stream looks again by itself
                while b"data:" not in await stream.stdout.receive_some():
                    pass
            assert (await appliance.request("DELETE", f"/api/v1/agents/{agent['agent_id']}", headers=ana)).status == 200
            with trio.fail_after(30):
                while await stream.stdout.receive_some():
                    pass
        finally:
            stream.kill()
            await stream.wait()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


LOCAL = """
[plugins.gpu_sharing]
relay_ports = "32000-32999"
default_command = "web"
[plugins.gpu_sharing.commands.web]
argv = ["/usr/bin/python3", "-m", "http.server", "{port}", "--bind", "127.0.0.1"]
user = "nobody"
folder = "/usr/share"
"""


async def running_worker(appliance: RunningAppliance) -> dict[str, Any]:
    with trio.fail_after(30):
        while True:
            items = (await appliance.control("GET", f"{SHARING}/workers")).json["items"]
            if items and items[0]["status"] == "running":
                return dict(items[0])
            await trio.sleep(0.05)


async def fetched(port: int) -> bool:
    done = await trio.run_process(
        ["curl", "-s", "-o", "/dev/null", "--max-time", "5", f"http://127.0.0.1:{port}/"], check=False
    )
    return done.returncode == 0


async def test_share_keeps_its_port_and_its_guests_over_a_restart_and_no_process_is_left(tmp_path: Path) -> None:
    async with running(tmp_path, backends=[scripted_gpus(1)], config=LOCAL) as appliance:
        worker = await running_worker(appliance)
        body = {"worker_id": worker["worker_id"], "connection_ip": "127.0.0.1"}
        share = (await appliance.control("POST", f"{SHARING}/shares", body)).json
        assert (await appliance.get(f"/s/{share['short_code']}")).status == 200
        assert await fetched(share["relay_port"])
        state = appliance.running.plugins.parts["gpu_sharing"].surfaces[0].state
        pid, version = state.book.worker(worker["worker_id"]).pid, state.book.agents()[0].config_version
    assert not await trio.Path(f"/proc/{pid}").exists()
    async with running(tmp_path, backends=[scripted_gpus(1)], config=LOCAL) as appliance:
        await running_worker(appliance)
        (again,) = (await appliance.control("GET", f"{SHARING}/shares")).json["items"]
        assert (again["relay_port"], again["used_count"]) == (share["relay_port"], 1)
        assert await fetched(share["relay_port"])
        (agent,) = (await appliance.control("GET", f"{SHARING}/agents")).json["items"]
        assert agent["config_version"] > version
