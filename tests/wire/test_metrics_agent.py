"""The requests of the real agent, both versions and both modes, replayed on one kept connection."""

import json
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx2 as httpx
import pytest

from tests.product.served import ADMIN, PASSWORD, Product
from tests.wire.metrics import Answer, Server, latest, sample

pytestmark = pytest.mark.zipapp

HEADERS = {
    "User-Agent": "python-requests/2.32.3",
    "Accept-Encoding": "gzip, deflate",
    "Accept": "application/json",
    "Connection": "keep-alive",
    "Content-Type": "application/json",
}
SYSTEM = {
    "os_name": "Linux",
    "os_release": "6.8.0-47-generic",
    "os_version": "#47-Ubuntu SMP",
    "machine": "x86_64",
    "processor": "x86_64",
    "cpu_model": "AMD EPYC 9354",
    "hostname": "train01",
    "cpu_count_logical": 64,
    "cpu_count_physical": 32,
    "memory_total_bytes": 274877906944,
    "swap_total_bytes": 0,
    "boot_time": 1_790_000_000.0,
    "uptime_seconds": 86_400.5,
    "python_version": "3.12.3",
    "platform_full": "Linux-6.8.0-47-generic-x86_64-with-glibc2.39",
    "partitions": [
        {
            "device": "/dev/nvme0n1p2",
            "mountpoint": "/",
            "fstype": "ext4",
            "total_bytes": 10**12,
            "used_bytes": 10**11,
            "free_bytes": 9 * 10**11,
            "percent": 10.0,
        }
    ],
    "interfaces": [{"name": "eno1", "ipv4": ["192.0.2.7"], "ipv6": ["2001:db8::7"]}],
}


class Agent:
    """Does what the agent does: posts, and enrols again once when its token counts no longer."""

    def __init__(self, box: Server, *, version: str, enrolled: bool) -> None:
        self.box, self.version, self.enrolled = box, version, enrolled
        self.printed: list[str] = []
        self.has_ended = False

    def about(self) -> dict[str, Any]:
        """What it says of itself, computed once at its start."""
        said: dict[str, Any] = {
            "version": self.version,
            "hostname": "train01",
            "platform": "Linux-6.8",
            "python": "3.12.3",
            "labels": {"rack": "r1"},
        }
        if self.version == "0.1.0":
            return said
        return (
            said
            | {"user": "root", "pid": 4711, "disk_filters": {"include": [], "exclude": ["loop"]}}
            | {"system_info": SYSTEM}
        )

    def round(self) -> Answer:
        """Take and send one sample; on 401 end, or enrol again and go on."""
        changes: dict[str, Any] = {}
        if self.version == "0.2.0":
            changes = {"cpu_temperature_c": 61.5, "fans": [{"label": "fan1", "speed_rpm": 1200}]}
        body = {"sample": sample(**changes), "agent": self.about()}
        answer = self.box.post(body, headers={**HEADERS, "X-Monitoring-Token": self.box.token})
        if answer.status == 401 and self.version != "0.1.0":
            if self.enrolled:
                self.enrol()
            else:
                self.has_ended = True
            return answer
        parsed = json.loads(answer.body)  # of any status but 401
        if not parsed.get("ok") or answer.status >= 400:
            self.printed.append(str(parsed["error"]))
        else:
            shown = parsed["snapshot"]
            self.printed.append(
                f"{shown['collected_at']} cpu={shown['cpu_usage_percent']:.1f} gpu={shown['top_gpu_util_percent']}"
                f" disk={shown['disk_util_percent']:.1f} {shown['bottleneck']}"
            )
        return answer

    def enrol(self) -> None:
        """Ask for a token with name and password."""
        body = {
            "username": ADMIN,
            "password": PASSWORD,
            "machine_id": "fedcba9876543210fedcba9876543210",
            "hostname": "train01",
            "agent_user": "root",
            "platform": "Linux-6.8",
            "agent_version": self.version,
        }
        answer = self.box.post(body, headers=HEADERS, path="/api/agent/enroll/")
        assert answer.status == 200, answer.body
        self.box.slug, self.box.token = answer.json["server_slug"], answer.json["ingest_token"]


@pytest.fixture
def enrolled(shared: Product, browser: httpx.Client) -> Iterator[Agent]:
    """An agent in its usual mode."""
    with closing(Server(shared.base, "", "")) as box:
        agent = Agent(box, version="0.2.0", enrolled=True)
        agent.enrol()
        yield agent


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_agent_with_slug_and_token_reports_round_after_round(browser: httpx.Client, box: Server, version: str) -> None:
    agent = Agent(box, version=version, enrolled=False)
    for _ in range(5):
        assert agent.round().status == 200
    assert len(agent.printed) == 5
    assert all("gpu=98.0" in line and line.endswith("gpu-bound") for line in agent.printed)
    row = latest(browser, box)["selected_server"]
    assert (row["last_agent_version"], row["hostname"], row["snapshot_count"]) == (version, "train01", 5)
    assert row["agent_user"] == ("Administrator" if version == "0.2.0" else "")


def test_enrolled_agent_reports_and_its_system_is_shown_whole(browser: httpx.Client, enrolled: Agent) -> None:
    for _ in range(3):
        assert enrolled.round().status == 200
    row = latest(browser, enrolled.box)["selected_server"]
    assert row["agent_info"]["system_info"] == SYSTEM
    assert row["agent_info"]["labels"] == {"rack": "r1"}


def test_enrolled_agent_whose_token_was_rotated_enrols_again_and_goes_on(
    browser: httpx.Client, enrolled: Agent
) -> None:
    assert enrolled.round().status == 200
    slug = enrolled.box.slug
    assert browser.post(f"/api/appliance/servers/{slug}/rotate-token", json={}).status_code == 200
    assert enrolled.round().status == 401
    assert enrolled.box.slug == slug
    assert enrolled.round().status == 200


def test_agent_with_a_fixed_token_ends_when_that_is_rotated(browser: httpx.Client, box: Server) -> None:
    agent = Agent(box, version="0.2.0", enrolled=False)
    assert agent.round().status == 200
    assert browser.post(f"/api/appliance/servers/{box.slug}/rotate-token", json={}).status_code == 200
    agent.round()
    assert agent.has_ended


def test_every_failure_is_json_that_the_agent_can_print(browser: httpx.Client, box: Server) -> None:
    agent = Agent(box, version="0.2.0", enrolled=False)
    browser.patch(f"/api/appliance/servers/{box.slug}", json={"is_active": False})
    agent.round()
    browser.delete(f"/api/appliance/servers/{box.slug}")
    agent.round()
    assert agent.printed[0] == "Server is disabled."
    assert box.slug in agent.printed[1]


@pytest.mark.long
def test_kept_connection_outlives_the_longest_interval(box: Server) -> None:
    agent = Agent(box, version="0.2.0", enrolled=False)
    assert agent.round().status == 200
    kept = box._connection
    time.sleep(74)
    assert agent.round().status == 200
    assert box._connection is kept
    assert kept is not None
    assert kept.sock is not None
