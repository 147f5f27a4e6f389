"""The exchanges of the command line, the agent and the editor extension, and what each would conclude from them."""

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from tests.wire.metrics import Answer
from tests.wire.sharing import AT, GPU, METRICS, Client, Host, Sharing, times, whole_numbers

pytestmark = pytest.mark.zipapp

UUID = "gpu-8f1a6bd2-3c44-11ee-9d0a-0242ac1300{:02x}"
RESTY = {"User-Agent": "go-resty/2.16.5 (https://github.com/go-resty/resty)", "Accept-Encoding": "gzip"}


@define(eq=False)
class Go(Client):
    """The client's HTTP side: the base URL ends in a slash, and only certain answers are no failure to it."""

    slash: str = ""

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send as Go does; return what its JSON reader would have, and fail where it would report a failure."""
        payload = None if body is None else go_json(body)
        answer = self.send(method, f"{self.slash}{path}", payload, headers=RESTY)
        accepted = {"GET": (200,), "PATCH": (200,), "POST": (200, 201), "DELETE": (200, 204)}
        assert answer.status in accepted[method], f"status {answer.status}, body: {answer.body!r}"
        return parsed(answer)

    def fails(self, method: str, path: str, body: Any = None) -> str:
        """Send as Go does what must fail; return what a person is shown."""
        payload = None if body is None else go_json(body)
        answer = self.send(method, f"{self.slash}{path}", payload, headers=RESTY)
        assert answer.status >= 400
        assert isinstance(answer.json["error"], str)
        return f"status {answer.status}, body: {answer.body.decode()}"


def go_json(body: Any) -> bytes:
    """Return JSON as Go writes it: no spaces, and what HTML would read is escaped."""
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()


def parsed(answer: Answer) -> Any:
    """Return an answer as Go reads it: JSON by its content type alone, whole numbers, times, and lists."""
    assert re.fullmatch(r"(?i:(application|text)/(.*json.*))(;.*)?", answer.headers["content-type"])
    whole_numbers(answer.json)
    times(answer.json)
    return answer.json


def go(who: Client, slash: str = "") -> Go:
    return Go(who.product, who.token, slash)


def registration(token: str, gpus: list[dict[str, Any]] | None) -> dict[str, Any]:
    """Return the body of a registration as the agent writes it."""
    return {
        "token": token,
        "hostname": "box <1>",
        "os": "linux",
        "arch": "amd64",
        "gpus": gpus,
        "network_ips": None,
    }


def nvml(count: int) -> list[dict[str, Any]]:
    """Return GPUs as the vendor's accelerator library tells of them."""
    return [
        GPU | {"gpu_id": UUID.format(place), "gpu_index": place, "vendor": "NVIDIA", "vram_mb": 81_559}
        for place in range(count)
    ]


def agent(sharing: Sharing, count: int = 2) -> tuple[Go, str, Any]:
    """Register as the agent does; return its client, its id and the answer."""
    token = sharing.install_token()
    made = Go(sharing.product, token, "/").call(
        "POST", "/api/v1/agents/register", registration(token, nvml(count) if count else [])
    )
    return Go(sharing.product, made["agent_secret"], "/"), made["agent_id"], made


def report(workers: list[Any] | None, **changes: Any) -> dict[str, Any]:
    gpus = [
        {
            "gpu_id": UUID.format(place),
            "used_by_worker": None,
            "gpu_index": place,
            "vendor": "NVIDIA",
            "model": "NVIDIA H100 80GB HBM3",
            "vram_mb": 81_559,
            "driver_version": "580.65.06",
            "cuda_version": "13.0",
            "gpu_changed": True,
        }
        for place in range(2)
    ]
    return {"timestamp": AT, "gpus": gpus, "workers": workers, "license_expiration": 4_102_444_800_000} | changes


def worker_report(worker_id: str, *, at: str = AT, **changes: Any) -> dict[str, Any]:
    return {
        "worker_id": worker_id,
        "status": "running",
        "pid": 31_337,
        "gpu_ids": [UUID.format(0), UUID.format(1)],
        "gpu_indices": [0, 1],
        "connections": [{"client_ip": "198.51.100.7", "client_port": 50_123, "client_pid": 99, "connected_at": at}],
        "worker_changed": True,
        "connection_changed": True,
        "gpu_changed": False,
    } | changes


# ---------------------------------------------------------------- the agent


def test_agent_registers_fetches_and_reports_as_it_lives(sharing: Sharing) -> None:
    one, agent_id, made = agent(sharing)
    assert len(agent_id) >= 12, "the command line cuts twelve characters off"
    assert all(made["license"][name] for name in ("plain", "encrypted")), "without both no worker starts"
    assert int(made["license"]["plain"].split("|")[2]) > 0, "it reads the third field as milliseconds"
    config = one.call("GET", f"/api/v1/agents/{agent_id}/config")
    assert config["config_version"] >= 1
    (worker,) = config["workers"]
    assert re.fullmatch(r"[A-Za-z0-9_-]+", worker["worker_id"]), "it becomes the name of a file"
    assert (worker["gpu_ids"], worker["gpu_indices"]) == ([UUID.format(0), UUID.format(1)], [0, 1])
    assert worker["share_codes"], "an empty list changes nothing on the agent"
    first = one.call("POST", f"/api/v1/agents/{agent_id}/status", report([]))
    assert first["success"] is True
    path = f"/api/v1/agents/{agent_id}/status"
    second = one.call("POST", path, report([worker_report(worker["worker_id"])]))
    assert second["config_version"] == first["config_version"], "reports alone make no agent fetch"
    assert second["worker_share_codes"] == {worker["worker_id"]: worker["share_codes"]}
    user = go(sharing.user)
    before = user.call("GET", f"/api/v1/agents/{agent_id}")
    one.call("POST", path, report([worker_report(worker["worker_id"], at="2026-11-21T05:07:58.1+03:00")]))
    shown = user.call("GET", f"/api/v1/agents/{agent_id}")
    assert (shown["status"], shown["workers"][0]["status"]) == ("online", "running")
    assert shown["workers"][0]["connections"] == before["workers"][0]["connections"], "when it was first seen"
    (connection,) = shown["workers"][0]["connections"]
    assert (connection["client_port"], connection["client_pid"]) == (50_123, 99)
    one.call("POST", path, report(None, gpus=None, event="shutdown"))
    gone = go(sharing.user).call("GET", f"/api/v1/agents/{agent_id}")
    assert (gone["status"], len(gone["gpus"]), len(gone["workers"])) == ("offline", 2, 1)


def test_agent_of_a_host_without_gpus_registers(sharing: Sharing) -> None:
    one, agent_id, _ = agent(sharing, 0)
    assert one.call("GET", f"/api/v1/agents/{agent_id}/config")["workers"] == []
    one.call("POST", f"/api/v1/agents/{agent_id}/status", {"timestamp": AT, "gpus": None, "workers": None})


def test_agent_pulls_when_the_version_rises_and_its_key_file_loses_a_revoked_code(sharing: Sharing) -> None:
    one, agent_id, _ = agent(sharing)
    user = go(sharing.user)
    status = f"/api/v1/agents/{agent_id}/status"
    local = one.call("GET", f"/api/v1/agents/{agent_id}/config")
    worker_id = local["workers"][0]["worker_id"]
    share = user.call("POST", "/api/v1/shares", {"worker_id": worker_id, "connection_ip": ""})
    told = one.call("POST", status, report([]))
    assert told["config_version"] > local["config_version"]
    assert told["worker_share_codes"][worker_id] == [share["short_code"]]
    user.call("DELETE", f"/api/v1/shares/{share['share_id']}")
    after = one.call("POST", status, report([]))
    assert after["config_version"] > told["config_version"]
    (dead,) = after["worker_share_codes"][worker_id]
    assert dead != share["short_code"]


def test_line_protocol_in_a_report_is_taken_with_ids_in_another_case(sharing: Sharing) -> None:
    one, agent_id, _ = agent(sharing)
    ms = 1_763_690_848_721
    lines = "\n".join(
        (
            f"gpu_metrics,agent_id={agent_id},gpu_id={UUID.format(0).upper()} utilization=12.5,vram_used_mb=10i {ms}",
            f"system_metrics,agent_id={agent_id} cpu_usage=1.5,memory_used_mb=10i,memory_total_mb=100i {ms}",
            f"worker_metrics,agent_id={agent_id},worker_id=w gpu_utilization=0 {ms}",
        )
    )
    one.call("POST", f"/api/v1/agents/{agent_id}/status", report([], metrics=lines))
    assert one.call("POST", f"/api/v1/agents/{agent_id}/metrics", METRICS) == {"success": True}


def test_secret_of_a_removed_agent_is_a_stale_registration_to_it(sharing: Sharing) -> None:
    one, agent_id, _ = agent(sharing)
    other, other_id, _ = agent(sharing)
    assert "status 404" in one.fails("DELETE", f"/api/v1/agents/{other_id}")
    assert one.call("DELETE", f"/api/v1/agents/{agent_id}") == {"success": True}
    assert "status 401" in one.fails("GET", f"/api/v1/agents/{agent_id}/config")
    assert other.call("GET", f"/api/v1/agents/{other_id}/config")["config_version"] >= 1


# ---------------------------------------------------------------- the command line, also with an agent's secret


@pytest.mark.parametrize("with_secret", [False, True])
def test_command_line_manages_workers_and_shares(sharing: Sharing, with_secret: bool) -> None:
    one, agent_id, _ = agent(sharing)
    user = one if with_secret else go(sharing.user)
    (listed,) = [each for each in user.call("GET", "/api/v1/agents")["agents"] if each["agent_id"] == agent_id]
    assert (listed["gpu_count"], len(listed["gpus"]), len(listed["workers"])) == (2, 2, 1)
    assert listed["network_ips"] == []
    assert listed["gpu_summary"] == "2x NVIDIA H200"
    assert {"gpu_id", "gpu_index", "vendor", "model", "vram_mb"} <= set(listed["gpus"][0])
    body = {"agent_id": agent_id, "name": "mine", "gpu_ids": [UUID.format(1)], "listen_port": 9002, "enabled": True}
    made = user.call("POST", "/api/v1/workers", body)
    assert (made["gpu_indices"], made["restarts"], made["connections"]) == ([1], 0, [])
    assert made["started_at"] is None
    changed = user.call("PATCH", f"/api/v1/workers/{made['worker_id']}", {"listen_port": 9003})
    assert (changed["listen_port"], changed["name"]) == (9003, "mine")
    found = user.call("GET", f"/api/v1/workers?agent_id={agent_id}&hostname=")["workers"]
    assert {each["worker_id"] for each in found} >= {made["worker_id"]}
    share = user.call("POST", "/api/v1/shares", {"worker_id": made["worker_id"], "connection_ip": "", "max_uses": 3})
    assert share["connection_url"] == "tcp://127.0.0.1:9003", "the address that the agent was heard from"
    assert share["share_id"] in {each["share_id"] for each in user.call("GET", "/api/v1/shares")["shares"]}
    user.call("DELETE", f"/api/v1/shares/{share['share_id']}")
    user.call("DELETE", f"/api/v1/workers/{made['worker_id']}")
    assert "no worker" in user.fails("GET", f"/api/v1/workers/{made['worker_id']}")


def test_share_is_used_three_times_and_not_a_fourth(sharing: Sharing) -> None:
    host = sharing.host()
    share = sharing.user.share(host.worker_id, max_uses=3, expires_at="2099-01-01T00:00:00.123456789+01:00")
    guest = go(sharing.guest, "/")
    code = share["short_link"].rpartition("/")[2]
    for _ in range(3):
        found = guest.call("GET", f"/s/{code}")
        assert found["agent_arch"] == "amd64", "it picks the client's libraries"
        operator = f"{found['connection_url']}+{code}"
        assert re.fullmatch(r"tcp://[0-9a-z.:\[\]-]+:[0-9]+\+[0-9A-Z]{16}", operator), "it goes through eval"
    assert "status 410" in guest.fails("GET", f"/s/{code}")


def test_preview_of_a_link_uses_nothing_up(sharing: Sharing) -> None:
    host = sharing.host()
    share = sharing.user.share(host.worker_id, max_uses=1)
    path = f"/s/{share['short_code']}"
    for method in ("HEAD", "GET"):
        answer = sharing.guest.send(method, path, headers={"Accept": "text/html,*/*;q=0.8"})
        assert (answer.status, share["connection_url"].encode() in answer.body) == (200, False)
    assert go(sharing.guest).call("GET", path)["worker_id"] == host.worker_id


# ---------------------------------------------------------------- the editor extension


def test_extension_refreshes_its_trees_with_a_pat(sharing: Sharing) -> None:
    host = sharing.host()
    assert len(sharing.user.token) >= 20, "it takes no shorter one"
    user = go(sharing.user)
    for what in ("agents", "workers", "shares"):
        assert isinstance(user.call("GET", f"/api/v1/{what}")[what], list)
    made = user.call("POST", "/api/v1/shares", {"worker_id": host.worker_id, "connection_ip": ""})
    assert made["connection_url"] == "tcp://192.0.2.7:9001", "the first address that the agent has told"


def test_lists_are_empty_and_never_null_to_somebody_new(sharing: Sharing) -> None:
    fresh = go(sharing.person("nina"))
    for what in ("agents", "workers", "shares"):
        assert fresh.call("GET", f"/api/v1/{what}") == {what: []}


# ---------------------------------------------------------------- the release mirror and the install command


def test_install_command_fetches_checks_and_registers(sharing: Sharing, tmp_path: Path) -> None:
    program = tmp_path / "ggo-linux-amd64"
    program.write_text('#!/bin/sh\necho "$@ token=$GPU_GO_TOKEN at $GPU_GO_ENDPOINT"\n')
    words = ("share", "release", "add", str(program), "--vendor", "stub", "--version", "1.2.3", "--type", "cli")
    for arch in ("amd64", "arm64"):
        added = sharing.product.command(*words, "--arch", arch, "--name", f"ggo-linux-{arch}")
        assert added.returncode == 0, added.stderr
    listed = go(sharing.guest).call("GET", "/api/ecosystem/releases?size=500")
    assert listed["count"] == len(listed["releases"]) == 2
    artifact = listed["releases"][0]["artifacts"][0]
    assert artifact["sha256"] == hashlib.sha256(program.read_bytes()).hexdigest()
    assert all(isinstance(value, str) for value in artifact["metadata"].values())
    part = sharing.guest.get(f"/{artifact['url'].split('/', 3)[3]}", headers={"Range": "bytes=0-8"})
    assert (part.status, part.body) == (206, b"#!/bin/sh")
    made = sharing.user.made("/api/v1/tokens/generate", {"type": "agent_install"})
    line = made["install_command"]
    surroundings = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GGO_INSTALL_DIR": str(tmp_path / "bin")}

    def run(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", command], env=surroundings, capture_output=True, text=True, timeout=60, check=False
        )

    done = run(line)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"agent register token={made['token']} at http")
    wrong = run(line.replace(artifact["sha256"], "0" * 64))
    assert wrong.returncode != 0
    assert ("nothing was run" in wrong.stderr, wrong.stdout) == (True, "")


def test_default_worker_and_gpu_0_ids_of_mock_gpus_are_taken(sharing: Sharing) -> None:
    host: Host = sharing.host()
    assert host.read(f"{host.path}/config")["workers"][0]["gpu_ids"] == ["GPU-0"]
