"""Shares and their short links over whole requests: what counts as a use, what ends a link, and who sees what."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.credentials.kinds import Role
from appliance.testing import Reply, RunningAppliance, SteppingClock, running
from plugins.gpu_sharing.codes import CROCKFORD
from tests.plugins.gpu_sharing.kit import Agent, Caller, agent, gpu, person

CONFIG = """
[plugins.gpu_sharing]
short_link_base = "https://go.example.net/gpu"
[plugins.gpu_sharing.people]
free = "free"
"""
JSON = {"Accept": "application/json"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.fixture
def now() -> SteppingClock:
    return SteppingClock()


@pytest.fixture
async def appliance(tmp_path: Path, now: SteppingClock) -> AsyncIterator[RunningAppliance]:
    async with running(tmp_path, config=CONFIG, now=now) as one:
        yield one


@pytest.fixture
async def ana(appliance: RunningAppliance) -> Caller:
    return await person(appliance)


@pytest.fixture
async def one(ana: Caller) -> Agent:
    return await agent(ana)


async def follow(appliance: RunningAppliance, code: str, **headers: str) -> Reply:
    return await appliance.get(f"/s/{code}", headers=headers)


async def used(ana: Caller, share: Any) -> int:
    """Return how often a share was used, as its owner sees it."""
    (found,) = [each for each in (await ana.read("/api/v1/shares"))["shares"] if each["share_id"] == share["share_id"]]
    return int(found["used_count"])


async def refused(ana: Caller, one: Agent, **changes: Any) -> tuple[int, str]:
    """Ask for a share that is not made; return status and error."""
    reply = await ana.send("POST", "/api/v1/shares", {"worker_id": one.default} | changes)
    assert set(reply.json) == {"error", "hint"}
    assert (await ana.read("/api/v1/shares")) == {"shares": []}
    return reply.status, reply.json["error"]


# ---------------------------------------------------------------- making


async def test_share_is_made_with_an_unguessable_link_and_the_worker_s_address(ana: Caller, one: Agent) -> None:
    made = await ana.share(one.default, connection_ip="gpu-box.example.net", max_uses=3)
    code = made["short_code"]
    assert (len(code), set(code) - set(CROCKFORD)) == (16, set())
    expected = {
        "short_link": f"https://go.example.net/gpu/s/{code}",
        "worker_id": one.default,
        "hardware_vendor": "nvidia",
        "connection_url": "tcp://gpu-box.example.net:9001",
        "expires_at": None,
        "max_uses": 3,
        "used_count": 0,
        "protocol": "native",
    }
    assert {name: made[name] for name in expected} == expected
    assert (await ana.read("/api/v1/shares")) == {"shares": [made]}


async def test_short_links_begin_with_the_public_url_by_default(tmp_path: Path) -> None:
    async with running(tmp_path) as appliance:
        mine = await agent(await person(appliance))
        made = await mine.share(mine.default)
        assert made["short_link"].endswith(f"/s/{made['short_code']}")
        assert made["short_link"].startswith("http")


@pytest.mark.parametrize(
    ("ip", "url"),
    [("10.0.0.4", "tcp://10.0.0.4:9001"), ("fd00::4", "tcp://[fd00::4]:9001"), ("", "tcp://192.0.2.7:9001")],
)
async def test_connection_ip_is_an_address_or_the_agents_first_when_empty(
    ana: Caller, one: Agent, ip: str, url: str
) -> None:
    assert (await ana.share(one.default, connection_ip=ip))["connection_url"] == url


async def test_agent_that_told_no_address_is_reached_where_it_reports_from(ana: Caller) -> None:
    mine = await agent(ana, network_ips=[])
    made = await ana.made("/api/v1/shares", {"worker_id": mine.default})
    assert made["connection_url"] == "tcp://127.0.0.1:9001"


@pytest.mark.parametrize("ip", ["$(reboot)", "a;b", "`id`", "10.0.0.4 x", "tcp://10.0.0.4", "a\nb", "0.0.0.0", '"'])
async def test_connection_ip_that_a_shell_would_look_at_is_refused(ana: Caller, one: Agent, ip: str) -> None:
    status, error = await refused(ana, one, connection_ip=ip)
    assert (status, "connection_ip" in error) == (400, True)


async def test_terms_that_cannot_be_are_refused(ana: Caller, one: Agent) -> None:
    for changes in (
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expires_at": "tomorrow"},
        {"expires_at": "2099-01-01T00:00:00"},
        {"max_uses": 0},
        {"max_uses": -1},
        {"max_uses": 1.5},
        {"access": "cidr"},
        {"access": "everybody"},
        {"networks": ["10.0.0.0/33"]},
        {"max_connections": 0},
        {"protocol": "carrier pigeon"},
    ):
        assert (await refused(ana, one, **changes))[0] == 400, changes


async def test_share_of_a_worker_that_is_not_there_is_404(ana: Caller, one: Agent) -> None:
    assert (await refused(ana, one, worker_id="worker_nobody"))[0] == 404


async def test_plan_limits_shares_and_names_limit_and_plan(appliance: RunningAppliance) -> None:
    owner = await person(appliance, "free")
    mine = await agent(owner)
    first = await owner.share(mine.default)
    await owner.share(mine.default)
    reply = await owner.send("POST", "/api/v1/shares", {"worker_id": mine.default})
    assert reply.status == 403
    assert "'free'" in reply.json["error"]
    assert "(shares)" in reply.json["error"]
    assert (await owner.send("DELETE", f"/api/v1/shares/{first['share_id']}")).status == 200
    await owner.share(mine.default)


# ---------------------------------------------------------------- following


async def test_link_leads_to_worker_vendor_address_and_architecture_and_counts(
    ana: Caller, one: Agent, appliance: RunningAppliance
) -> None:
    share = await ana.share(one.default)
    reply = await follow(appliance, share["short_code"])
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("application/json")
    assert reply.headers["cache-control"] == "no-store"
    assert reply.json == {
        "worker_id": one.default,
        "hardware_vendor": "nvidia",
        "connection_url": "tcp://10.0.0.4:9001",
        "agent_arch": "amd64",
    }
    assert await used(ana, share) == 1


async def test_code_is_read_as_people_type_it(ana: Caller, one: Agent, appliance: RunningAppliance) -> None:
    code = (await ana.share(one.default))["short_code"]
    for typed in (code.lower(), f"{code[:4]}-{code[4:8]}-{code[8:]}", code.replace("1", "l").replace("0", "O")):
        assert (await follow(appliance, typed)).status == 200, typed
    assert (await follow(appliance, f"{code}/")).status == 200
    assert (await appliance.get(f"//s/{code}")).status == 200


async def test_head_never_counts(ana: Caller, one: Agent, appliance: RunningAppliance) -> None:
    share = await ana.share(one.default, max_uses=1)
    for headers in (JSON, BROWSER, {}):
        reply = await appliance.request("HEAD", f"/s/{share['short_code']}", headers=headers)
        assert (reply.status, reply.body) == (200, b"")
    assert await used(ana, share) == 0
    assert (await follow(appliance, share["short_code"])).status == 200
    for _ in range(2):
        assert (await appliance.request("HEAD", f"/s/{share['short_code']}")).status == 410
    assert await used(ana, share) == 1


async def test_browser_gets_a_page_that_does_not_count(ana: Caller, one: Agent, appliance: RunningAppliance) -> None:
    share = await ana.share(one.default, max_uses=1)
    for _ in range(3):
        page = await follow(appliance, share["short_code"], **BROWSER)
        assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert share["connection_url"] not in page.text, "previews learn nothing"
    assert await used(ana, share) == 0
    assert (await follow(appliance, share["short_code"], **JSON)).status == 200
    assert await used(ana, share) == 1


async def test_used_up_link_is_410_and_an_unknown_one_404(ana: Caller, one: Agent, appliance: RunningAppliance) -> None:
    share = await ana.share(one.default, max_uses=2)
    assert [(await follow(appliance, share["short_code"])).status for _ in range(4)] == [200, 200, 410, 410]
    gone = await follow(appliance, share["short_code"])
    assert set(gone.json) == {"error", "hint"}
    assert await used(ana, share) == 2
    for code in ("0" * 16, "short", "Z" * 64, "%2e%2e%2f", "U" * 16, "0" * 1000):
        reply = await follow(appliance, code)
        assert (reply.status, set(reply.json)) == (404, {"error", "hint"}), code


async def test_expired_link_is_410_to_everybody_and_leaves_its_agents_code_list(
    ana: Caller, one: Agent, appliance: RunningAppliance, now: SteppingClock
) -> None:
    ends = "2026-11-18T11:16:40.5+00:00"
    share = await ana.share(one.default, expires_at=ends)
    assert share["expires_at"] == "2026-11-18T11:16:40.500000Z"
    now.advance(600.4)
    assert (await follow(appliance, share["short_code"])).status == 200
    now.advance(0.2)
    assert (await follow(appliance, share["short_code"])).status == 410
    assert (await appliance.request("HEAD", f"/s/{share['short_code']}")).status == 410
    assert share["short_code"] not in (await one.report())["worker_share_codes"][one.default]
    assert await used(ana, share) == 1


async def test_last_use_of_a_link_is_given_to_exactly_one(ana: Caller, one: Agent, appliance: RunningAppliance) -> None:
    share = await ana.share(one.default, max_uses=3)
    statuses: list[int] = []

    async def ask() -> None:
        statuses.append((await follow(appliance, share["short_code"])).status)

    async with trio.open_nursery() as nursery:
        for _ in range(16):
            nursery.start_soon(ask)
    assert sorted(statuses) == [200] * 3 + [410] * 13
    assert await used(ana, share) == 3


async def test_misses_are_limited_by_address_and_hits_are_not(
    ana: Caller, one: Agent, appliance: RunningAppliance, now: SteppingClock
) -> None:
    share = await ana.share(one.default)
    statuses = [(await follow(appliance, f"{number:016d}")).status for number in range(32)]
    assert statuses == [404] * 30 + [429] * 2
    limited = await follow(appliance, "0" * 16)
    assert int(limited.headers["retry-after"]) >= 1
    assert (await follow(appliance, share["short_code"])).status == 200
    now.advance(60)
    assert (await follow(appliance, "0" * 16)).status == 404


async def test_link_needs_no_credential_and_a_wrong_one_does_no_harm(
    ana: Caller, one: Agent, appliance: RunningAppliance
) -> None:
    share = await ana.share(one.default)
    for headers in ({}, {"Authorization": "Bearer nonsense"}, dict(one.headers), dict(ana.headers)):
        assert (await follow(appliance, share["short_code"], **headers)).status == 200, headers


# ---------------------------------------------------------------- ending


async def test_deleted_share_opens_nothing(ana: Caller, one: Agent, appliance: RunningAppliance) -> None:
    share, kept = await ana.share(one.default), await ana.share(one.default)
    gone = await ana.send("DELETE", f"/api/v1/shares/{share['share_id']}")
    assert (gone.status, gone.json) == (200, {"success": True})
    assert (await follow(appliance, share["short_code"])).status == 404
    assert (await one.config())["workers"][0]["share_codes"] == [kept["short_code"]]
    assert (await ana.send("DELETE", f"/api/v1/shares/{share['share_id']}")).status == 404


async def test_nobody_sees_ends_or_makes_shares_of_anothers_worker(
    ana: Caller, one: Agent, appliance: RunningAppliance
) -> None:
    share = await ana.share(one.default)
    for name, role in (("bob", Role.USER), ("root", Role.ADMIN)):
        other = await person(appliance, name, role)
        assert (await other.read("/api/v1/shares")) == {"shares": []}
        gone = await other.send("DELETE", f"/api/v1/shares/{share['share_id']}")
        assert (gone.status, set(gone.json)) == (404, {"error", "hint"})
        made = await other.send("POST", "/api/v1/shares", {"worker_id": one.default})
        assert made.status == 404
    assert (await ana.read("/api/v1/shares"))["shares"] == [share]


async def test_viewer_may_list_shares_only(appliance: RunningAppliance) -> None:
    eve = await person(appliance, "eve", Role.VIEWER)
    assert (await eve.read("/api/v1/shares")) == {"shares": []}
    assert (await eve.send("POST", "/api/v1/shares", {"worker_id": "w"})).status == 403
    assert (await eve.send("DELETE", "/api/v1/shares/s")).status == 403


async def test_vendor_of_a_share_is_that_of_the_worker_s_gpus(ana: Caller) -> None:
    mixed = await agent(ana, gpus=[gpu(), gpu(1, vendor="AMD")])
    amd = await ana.worker(mixed.agent_id, gpu_ids=["GPU-1"])
    assert (await ana.share(amd["worker_id"]))["hardware_vendor"] == "amd"
