"""Answers: every documented field with its type, and what the clients read beyond them."""

import json
from typing import Any

import msgspec
import pytest
from attrs import evolve

from appliance.plugin import (
    ApplianceError,
    BadInput,
    Conflict,
    Forbidden,
    Gone,
    Head,
    NotAuthenticated,
    NotFound,
    TooManyRequests,
)
from plugins.gpu_sharing import wire
from plugins.gpu_sharing.models import Agent, Gpu, Peer, Share, Worker

NOW = 1_795_255_200_000_000  # 2026-11-21T10:00:00Z
AT = "2026-11-21T10:00:00Z"


def gpu(number: int, **more: Any) -> Gpu:
    return Gpu(gpu_id=f"GPU-{number}", gpu_index=number, vendor="nvidia", model="H200", vram_mb=143_771, **more)


def worker(name: str = "w", **more: Any) -> Worker:
    made: dict[str, Any] = {
        "worker_id": f"worker_{name}",
        "agent_id": "agent_1",
        "name": name,
        "gpu_ids": ("GPU-1",),
        "listen_port": 9001,
        "created_unix_us": NOW,
    }
    return Worker(**(made | more))


def agent(*workers: Worker, **more: Any) -> Agent:
    made: dict[str, Any] = {
        "agent_id": "agent_1",
        "owner": "ann",
        "hostname": "box",
        "os": "linux",
        "arch": "amd64",
        "network_ips": ("10.0.0.4",),
        "gpus": (gpu(0, driver_version="580.82", cuda_version="13.0"), gpu(1)),
        "host_id": "host_1",
        "created_unix_us": NOW,
        "workers": {each.worker_id: each for each in workers},
    }
    return Agent(**(made | more))


def share(**more: Any) -> Share:
    made: dict[str, Any] = {
        "share_id": "share_1",
        "short_code": "0" * 16,
        "worker_id": "worker_w",
        "agent_id": "agent_1",
        "owner": "ann",
        "connection_ip": "10.0.0.4",
        "created_unix_us": NOW,
    }
    return Share(**(made | more))


def sent(model: object) -> dict[str, Any]:
    """Return what a client reads."""
    found = json.loads(msgspec.json.encode(model))
    assert isinstance(found, dict)
    return found


def test_worker_has_the_documented_fields_and_those_that_clients_read() -> None:
    running = worker(
        status="running",
        pid=77,
        restarts=1,
        connections={Peer(client_ip="10.0.0.9", client_port=5, client_pid=6): NOW, Peer(client_ip="::1"): NOW},
        started_unix_us=NOW,
        vram_mb=1000,
        compute_percent=50,
        isolation_mode="soft",
    )
    assert sent(wire.worker_item(running, agent(running))) == {
        "worker_id": "worker_w",
        "agent_id": "agent_1",
        "agent_hostname": "box",
        "name": "w",
        "gpu_ids": ["GPU-1"],
        "gpu_indices": [1],
        "gpus": [
            {
                "gpu_id": "GPU-1",
                "gpu_index": 1,
                "vendor": "nvidia",
                "model": "H200",
                "vram_mb": 143_771,
                "used_by_worker": "worker_w",
            }
        ],
        "listen_port": 9001,
        "enabled": True,
        "is_default": False,
        "status": "running",
        "pid": 77,
        "restarts": 1,
        "connections": [
            {"client_ip": "10.0.0.9", "connected_at": AT, "client_port": 5, "client_pid": 6},
            {"client_ip": "::1", "connected_at": AT},
        ],
        "vram_mb": 1000,
        "compute_percent": 50,
        "isolation_mode": "soft",
        "limits": "advisory",
        "limits_reason": "its agent sets the limits; nothing here can check that they hold",
        "started_at": AT,
        "created_at": AT,
    }


def test_worker_without_limits_leaves_them_out_and_has_empty_lists() -> None:
    found = sent(wire.worker_item(worker(), agent(worker())))
    assert not {"pid", "vram_mb", "compute_percent", "isolation_mode"} & found.keys()
    assert (found["connections"], found["started_at"], found["restarts"]) == ([], None, 0)
    assert (found["limits"], found["limits_reason"]) == ("none", "")


def test_limits_are_advisory_beside_a_worker_without_any_and_enforced_where_somebody_says_so() -> None:
    part, whole = worker("part", vram_mb=5), worker("whole", listen_port=9002)
    both = agent(part, whole)
    assert wire.worker_item(part, both).limits_reason == "without limits on the same GPU: 'whole'"
    enforced = wire.worker_item(part, both, limits=lambda w, a: wire.Limits(limits="enforced", reason="MPS"))
    assert (enforced.limits, enforced.limits_reason) == ("enforced", "MPS")


def test_agent_has_the_documented_fields_and_those_that_clients_read() -> None:
    one = worker(is_default=True)
    found = sent(wire.agent_item(agent(one, last_seen_unix_us=NOW), "online"))
    workers = found.pop("workers")
    assert workers == [sent(wire.worker_item(one, agent(one)))]
    assert {"worker_id", "is_default", "status", "gpu_ids", "listen_port", "connections"} <= workers[0].keys()
    gpus = found.pop("gpus")
    assert gpus[0] == {
        "gpu_id": "GPU-0",
        "gpu_index": 0,
        "vendor": "nvidia",
        "model": "H200",
        "vram_mb": 143_771,
        "driver_version": "580.82",
        "cuda_version": "13.0",
        "used_by_worker": None,
    }
    assert found == {
        "agent_id": "agent_1",
        "hostname": "box",
        "status": "online",
        "os": "linux",
        "arch": "amd64",
        "network_ips": ["10.0.0.4"],
        "gpuCount": 2,
        "gpu_count": 2,
        "gpu_summary": "2x H200",
        "last_seen_at": AT,
        "created_at": AT,
    }


def test_agent_without_gpus_or_reports_has_empty_lists_and_nulls() -> None:
    found = sent(wire.agent_item(agent(gpus=(), network_ips=()), "pending"))
    assert (found["gpus"], found["workers"], found["network_ips"]) == ([], [], [])
    assert (found["gpuCount"], found["gpu_count"], found["gpu_summary"], found["last_seen_at"]) == (0, 0, None, None)


def test_gpu_is_used_by_the_oldest_running_worker() -> None:
    workers = [
        worker("idle", status="pending", gpu_ids=("GPU-0",), created_unix_us=1),
        worker("young", status="running", gpu_ids=("GPU-0", "GPU-1"), created_unix_us=3),
        worker("old", status="running", created_unix_us=2),
    ]
    assert wire.users(workers) == {"GPU-0": "worker_young", "GPU-1": "worker_old"}


def test_config_has_the_documented_fields_with_indices_and_codes() -> None:
    one = worker(vram_mb=1000, enabled=False)
    config = wire.AgentConfigResponse(
        config_version=7,
        workers=[wire.worker_config(one, agent(one), ["A" * 16])],
        license=wire.License(plain="p", encrypted="e"),
    )
    assert sent(config) == {
        "config_version": 7,
        "workers": [
            {
                "worker_id": "worker_w",
                "gpu_ids": ["GPU-1"],
                "gpu_indices": [1],
                "vram_mb": 1000,
                "listen_port": 9001,
                "enabled": False,
                "share_codes": ["A" * 16],
            }
        ],
        "license": {"plain": "p", "encrypted": "e"},
    }


def test_answer_to_a_report_has_null_for_a_license_that_is_kept() -> None:
    answer = wire.StatusReportResponse(config_version=7, license=None, worker_share_codes={"worker_w": ["A"]})
    assert sent(answer) == {
        "success": True,
        "config_version": 7,
        "license": None,
        "worker_share_codes": {"worker_w": ["A"]},
    }


def test_share_has_the_documented_fields_and_nulls() -> None:
    found = sent(wire.share_item(share(), worker(), agent(worker()), base="https://gpu.example.net/"))
    assert found == {
        "share_id": "share_1",
        "short_code": "0" * 16,
        "short_link": f"https://gpu.example.net/s/{'0' * 16}",
        "worker_id": "worker_w",
        "hardware_vendor": "nvidia",
        "connection_url": "tcp://10.0.0.4:9001",
        "expires_at": None,
        "max_uses": None,
        "used_count": 0,
        "created_at": AT,
        "protocol": "native",
    }


def test_share_behind_our_relay_has_a_port_of_its_own_and_says_who_may_connect() -> None:
    relayed = share(relay_port=20_005, max_connections=3, networks=("10.0.0.0/8",), expires_unix_us=NOW, max_uses=3)
    found = sent(wire.share_item(relayed, worker(), agent(worker()), base="http://b", access="open"))
    assert found["connection_url"] == "tcp://10.0.0.4:20005"
    assert (found["access"], found["networks"], found["max_connections"]) == ("open", ["10.0.0.0/8"], 3)
    assert (found["expires_at"], found["max_uses"]) == (AT, 3)
    own = evolve(relayed, access="cidr")
    assert wire.share_item(own, worker(), agent(worker()), base="http://b", access="open").access == "cidr"


def test_guest_gets_the_documented_fields_and_the_architecture_and_nothing_of_the_owner() -> None:
    assert sent(wire.public_share(share(), worker(), agent(worker()))) == {
        "worker_id": "worker_w",
        "hardware_vendor": "nvidia",
        "connection_url": "tcp://10.0.0.4:9001",
        "agent_arch": "amd64",
    }


def test_vendor_of_a_worker_is_that_of_its_first_gpu() -> None:
    mixed = agent(gpus=(gpu(0), evolve(gpu(1), vendor="amd")))
    assert wire.hardware_vendor(worker(gpu_ids=("GPU-1", "GPU-0")), mixed) == "amd"
    assert wire.hardware_vendor(worker(gpu_ids=("GPU-9",)), mixed) == ""


@pytest.mark.parametrize(
    ("used", "later", "status", "is_expired"),
    [(None, 0, "active", False), (None, 1800, "expired", True), (NOW, 1800, "used", False)],
)
def test_token_status_has_the_documented_fields(used: int | None, later: int, status: str, is_expired: bool) -> None:
    found = wire.token_state(
        "install_1",
        expires_unix_us=NOW + 1_800_000_000,
        used_unix_us=used,
        now_unix_us=NOW + later * 1_000_000,
    )
    assert sent(found) == {
        "token_id": "install_1",
        "status": status,
        "expires_at": "2026-11-21T10:30:00Z",
        "used_at": None if used is None else AT,
        "is_expired": is_expired,
    }


def test_used_token_names_its_agent() -> None:
    made = wire.InstalledAgent(agent_id="agent_1", hostname="box", status="online")
    found = sent(wire.token_state("t", expires_unix_us=NOW, used_unix_us=NOW, now_unix_us=NOW, agent=made))
    assert found["agent"] == {"agent_id": "agent_1", "hostname": "box", "status": "online"}


def test_other_answers_have_exactly_the_documented_fields() -> None:
    assert sent(wire.Success()) == {"success": True}
    assert sent(wire.PatInfo(exists=False)) == {
        "exists": False,
        "expires_at": None,
        "last_used_at": None,
        "created_at": None,
        "token": None,
    }
    assert sent(wire.PatResponse(token="t", expires_at=None, created_at=AT)) == {
        "token": "t",
        "expires_at": None,
        "created_at": AT,
    }
    generated = wire.GenerateTokenResponse(token_id="i", token="t", expires_at=AT, install_command="c")
    assert sent(generated) == {"token_id": "i", "token": "t", "expires_at": AT, "install_command": "c"}
    made = wire.AgentRegisterResponse(agent_id="a", agent_secret="s", license=wire.License(plain="p", encrypted="e"))
    assert sent(made) == {"agent_id": "a", "agent_secret": "s", "license": {"plain": "p", "encrypted": "e"}}
    assert sent(wire.Agents(agents=[])) == {"agents": []}
    assert sent(wire.Workers(workers=[])) == {"workers": []}
    assert sent(wire.Shares(shares=[])) == {"shares": []}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotAuthenticated("who?", hint="log in"), 401),
        (BadInput("$.name: too long", field="$.name"), 400),
        (Forbidden("the plan 'free' allows at most 1 agent (agents)", hint="ask"), 403),
        (NotFound("agent", "agent_1"), 404),
        (Conflict("port 9001 is taken"), 409),
        (Gone("this share has expired"), 410),
        (TooManyRequests("slow down", retry_after_seconds=5), 429),
    ],
)
def test_every_failure_is_error_and_hint_with_its_status(error: ApplianceError, status: int) -> None:
    answer = wire.render_error(error, Head.__new__(Head))
    assert answer.status == status
    assert answer.model == {"error": error.message, "hint": error.hint}
    assert answer.headers == error.headers
