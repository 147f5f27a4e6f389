"""The host we run on: its workers run, and its shares let guests in through the relay, until they end."""

import http.client
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.testing import RunningAppliance, running, scripted_gpus, until

SHARING = "/api/appliance/sharing"
CONFIG = """
[plugins.gpu_sharing]
relay_ports = "31000-31999"
default_command = "web"
[plugins.gpu_sharing.commands.web]
argv = ["{python}", "-m", "http.server", "{{port}}", "--bind", "127.0.0.1"]
user = "nobody"
folder = "/usr/share"
"""


@pytest.fixture
async def appliance(tmp_path: Path) -> AsyncIterator[RunningAppliance]:
    config = CONFIG.format(python="/usr/bin/python3")
    async with running(tmp_path, backends=[scripted_gpus(2)], config=config) as made:
        yield made


async def worker(appliance: RunningAppliance, **wanted: Any) -> dict[str, Any]:
    """Return the local worker once it is as wanted."""
    with trio.fail_after(30):
        while True:
            items = (await appliance.control("GET", f"{SHARING}/workers")).json["items"]
            if items and all(items[0][name] == value for name, value in wanted.items()):
                return dict(items[0])
            await trio.sleep(0.05)


async def shared(appliance: RunningAppliance, worker_id: str, **terms: Any) -> dict[str, Any]:
    made = await appliance.control(
        "POST", f"{SHARING}/shares", {"worker_id": worker_id, "connection_ip": "127.0.0.1"} | terms
    )
    assert made.status == 201, made.text
    return dict(made.json)


def fetch(port: int) -> int:
    """Fetch a page through the relay; return its status, 0 where nobody lets us in."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def drain(guest: socket.socket) -> None:
    """Read until the other side ends."""
    while guest.recv(100):
        pass


async def test_host_is_an_agent_with_a_default_worker_of_all_its_gpus(appliance: RunningAppliance) -> None:
    (agent,) = (await appliance.control("GET", f"{SHARING}/agents")).json["items"]
    assert (agent["is_local"], agent["status"], len(agent["gpus"])) == (True, "online", 2)
    found = await worker(appliance, status="running")
    assert (found["is_default"], found["gpu_ids"], found["why"]) == (True, ["GPU-0", "GPU-1"], "")


async def test_guest_is_let_in_once_the_link_was_followed_and_cut_off_when_the_share_ends(
    appliance: RunningAppliance,
) -> None:
    found = await worker(appliance, status="running")
    share = await shared(appliance, found["worker_id"])
    port = share["relay_port"]
    assert 31_000 <= port <= 31_999
    assert share["connection_url"] == f"tcp://127.0.0.1:{port}"
    assert await trio.to_thread.run_sync(fetch, port) == 0
    told = await appliance.get(f"/s/{share['short_code']}")
    assert told.json["connection_url"] == share["connection_url"]
    assert await trio.to_thread.run_sync(fetch, port) == 200
    with socket.create_connection(("127.0.0.1", port)) as guest:
        guest.settimeout(30)
        guest.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")

        async def live() -> int:
            (item,) = (await appliance.control("GET", f"{SHARING}/shares")).json["items"]
            return int(item["connections_live"])

        with trio.fail_after(30):
            while await live() != 1:  # noqa: ASYNC110  another task tree knows
                await trio.sleep(0.02)
        assert (await appliance.control("DELETE", f"{SHARING}/shares/{share['share_id']}")).status == 200
        with pytest.raises(ConnectionResetError):
            await trio.to_thread.run_sync(drain, guest)
    assert await trio.to_thread.run_sync(fetch, port) == 0


async def test_share_that_expires_cuts_its_guests(appliance: RunningAppliance) -> None:
    found = await worker(appliance, status="running")
    share = await shared(appliance, found["worker_id"], access="open", expires_in_seconds=1.0)
    with socket.create_connection(("127.0.0.1", share["relay_port"])) as guest:
        guest.settimeout(30)
        with trio.fail_after(30), pytest.raises(ConnectionResetError):
            await trio.to_thread.run_sync(drain, guest)
    assert (await appliance.get(f"/s/{share['short_code']}")).status == 410


async def test_command_runs_as_its_user_sees_its_gpus_and_nothing_of_our_environment(
    appliance: RunningAppliance,
) -> None:
    found = await worker(appliance, status="running")
    state = appliance.running.plugins.parts["gpu_sharing"].surfaces[0].state
    pid = state.book.worker(found["worker_id"]).pid
    status = await trio.Path(f"/proc/{pid}/status").read_text()
    assert "Uid:\t65534\t65534\t65534\t65534" in status
    assert "NoNewPrivs:\t1" in status
    said = await trio.Path(f"/proc/{pid}/environ").read_text()
    variables = dict(one.split("=", 1) for one in said.split("\0") if one)
    assert variables["CUDA_VISIBLE_DEVICES"] == "GPU-0,GPU-1"
    assert set(variables) == {
        "PATH",
        "LANG",
        "HOME",
        "APPLIANCE_WORKER",
        "CUDA_DEVICE_ORDER",
        "CUDA_VISIBLE_DEVICES",
        "ROCR_VISIBLE_DEVICES",
    }


async def test_disabled_worker_is_stopped_and_its_guests_find_nobody(appliance: RunningAppliance) -> None:
    found = await worker(appliance, status="running")
    share = await shared(appliance, found["worker_id"], access="open")
    assert await trio.to_thread.run_sync(fetch, share["relay_port"]) == 200
    path = f"{SHARING}/workers/{found['worker_id']}"
    assert (await appliance.control("PATCH", path, {"enabled": False})).status == 200
    stopped = await worker(appliance, status="stopped")
    assert stopped["why"] == "disabled"
    assert await trio.to_thread.run_sync(fetch, share["relay_port"]) == 0
    await appliance.control("PATCH", path, {"enabled": True})
    await worker(appliance, status="running")
    assert await trio.to_thread.run_sync(fetch, share["relay_port"]) == 200


async def test_workers_parts_of_gpus_are_booked_and_what_does_not_fit_is_refused(appliance: RunningAppliance) -> None:
    (agent,) = (await appliance.control("GET", f"{SHARING}/agents")).json["items"]
    ledger = appliance.state.ledger

    async def make(port: int, **limits: int) -> int:
        body = {"agent_id": agent["agent_id"], "name": f"w{port}", "gpu_ids": ["GPU-0"], "listen_port": port}
        return (await appliance.control("POST", f"{SHARING}/workers", body | limits)).status

    assert await make(9101, compute_percent=60) == 201
    await until(lambda: ledger.free("GPU-0").milli_gpu <= 400)
    assert await make(9102, compute_percent=60) == 409
    assert await make(9101, compute_percent=10) == 409
    assert await make(9103, vram_mb=10**9) == 409


async def test_worker_without_a_command_says_so(tmp_path: Path) -> None:
    async with running(tmp_path, backends=[scripted_gpus(1)]) as appliance:
        found = await worker(appliance, status="stopped")
        assert found["why"] == "no command configured"
        assert appliance.state.ledger.free("GPU-0").milli_gpu == 1000  # and it keeps nobody else from its GPU


async def test_browser_at_a_link_that_leads_nowhere_is_told_so_in_a_page(appliance: RunningAppliance) -> None:
    reply = await appliance.get("/s/0000000000000000", headers={"Accept": "text/html"})
    assert (reply.status, reply.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "leads nowhere" in reply.text
    told = await appliance.get("/s/0000000000000000")
    assert (told.status, set(told.json)) == (404, {"error", "hint"})
