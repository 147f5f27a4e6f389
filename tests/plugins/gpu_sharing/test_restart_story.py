"""The appliance in a process of its own, stopped or killed and started again: nobody notices but by the pause."""

import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import jwt
import pytest
from attrs import evolve
from jwt.api_jws import PyJWS

from appliance.licenses.jwks import encode
from appliance.testing import running
from tests.plugins.gpu_sharing import kit
from tests.product.served import ROOT, Product, product, until

PORTS = range(34_000, 35_000)
SHARING = "/api/appliance/sharing"
CONFIG = f"""
[devices]
sample_seconds = 0.5
[plugins.gpu_sharing]
relay_ports = "{PORTS[0]}-{PORTS[-1]}"
default_command = "web"
[plugins.gpu_sharing.commands.web]
argv = ["/bin/sh", "-c", "setsid sleep 600 & exec /usr/bin/python3 -m http.server {{port}} --bind 127.0.0.1"]
user = "nobody"
folder = "/usr/share"
"""
"""The command leaves a process behind that is in no session, no group and no tree of ours."""

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or any(shutil.which(one) is None for one in ("setpriv", "setsid", "sh")),
    reason="a command is run as another user by root alone, with util-linux",
)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Product]:
    """An appliance out of this tree on a host of scripted GPUs, whose worker serves files."""
    with product(Path("appliance"), tmp_path, python=(sys.executable, "-m")) as one:
        one.environment["PYTHONPATH"] = str(ROOT)
        one.drop("scripted_gpus", (ROOT / "tests" / "browser" / "scripted_gpus.py").read_text())
        one.config.write_text(CONFIG)
        one.start()
        yield one
        if one._process is not None:  # after a failure: killed, it would leave what its command has left behind
            one.stop()


def processes(worker_id: str) -> dict[int, str]:
    """Return every process that a worker's command has left, wherever it is now, with its command line."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                variables = (entry / "environ").read_bytes().split(b"\0")
                line = (entry / "cmdline").read_bytes().decode()
            except OSError:  # it has ended meanwhile
                continue
            if any(one.startswith(b"APPLIANCE_WORKER=") and one.endswith(worker_id.encode()) for one in variables):
                found[int(entry.name)] = line
    return found


def listed(one: Product, what: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = one.get(f"{SHARING}/{what}").json()["items"]
    return items


def send(one: Product, method: str, path: str, body: Any = None, *, secret: str = "") -> httpx.Response:
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    return httpx.request(method, one.base + path, json=body, headers=headers, timeout=30)


def made(one: Product, path: str, body: Any, *, secret: str = "") -> Any:
    answer = send(one, "POST", path, body, secret=secret)
    assert answer.status_code == 201, answer.text
    return answer.json()


def running_worker(one: Product) -> dict[str, Any]:
    def found() -> dict[str, Any]:
        return next((each for each in listed(one, "workers") if each["is_local"] and each["status"] == "running"), {})

    return until(found, seconds=30)


def shared(one: Product, **terms: Any) -> dict[str, Any]:
    body = {"worker_id": running_worker(one)["worker_id"], "connection_ip": "127.0.0.1"} | terms
    answer: dict[str, Any] = made(one, f"{SHARING}/shares", body)
    return answer


def let_in(port: int) -> bool:
    """Whether a guest gets an answer of the worker through the relay."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as guest:
            guest.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
            return guest.recv(8) == b"HTTP/1.0"
    except OSError:
        return False


def verified(one: Product, license_: dict[str, str]) -> str:
    """Let a JOSE library judge a licence by the published keys; return what it says."""
    whole = license_["encrypted"].replace("..", f".{encode(license_['plain'].encode())}.")
    keys = jwt.PyJWKSet.from_dict(one.get("/.well-known/jwks.json").json())
    key = keys[jwt.get_unverified_header(whole)["kid"]]
    said: bytes = PyJWS().decode(whole, key, algorithms=["EdDSA"])
    return said.decode()


def report(one: Product, agent: dict[str, Any]) -> dict[str, Any]:
    """Send an agent's status, and return the answer."""
    body = {"timestamp": kit.AT, "gpus": [], "workers": []}
    answer = send(one, "POST", f"/api/v1/agents/{agent['agent_id']}/status", body, secret=agent["agent_secret"])
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@needs_root
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_restart_keeps_ports_guests_agents_tokens_and_licences_and_leaves_no_process(
    served: Product, how: signal.Signals
) -> None:
    worker = running_worker(served)
    followed, unknown = shared(served, max_uses=1), shared(served)
    assert {followed["relay_port"], unknown["relay_port"]} <= set(PORTS)
    assert served.get(f"/s/{followed['short_code']}").status_code == 200
    assert (let_in(followed["relay_port"]), let_in(unknown["relay_port"])) == (True, False)
    install = [made(served, f"{SHARING}/agents/install", {})["token"] for _ in range(2)]
    agent = made(served, "/api/v1/agents/register", kit.registration(), secret=install[0])
    version = report(served, agent)["config_version"]
    left = processes(worker["worker_id"])
    (command,) = [pid for pid, line in left.items() if "http.server" in line]
    assert any("sleep" in line for line in left.values())

    if how is signal.SIGKILL:
        served.process.kill()
        served.end()
        until(lambda: not is_there(command))  # the kernel ends it with us; what it has left is for the next start
    else:
        assert served.stop(how) == 0
        assert not any(is_there(pid) for pid in left)
    assert not let_in(followed["relay_port"])
    served.start()

    assert running_worker(served)["worker_id"] == worker["worker_id"]
    until(lambda: not any(is_there(pid) for pid in left))
    after = {each["share_id"]: each for each in listed(served, "shares")}
    for before in (followed, unknown):
        assert after[before["share_id"]]["relay_port"] == before["relay_port"]
    assert after[followed["share_id"]]["used_count"] == 1
    assert (let_in(followed["relay_port"]), let_in(unknown["relay_port"])) == (True, False)
    assert served.get(f"/s/{followed['short_code']}").status_code == 410

    assert report(served, agent)["config_version"] > version
    config = send(served, "GET", f"/api/v1/agents/{agent['agent_id']}/config", secret=agent["agent_secret"]).json()
    for license_ in (agent["license"], config["license"]):
        assert verified(served, license_) == license_["plain"]
    assert send(served, "POST", "/api/v1/agents/register", kit.registration(), secret=install[0]).status_code == 401
    made(served, "/api/v1/agents/register", kit.registration(), secret=install[1])
    assert served.stop() == 0
    assert processes(worker["worker_id"]) == {}
    assert "Traceback" not in served.log


def is_there(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not asked for its status yet does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}


async def test_agent_is_told_a_greater_version_than_ever_after_older_data_was_put_back(tmp_path: Path) -> None:
    data, kept = tmp_path / "data", tmp_path / "kept"
    async with running(tmp_path) as appliance:
        ana = await kit.person(appliance)
        one = await kit.agent(ana)
    shutil.copytree(data, kept, symlinks=True)
    async with running(tmp_path) as appliance:
        ana, one = evolve(ana, appliance=appliance), evolve(one, appliance=appliance)
        for _ in range(5):
            await ana.share(one.default)
        told = (await one.report())["config_version"]
        assert len((await one.report())["worker_share_codes"][one.default]) == 5
    shutil.rmtree(data)
    kept.rename(data)
    async with running(tmp_path) as appliance:
        one = evolve(one, appliance=appliance)
        answer = await one.report()
        assert answer["config_version"] > told
        assert (await one.config())["config_version"] == answer["config_version"]
