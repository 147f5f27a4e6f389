"""Our own endpoints: what pages and commands read, who may change what, usage, QR codes."""

import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.credentials.kinds import Role
from appliance.testing import RunningAppliance, SteppingClock, running
from plugins.gpu_sharing import usage_store
from plugins.gpu_sharing.usage import HOUR_US, Account, Usage, hour_of
from tests.plugins.gpu_sharing.kit import AT, SHARING, Agent, Caller, agent, gpu, person, register


@pytest.fixture
def now() -> SteppingClock:
    return SteppingClock()


@pytest.fixture
async def appliance(tmp_path: Path, now: SteppingClock) -> AsyncIterator[RunningAppliance]:
    async with running(tmp_path, now=now) as one:
        yield one


@pytest.fixture
async def ana(appliance: RunningAppliance) -> Caller:
    return await person(appliance)


@pytest.fixture
async def one(ana: Caller) -> Agent:
    return await agent(ana, gpus=[gpu(), gpu(1)])


async def items(caller: Caller, what: str) -> list[Any]:
    found = await caller.read(f"{SHARING}/{what}")
    assert found["next"] is None
    return [each for each in found["items"] if not each.get("is_local")]


# ---------------------------------------------------------------- lists


async def test_agents_are_listed_with_who_uses_their_gpus(ana: Caller, one: Agent) -> None:
    await ana.worker(one.agent_id)
    await ana.share(one.default)
    await one.report()
    (found,) = await items(ana, "agents")
    expected = {
        "agent_id": one.agent_id,
        "hostname": "gpu-box",
        "owner": "ana",
        "status": "online",
        "is_local": False,
        "network_ips": ["192.0.2.7"],
        "last_seen_unix_s": 1_795_000_000.0,
        "created_unix_s": 1_795_000_000.0,
        "worker_count": 2,
        "share_count": 1,
    }
    assert {name: found[name] for name in expected} == expected
    assert [(each["gpu_id"], each["used_by"]) for each in found["gpus"]] == [
        ("GPU-0", ["default", "part"]),
        ("GPU-1", ["default"]),
    ]


async def test_workers_are_listed_with_connections_and_whether_their_limits_hold(ana: Caller, one: Agent) -> None:
    made = await ana.worker(one.agent_id, gpu_ids=["GPU-1"], compute_percent=50)
    await one.report([one.says(connections=[{"client_ip": "10.0.0.9", "connected_at": AT}])])
    found = {each["worker_id"]: each for each in await items(ana, f"workers?agent_id={one.agent_id}")}
    assert set(found) == {one.default, made["worker_id"]}
    assert (found[one.default]["status"], found[one.default]["limits"]) == ("running", "none")
    assert found[one.default]["connections"] == [{"client_ip": "10.0.0.9", "connected_unix_s": 1_795_000_000.0}]
    part = found[made["worker_id"]]
    assert (part["limits"], part["compute_percent"], part["vram_mb"]) == ("advisory", 50, None)
    assert part["limits_reason"]
    assert await items(ana, "workers?agent_id=nobody") == []


async def test_shares_are_listed_with_their_state(ana: Caller, one: Agent, now: SteppingClock) -> None:
    body = {"worker_id": one.default, "expires_in_seconds": 60, "max_uses": 1}
    made = await ana.made(f"{SHARING}/shares", body)
    assert (made["state"], made["expires_unix_s"], made["is_relayed"]) == ("live", 1_795_000_060.0, False)
    assert (made["access"], made["relay_port"], made["connection_url"]) == (None, None, "tcp://192.0.2.7:9001")
    assert await items(ana, "shares") == [made]
    assert (await ana.get(f"/s/{made['short_code']}")).status == 200
    (used,) = await items(ana, "shares")
    assert (used["state"], used["used_count"]) == ("used_up", 1)
    now.advance(60)
    assert (await items(ana, "shares"))[0]["state"] == "expired"
    gone = await ana.send("DELETE", f"{SHARING}/shares/{made['share_id']}")
    assert (gone.status, gone.json) == (200, {"deleted": made["share_id"]})
    assert await items(ana, "shares") == []


# ---------------------------------------------------------------- who


async def test_everybodys_things_are_operators_to_see_and_to_change(
    appliance: RunningAppliance, ana: Caller, one: Agent
) -> None:
    share = await ana.share(one.default)
    bob, root = await person(appliance, "bob"), await person(appliance, "root", Role.OPERATOR)
    for what in ("agents", "workers", "shares", "usage"):
        assert (await bob.get(f"{SHARING}/{what}?all=true")).status == 403
        assert await items(bob, what) == []
        assert await items(root, what) == []
    for what in ("agents", "workers", "shares"):
        assert len(await items(root, f"{what}?all=true")) == 1
    changes: tuple[tuple[str, str, Any], ...] = (
        ("PATCH", f"workers/{one.default}", {"name": "x"}),
        ("POST", "workers", {"agent_id": one.agent_id, "name": "w", "listen_port": 9100}),
        ("POST", "shares", {"worker_id": one.default}),
        ("GET", f"shares/{share['share_id']}/qr", None),
        ("DELETE", f"shares/{share['share_id']}", None),
        ("DELETE", f"workers/{one.default}", None),
        ("DELETE", f"agents/{one.agent_id}", None),
    )
    for method, path, body in changes:
        assert (await bob.send(method, f"{SHARING}/{path}", body)).status == 404, path
    for method, path, body in changes:
        assert (await root.send(method, f"{SHARING}/{path}", body)).status in (200, 201), path
    assert await items(ana, "agents") == []


async def test_viewers_look_and_nobody_else_gets_in(appliance: RunningAppliance, one: Agent) -> None:
    eve = await person(appliance, "eve", Role.VIEWER)
    for method, path in (
        ("POST", "agents/install"),
        ("POST", "workers"),
        ("POST", "shares"),
        ("PATCH", "workers/w"),
        ("DELETE", "shares/s"),
        ("DELETE", "agents/a"),
    ):
        bodies = {
            "workers": {"agent_id": "a", "name": "w", "listen_port": 9100},
            "shares": {"worker_id": "w"},
        }
        body = bodies.get(path, {}) if method != "DELETE" else None
        assert (await eve.send(method, f"{SHARING}/{path}", body)).status == 403, path
    for what in ("agents", "workers", "shares", "usage", "releases"):
        assert await items(eve, what) == []
        assert (await one.get(f"{SHARING}/{what}")).status in (401, 403), "an agent's secret is for the documented API"


async def test_install_token_of_a_page_installs_an_agent(ana: Caller) -> None:
    made = await ana.made(f"{SHARING}/agents/install")
    assert made["expires_unix_s"] == 1_795_001_800.0
    assert made["token"] in made["install_command"]
    assert (await register(ana.appliance, made["token"])).status == 201
    assert (await items(ana, "agents"))[0]["owner"] == "ana"


async def test_unknown_and_impossible_fields_are_refused(ana: Caller, one: Agent) -> None:
    for changes in (
        {"max_use": 1},
        {"expires_in_seconds": 0},
        {"expires_in_seconds": 1e300},
        {"max_uses": 0},
        {"networks": ["10.0.0.1/8"]},
        {"access": "cidr"},
        {"connection_ip": "$(id)"},
        {"max_connections": 65_536},
    ):
        reply = await ana.send("POST", f"{SHARING}/shares", {"worker_id": one.default} | changes)
        assert reply.status == 400, changes
    assert await items(ana, "shares") == []
    for query in ("by=everything", "from_unix_s=nan", "to_unix_s=inf", "from_unix_s=-1", "to_unix_s=1e400", "x=1"):
        assert (await ana.get(f"{SHARING}/usage?{query}")).status == 400, query


async def test_qr_code_is_a_picture_of_the_link(ana: Caller, one: Agent) -> None:
    share = await ana.share(one.default)
    reply = await ana.get(f"{SHARING}/shares/{share['share_id']}/qr")
    assert (reply.status, reply.headers["content-type"]) == (200, "image/svg+xml")
    assert reply.body.startswith(b"<svg")
    other = await ana.share(one.default)
    assert (await ana.get(f"{SHARING}/shares/{other['share_id']}/qr")).body != reply.body
    assert (await ana.get(f"{SHARING}/shares/nobody/qr")).status == 404


# ---------------------------------------------------------------- usage


async def counted(appliance: RunningAppliance, now: SteppingClock, **owners: int) -> None:
    """Count GPU time, in seconds, for people by name."""
    people = appliance.state.people
    hour = hour_of(now())
    sums = {
        Account(hour_unix_us=hour, owner=people.find(name).person_id, worker_id=f"w-{name}", share_id="s"): Usage(
            gpu_ms=1000 * seconds,
            vram_mib_ms=1024 * 1000 * seconds,
            energy_mj=500,
            bytes_from_guests=3,
            bytes_to_guests=4,
        )
        for name, seconds in owners.items()
    }
    await appliance.state.database.write(lambda connection: usage_store.add(connection, sums))


async def test_usage_is_summed_by_person_worker_and_share(
    appliance: RunningAppliance, ana: Caller, now: SteppingClock
) -> None:
    root = await person(appliance, "root", Role.OPERATOR)
    await person(appliance, "bob")
    for _ in range(2):
        await counted(appliance, now, ana=10, bob=20)
    mine = {"gpu_seconds": 20.0, "vram_gib_seconds": 20.0, "energy_joules": 1.0, "bytes": 14}
    assert await items(ana, "usage") == [{"name": "s", **mine}]
    assert await items(ana, "usage?by=person") == [{"name": "ana", **mine}]
    assert [each["name"] for each in await items(root, "usage?all=true&by=person")] == ["bob", "ana"]
    assert [each["name"] for each in await items(root, "usage?all=true&by=worker")] == ["w-bob", "w-ana"]
    (both,) = await items(root, "usage?all=true&by=share")
    assert (both["gpu_seconds"], both["bytes"]) == (60.0, 28)
    start = hour_of(now()) / 1e6
    assert await items(ana, f"usage?from_unix_s={start}&to_unix_s={start + 1}")
    assert await items(ana, f"usage?from_unix_s={start + HOUR_US / 1e6}") == []
    assert await items(ana, f"usage?to_unix_s={start}") == []


async def test_usage_as_csv_names_people_and_shows_ones_own(
    appliance: RunningAppliance, ana: Caller, now: SteppingClock
) -> None:
    root = await person(appliance, "root", Role.OPERATOR)
    await person(appliance, "bob")
    await counted(appliance, now, ana=10, bob=20)
    reply = await ana.get(f"{SHARING}/usage.csv")
    assert reply.headers["content-type"] == "text/csv; charset=utf-8"
    assert reply.headers["content-disposition"] == 'attachment; filename="usage.csv"'
    rows = list(csv.DictReader(io.StringIO(reply.text, newline="")))
    assert [(row["user"], row["worker_id"], row["gpu_seconds"]) for row in rows] == [("ana", "w-ana", "10.000")]
    assert rows[0]["hour"] == "2026-11-18T11:00:00Z"
    every = await root.get(f"{SHARING}/usage.csv?all=true")
    assert sorted(row["user"] for row in csv.DictReader(io.StringIO(every.text, newline=""))) == ["ana", "bob"]
    assert (await ana.get(f"{SHARING}/usage.csv?all=true")).status == 403
