"""What the sharing API's document says, one test for each statement, against the built file."""

import time
from datetime import datetime
from typing import Any

import httpx2 as httpx
import pytest

from tests.wire.sharing import (
    AT,
    GPU,
    METRICS,
    REGISTER,
    STATUS,
    TIME,
    WORKER,
    Host,
    Sharing,
    failed,
    times,
    whole_numbers,
)

pytestmark = pytest.mark.zipapp


@pytest.fixture(scope="module")
def host(sharing: Sharing) -> Host:
    """A host of the user's."""
    return sharing.host()


def seconds(text: str) -> float:
    assert TIME.fullmatch(text)
    return datetime.fromisoformat(text).timestamp()


# ---------------------------------------------------------------- tokens


def test_generated_token_has_the_documented_fields_and_lasts_thirty_minutes(sharing: Sharing) -> None:
    made = sharing.user.made("/api/v1/tokens/generate", {"type": "agent_install"})
    assert {name: type(value) for name, value in made.items()} == dict.fromkeys(
        ("token_id", "token", "expires_at", "install_command"), str
    )
    assert abs(seconds(made["expires_at"]) - time.time() - 1800) < 30


def test_token_of_another_type_is_refused(sharing: Sharing) -> None:
    for body in ({"type": "pat"}, {}, {"type": None}):
        failed(sharing.user.send("POST", "/api/v1/tokens/generate", body), 400)


def test_status_of_a_token_is_active_then_used_with_its_agent(sharing: Sharing) -> None:
    made = sharing.user.made("/api/v1/tokens/generate", {"type": "agent_install"})
    path = f"/api/v1/tokens/{made['token_id']}/status"
    found = sharing.user.read(path)
    assert found == {
        "token_id": made["token_id"],
        "status": "active",
        "expires_at": made["expires_at"],
        "used_at": None,
        "is_expired": False,
    }
    agent_id = sharing.register(made["token"]).json["agent_id"]
    used = sharing.user.read(path)
    assert (used["status"], used["is_expired"], used["agent"]["agent_id"]) == ("used", False, agent_id)
    assert abs(seconds(used["used_at"]) - time.time()) < 30
    failed(sharing.other.get(path), 404)


def test_personal_access_token_is_a_singleton(sharing: Sharing) -> None:
    owner = sharing.person("pat")
    first = owner.token
    made = owner.made("/api/v1/tokens/pat", {"expires_in_days": 30})
    assert set(made) == {"token", "expires_at", "created_at"}
    assert abs(seconds(made["expires_at"]) - seconds(made["created_at"]) - 30 * 86_400) < 1
    failed(owner.get("/api/v1/tokens/pat"), 401)
    owner.token = made["token"]
    assert owner.token != first
    found = owner.read("/api/v1/tokens/pat")
    assert {"exists", "expires_at", "last_used_at", "created_at"} <= set(found)
    assert (found["exists"], found["expires_at"]) == (True, made["expires_at"])
    times(found)
    gone = owner.send("DELETE", "/api/v1/tokens/pat")
    assert (gone.status, gone.json) == (200, {"success": True})
    failed(owner.get("/api/v1/tokens/pat"), 401)


def test_user_session_is_the_cookie_of_the_dashboard(sharing: Sharing) -> None:
    found: httpx.Response = sharing.browser.get("/api/v1/agents")
    assert (found.status_code, "agents" in found.json()) == (200, True)
    made = sharing.browser.post("/api/v1/tokens/generate", json={"type": "agent_install"})
    assert made.status_code == 201


# ---------------------------------------------------------------- agents


def test_registration_answers_id_secret_and_licence_and_marks_the_token_used(sharing: Sharing) -> None:
    token = sharing.install_token()
    answer = sharing.register(token)
    assert answer.status == 201
    made = answer.json
    assert set(made) == {"agent_id", "agent_secret", "license"}
    assert set(made["license"]) == {"plain", "encrypted"}
    assert all(made["license"].values())
    failed(sharing.register(token), 401)


def test_licence_is_valid_for_120_minutes(sharing: Sharing, host: Host) -> None:
    for license_ in (host.license, host.read(f"{host.path}/config")["license"]):
        expires_ms = int(license_["plain"].split("|")[2])
        assert abs(expires_ms / 1000 - time.time() - 7200) < 120


def test_registration_makes_a_default_worker(sharing: Sharing, host: Host) -> None:
    shown = sharing.user.read(host.path)
    assert [each["is_default"] for each in shown["workers"] if each["worker_id"] == host.worker_id] == [True]


@pytest.mark.parametrize("name", ["hostname", "os", "arch", "gpus"])
def test_registration_without_a_required_field_is_400(sharing: Sharing, name: str) -> None:
    token = sharing.install_token()
    body = {key: value for key, value in REGISTER.items() if key != name}
    sent = Host(sharing.product, token).send("POST", "/api/v1/agents/register", body)
    assert name in failed(sent, 400)
    assert sharing.register(token).status == 201, "the token is not used up by it"


@pytest.mark.parametrize(("name", "longest"), [("hostname", 255), ("os", 20), ("arch", 20)])
def test_registration_texts_have_1_to_so_many_characters(sharing: Sharing, name: str, longest: int) -> None:
    for text in ("", "x" * (longest + 1)):
        failed(sharing.register(sharing.install_token(), **{name: text}), 400)
    assert sharing.register(sharing.install_token(), **{name: "x" * longest}).status == 201


@pytest.mark.parametrize("vram_mb", [0, -1, 1.5, "1", None])
def test_memory_of_a_gpu_is_a_positive_integer(sharing: Sharing, vram_mb: Any) -> None:
    failed(sharing.register(sharing.install_token(), gpus=[GPU | {"vram_mb": vram_mb}]), 400)


def test_registration_checks_the_number_of_gpus_against_the_plan(sharing: Sharing) -> None:
    owner = sharing.person("free")
    words = failed(sharing.register(sharing.install_token(owner), gpus=[GPU, GPU | {"gpu_id": "GPU-1"}]), 403)
    assert "'free'" in words
    assert "gpus_per_agent" in words


def test_agent_list_has_the_documented_items(sharing: Sharing, host: Host) -> None:
    found = sharing.user.read("/api/v1/agents")
    assert set(found) == {"agents"}
    (item,) = [each for each in found["agents"] if each["agent_id"] == host.agent_id]
    expected = {"hostname": "gpu-box", "os": "linux", "arch": "amd64", "gpuCount": 1}
    assert {name: item[name] for name in expected} == expected
    assert item["status"] in ("pending", "online", "offline")
    assert TIME.fullmatch(item["created_at"])
    assert item["last_seen_at"] is None or TIME.fullmatch(item["last_seen_at"])


def test_one_agent_has_the_documented_fields(sharing: Sharing, host: Host) -> None:
    found = sharing.user.read(host.path)
    names = "agent_id hostname status os arch network_ips gpus workers last_seen_at created_at"
    assert set(names.split()) <= set(found)
    assert {"gpu_id", "vendor", "model", "vram_mb", "used_by_worker"} <= set(found["gpus"][0])
    names = "worker_id is_default status gpu_ids listen_port connections"
    assert set(names.split()) <= set(found["workers"][0])
    times(found)
    whole_numbers(found)


def test_deleted_agent_takes_workers_and_shares_along(sharing: Sharing) -> None:
    gone = sharing.host()
    share = sharing.user.share(gone.worker_id)
    answer = sharing.user.send("DELETE", gone.path)
    assert (answer.status, answer.json) == (200, {"success": True})
    failed(sharing.user.get(gone.path), 404)
    failed(sharing.user.get(f"/api/v1/workers/{gone.worker_id}"), 404)
    failed(sharing.guest.get(f"/s/{share['short_code']}"), 404)
    failed(gone.get(f"{gone.path}/config"), 401)


def test_status_report_answers_version_and_licence_and_is_taken_over(sharing: Sharing) -> None:
    one = sharing.host()
    connection = {"client_ip": "198.51.100.4", "connected_at": AT}
    answer = one.report(one.says(connections=[connection]))
    assert answer["success"] is True
    assert type(answer["config_version"]) is int
    assert "license" in answer
    shown = sharing.user.read(one.path)
    assert (shown["status"], abs(seconds(shown["last_seen_at"]) - time.time()) < 30) == ("online", True)
    (worker,) = shown["workers"]
    assert worker["status"] == "running"
    assert worker["connections"][0]["client_ip"] == "198.51.100.4"
    assert shown["gpus"][0]["used_by_worker"] == one.worker_id


@pytest.mark.parametrize("status", ["pending", "running", "stopping", "stopped"])
def test_reported_status_of_a_worker_is_shown(sharing: Sharing, host: Host, status: str) -> None:
    host.report(host.says(status=status))
    assert sharing.user.read(f"/api/v1/workers/{host.worker_id}")["status"] == status


@pytest.mark.parametrize("name", ["timestamp", "gpus", "workers"])
def test_status_report_without_a_required_field_is_400(sharing: Sharing, host: Host, name: str) -> None:
    body = {key: value for key, value in STATUS.items() if key != name}
    assert name in failed(host.send("POST", f"{host.path}/status", body), 400)


def test_configuration_lists_workers_with_a_fresh_licence(sharing: Sharing, host: Host) -> None:
    made = sharing.user.worker(host.agent_id, vram_mb=1000, compute_percent=20, isolation_mode="hard")
    found = host.read(f"{host.path}/config")
    assert set(found) == {"config_version", "workers", "license"}
    (worker,) = [each for each in found["workers"] if each["worker_id"] == made["worker_id"]]
    expected = {
        "gpu_ids": ["GPU-0"],
        "vram_mb": 1000,
        "compute_percent": 20,
        "isolation_mode": "hard",
        "listen_port": made["listen_port"],
        "enabled": True,
    }
    assert {name: worker[name] for name in expected} == expected
    assert host.read(f"{host.path}/config")["license"]["plain"] != ""


def test_metrics_are_for_plans_that_have_them(sharing: Sharing, host: Host) -> None:
    answer = host.send("POST", f"{host.path}/metrics", METRICS)
    assert (answer.status, answer.json) == (200, {"success": True})
    poor = sharing.host(sharing.person("poor"))
    assert "'free'" in failed(poor.send("POST", f"{poor.path}/metrics", METRICS), 403)


# ---------------------------------------------------------------- workers


def test_created_worker_is_a_list_item_and_raises_the_version(sharing: Sharing, host: Host) -> None:
    before = host.report()["config_version"]
    made = sharing.user.worker(host.agent_id)
    names = "worker_id agent_id name gpu_ids listen_port enabled status created_at"
    assert set(names.split()) <= set(made)
    assert made["status"] in ("pending", "running", "stopping", "stopped")
    assert host.report()["config_version"] > before
    listed = sharing.user.read(f"/api/v1/workers?agent_id={host.agent_id}&hostname=gpu-box")
    assert made in listed["workers"]
    assert sharing.user.read("/api/v1/workers?hostname=elsewhere") == {"workers": []}


def test_worker_is_enabled_unless_it_says_otherwise(sharing: Sharing, host: Host) -> None:
    body = {key: value for key, value in WORKER.items() if key != "enabled"}
    made = sharing.user.made("/api/v1/workers", body | {"agent_id": host.agent_id, "listen_port": 20_001})
    assert made["enabled"] is True


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"gpu_ids": []},
        {"gpu_ids": ["GPU-9"]},
        {"listen_port": 1023},
        {"listen_port": 65_536},
        {"enabled": "yes"},
    ],
)
def test_worker_outside_the_documented_bounds_is_400(sharing: Sharing, host: Host, changes: dict[str, Any]) -> None:
    before = sharing.user.read("/api/v1/workers")
    body = WORKER | {"agent_id": host.agent_id, "listen_port": 20_002} | changes
    failed(sharing.user.send("POST", "/api/v1/workers", body), 400)
    failed(sharing.user.send("PATCH", f"/api/v1/workers/{host.worker_id}", changes), 400)
    assert sharing.user.read("/api/v1/workers") == before


def test_one_worker_has_the_documented_fields(sharing: Sharing, host: Host) -> None:
    found = sharing.user.read(f"/api/v1/workers/{host.worker_id}")
    names = "worker_id agent_id name gpu_ids listen_port enabled status connections created_at"
    assert set(names.split()) <= set(found)
    times(found)
    whole_numbers(found)


def test_disabled_running_worker_is_stopping_and_the_version_rises(sharing: Sharing) -> None:
    one = sharing.host()
    before = one.report(one.says())["config_version"]
    answer = sharing.user.send("PATCH", f"/api/v1/workers/{one.worker_id}", {"enabled": False})
    assert answer.status == 200
    assert {"worker_id", "name", "gpu_ids", "listen_port", "enabled", "status"} <= set(answer.json)
    assert (answer.json["enabled"], answer.json["status"]) == (False, "stopping")
    assert one.report()["config_version"] > before


def test_deleted_worker_raises_the_version(sharing: Sharing, host: Host) -> None:
    made = sharing.user.worker(host.agent_id)
    before = host.report()["config_version"]
    answer = sharing.user.send("DELETE", f"/api/v1/workers/{made['worker_id']}")
    assert (answer.status, answer.json) == (200, {"success": True})
    assert host.report()["config_version"] > before
    failed(sharing.user.get(f"/api/v1/workers/{made['worker_id']}"), 404)


# ---------------------------------------------------------------- shares


def test_created_share_is_a_list_item_with_link_and_url(sharing: Sharing, host: Host) -> None:
    made = sharing.user.share(host.worker_id, expires_at="2099-01-01T00:00:00Z", max_uses=5)
    worker = sharing.user.read(f"/api/v1/workers/{host.worker_id}")
    expected = {
        "short_link": f"https://go.example.net/s/{made['short_code']}",
        "worker_id": host.worker_id,
        "hardware_vendor": "nvidia",
        "connection_url": f"tcp://10.0.0.4:{worker['listen_port']}",
        "expires_at": "2099-01-01T00:00:00Z",
        "max_uses": 5,
        "used_count": 0,
    }
    assert {name: made[name] for name in expected} == expected
    times(made)
    whole_numbers(made)
    assert made in sharing.user.read("/api/v1/shares")["shares"]


def test_short_codes_are_unique(sharing: Sharing, host: Host) -> None:
    codes = [sharing.user.share(host.worker_id)["short_code"] for _ in range(10)]
    assert len(set(codes)) == 10


def test_share_of_anothers_worker_is_not_made(sharing: Sharing, host: Host) -> None:
    body = {"worker_id": host.worker_id, "connection_ip": "10.0.0.4"}
    failed(sharing.other.send("POST", "/api/v1/shares", body), 404)


def test_short_link_is_public_and_counts(sharing: Sharing, host: Host) -> None:
    share = sharing.user.share(host.worker_id, max_uses=2)
    found = sharing.guest.read(f"/s/{share['short_code']}")
    assert {name: found[name] for name in ("worker_id", "hardware_vendor", "connection_url")} == {
        "worker_id": host.worker_id,
        "hardware_vendor": "nvidia",
        "connection_url": share["connection_url"],
    }
    (listed,) = [
        each for each in sharing.user.read("/api/v1/shares")["shares"] if each["share_id"] == share["share_id"]
    ]
    assert listed["used_count"] == 1
    assert sharing.guest.get(f"/s/{share['short_code']}").status == 200
    failed(sharing.guest.get(f"/s/{share['short_code']}"), 410)


def test_unknown_short_link_is_404_and_an_expired_one_410(sharing: Sharing, host: Host) -> None:
    failed(sharing.guest.get("/s/0000000000000000"), 404)
    soon = datetime.fromtimestamp(time.time() + 1).astimezone().isoformat()
    share = sharing.user.share(host.worker_id, expires_at=soon)
    path = f"/s/{share['short_code']}"
    deadline = time.monotonic() + 60
    while sharing.guest.send("HEAD", path).status == 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)  # addresses have only so many requests without a credential
    assert "expired" in failed(sharing.guest.get(path), 410)


def test_deleted_share_is_gone(sharing: Sharing, host: Host) -> None:
    share = sharing.user.share(host.worker_id)
    answer = sharing.user.send("DELETE", f"/api/v1/shares/{share['share_id']}")
    assert (answer.status, answer.json) == (200, {"success": True})
    failed(sharing.guest.get(f"/s/{share['short_code']}"), 404)
