"""Install tokens and the one personal access token over whole requests."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.credentials.kinds import Kind, Role
from appliance.testing import RunningAppliance, SteppingClock, running
from tests.plugins.gpu_sharing.kit import Agent, Caller, agent, person, register

PAT = "/api/v1/tokens/pat"


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


async def generated(ana: Caller) -> Any:
    return await ana.made("/api/v1/tokens/generate", {"type": "agent_install"})


def holder(ana: Caller, token: str) -> Caller:
    return Caller(appliance=ana.appliance, headers={"Authorization": f"Bearer {token}"})


# ---------------------------------------------------------------- install tokens


async def test_install_token_lasts_thirty_minutes_and_comes_with_its_command(ana: Caller) -> None:
    made = await generated(ana)
    assert set(made) == {"token_id", "token", "expires_at", "install_command"}
    assert made["expires_at"] == "2026-11-18T11:36:40Z"
    assert f"GPU_GO_TOKEN={made['token']} " in made["install_command"]
    assert "GPU_GO_ENDPOINT=http" in made["install_command"]
    assert "\n" not in made["install_command"]


async def test_status_of_a_token_is_active_then_used_and_names_its_agent(ana: Caller, now: SteppingClock) -> None:
    made = await generated(ana)
    path = f"/api/v1/tokens/{made['token_id']}/status"
    expected = {
        "token_id": made["token_id"],
        "status": "active",
        "expires_at": made["expires_at"],
        "used_at": None,
        "is_expired": False,
    }
    assert await ana.read(path) == expected
    reply = await register(ana.appliance, made["token"])
    now.advance(3600)
    shown = {"agent_id": reply.json["agent_id"], "hostname": "gpu-box", "status": "pending"}
    used = expected | {"status": "used", "used_at": "2026-11-18T11:06:40Z", "agent": shown}
    assert await ana.read(path) == used, "one that was used does not expire"
    assert (await ana.send("DELETE", f"/api/v1/agents/{reply.json['agent_id']}")).status == 200
    assert "agent" not in await ana.read(path)


async def test_status_of_a_token_that_was_not_used_in_time_is_expired(ana: Caller, now: SteppingClock) -> None:
    made = await generated(ana)
    now.advance(1800)
    found = await ana.read(f"/api/v1/tokens/{made['token_id']}/status")
    assert (found["status"], found["is_expired"], found["used_at"]) == ("expired", True, None)


async def test_status_of_anothers_token_is_404(ana: Caller) -> None:
    made = await generated(ana)
    for caller in (await person(ana.appliance, "bob"), await person(ana.appliance, "root", Role.ADMIN)):
        reply = await caller.get(f"/api/v1/tokens/{made['token_id']}/status")
        assert (reply.status, set(reply.json)) == (404, {"error", "hint"})
    for token_id in ("nobody", "x" * 300, "' OR 1=1 --".replace(" ", "%20")):
        assert (await ana.get(f"/api/v1/tokens/{token_id}/status")).status == 404, token_id


async def test_other_types_of_token_are_refused(ana: Caller) -> None:
    for body in ({}, {"type": "pat"}, {"type": None}, {"type": ["agent_install"]}, {"type": "AGENT_INSTALL"}):
        reply = await ana.send("POST", "/api/v1/tokens/generate", body)
        assert (reply.status, set(reply.json)) == (400, {"error", "hint"}), body


async def test_install_token_opens_nothing_but_the_registration(ana: Caller) -> None:
    install = holder(ana, (await generated(ana))["token"])
    for path in ("/api/v1/agents", "/api/v1/workers", "/api/v1/shares", PAT, "/api/v1/tokens/x/status"):
        assert (await install.get(path)).status in (401, 403), path


async def test_agents_secret_makes_no_tokens_at_all(ana: Caller) -> None:
    one: Agent = await agent(ana)
    assert (await one.send("POST", "/api/v1/tokens/generate", {"type": "agent_install"})).status in (401, 403)
    for method in ("GET", "POST", "DELETE"):
        body = {"expires_in_days": None} if method == "POST" else None
        assert (await one.send(method, PAT, body)).status in (401, 403)


# ---------------------------------------------------------------- the personal access token


async def test_there_is_no_pat_until_it_is_made_and_it_is_shown_once(ana: Caller) -> None:
    nothing = {"exists": False, "expires_at": None, "last_used_at": None, "created_at": None, "token": None}
    assert await ana.read(PAT) == nothing
    made = await ana.made(PAT, {"expires_in_days": 30})
    assert set(made) == {"token", "expires_at", "created_at"}
    assert (made["expires_at"], made["created_at"]) == ("2026-12-18T11:06:40Z", "2026-11-18T11:06:40Z")
    assert len(made["token"]) >= 20, "the editor extension takes no shorter one"
    shown = await ana.read(PAT)
    assert shown == nothing | {"exists": True, "expires_at": made["expires_at"], "created_at": made["created_at"]}


async def test_pat_acts_as_its_person_and_its_use_is_seen(ana: Caller, now: SteppingClock) -> None:
    one = await agent(ana)
    made = await ana.made(PAT, {"expires_in_days": None})
    assert made["expires_at"] is None
    now.advance(60)
    assert [each["agent_id"] for each in (await holder(ana, made["token"]).read("/api/v1/agents"))["agents"]] == [
        one.agent_id
    ]
    assert (await ana.read(PAT))["last_used_at"] == "2026-11-18T11:07:40Z"


async def test_pat_is_one_slot_and_other_tokens_stay(ana: Caller) -> None:
    people, credentials = ana.appliance.state.people, ana.appliance.state.credentials
    other = await credentials.create(Kind.PAT, subject=people.find("ana").person_id, label="made by command")
    first = (await ana.made(PAT, {"expires_in_days": 1}))["token"]
    second = (await ana.made(PAT, {"expires_in_days": 1}))["token"]
    assert (await holder(ana, first).get("/api/v1/agents")).status == 401
    assert (await holder(ana, second).get("/api/v1/agents")).status == 200
    gone = await ana.send("DELETE", PAT)
    assert (gone.status, gone.json) == (200, {"success": True})
    assert (await holder(ana, second).get("/api/v1/agents")).status == 401
    assert (await ana.read(PAT))["exists"] is False
    for secret in (other.secret, ana.headers["Authorization"].removeprefix("Bearer ")):
        assert (await holder(ana, secret).get("/api/v1/agents")).status == 200
    assert (await ana.send("DELETE", PAT)).json == {"success": True}, "what is not there has ended"


async def test_pat_that_has_expired_does_not_exist(ana: Caller, now: SteppingClock) -> None:
    made = await ana.made(PAT, {"expires_in_days": 1})
    now.advance(86_400)
    assert (await holder(ana, made["token"]).get("/api/v1/agents")).status == 401
    assert (await ana.read(PAT))["exists"] is False


async def test_people_have_a_slot_each(ana: Caller) -> None:
    bob = await person(ana.appliance, "bob")
    mine, theirs = (await ana.made(PAT, {"expires_in_days": 1})), (await bob.made(PAT, {"expires_in_days": 1}))
    assert (await bob.send("DELETE", PAT)).status == 200
    assert (await holder(ana, mine["token"]).get("/api/v1/agents")).status == 200
    assert (await holder(ana, theirs["token"]).get("/api/v1/agents")).status == 401


async def test_one_slot_is_left_whoever_fills_it_at_once(ana: Caller) -> None:
    tokens: list[str] = []

    async def fill() -> None:
        tokens.append((await ana.made(PAT, {"expires_in_days": 1}))["token"])

    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(fill)
    alive = [(await holder(ana, token).get("/api/v1/agents")).status for token in tokens]
    assert sorted(alive) == [200] + [401] * 5


@pytest.mark.parametrize("days", [0, -1, 1.5, 36_501, "30", True, [], 2**63])
async def test_days_that_are_no_positive_number_are_refused_and_the_slot_is_as_it_was(ana: Caller, days: Any) -> None:
    before = await ana.made(PAT, {"expires_in_days": 5})
    reply = await ana.send("POST", PAT, {"expires_in_days": days})
    assert (reply.status, set(reply.json)) == (400, {"error", "hint"})
    assert (await holder(ana, before["token"]).get("/api/v1/agents")).status == 200


async def test_pat_makes_none_that_outlives_it(ana: Caller) -> None:
    mine = holder(ana, (await ana.made(PAT, {"expires_in_days": 2}))["token"])
    for days in (None, 3):
        assert (await mine.send("POST", PAT, {"expires_in_days": days})).status == 403
    assert (await mine.send("POST", PAT, {"expires_in_days": 2})).status == 201
    assert (await mine.get("/api/v1/agents")).status == 401, "it has replaced itself"


async def test_token_with_scopes_makes_no_pat(ana: Caller) -> None:
    people, credentials = ana.appliance.state.people, ana.appliance.state.credentials
    scoped = await credentials.create(Kind.PAT, subject=people.find("ana").person_id, scopes=frozenset({"gpu_sharing"}))
    assert (await holder(ana, scoped.secret).send("POST", PAT, {"expires_in_days": 1})).status == 403


async def test_whoever_is_no_person_has_no_pat(appliance: RunningAppliance) -> None:
    for method in ("GET", "DELETE"):
        assert (await appliance.control(method, PAT)).status == 403
    assert (await appliance.control("POST", PAT, {"expires_in_days": 1})).status == 403
