"""The key set for everybody, the list of keys for people, rotation for admins."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.credentials.kinds import Kind, Role
from appliance.licenses import token
from appliance.licenses.jwks import read_key_set
from appliance.testing import RunningAppliance, SteppingClock, running, until

KEY_SET, KEYS, ROTATE = "/.well-known/jwks.json", "/api/appliance/licenses/keys", "/api/appliance/licenses/rotate"
STRANGER = {"X-Forwarded-For": "192.0.2.1"}  # nobody of this host: trust stands in for nothing


@pytest.fixture
def clock() -> SteppingClock:
    return SteppingClock()


@pytest.fixture
async def appliance(tmp_path: Path, clock: SteppingClock) -> AsyncIterator[RunningAppliance]:
    """An appliance that has its first keys."""
    async with running(tmp_path, now=clock) as made:
        await until(lambda: made.state.licenses.active_kid)
        yield made


async def issue(appliance: RunningAppliance) -> tuple[str, str]:
    one = await appliance.state.licenses.issue(agent_id="a", plan="pro", max_gpus=1, max_workers=1)
    return one.plain, one.encrypted


async def test_the_key_set_is_for_everybody_and_verifies_what_was_issued(
    appliance: RunningAppliance, clock: SteppingClock
) -> None:
    plain, encrypted = await issue(appliance)
    answer = await appliance.get(KEY_SET, headers=STRANGER)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/jwk-set+json"
    assert answer.headers["cache-control"] == "public, max-age=300"
    found = token.verify(plain, encrypted, read_key_set(answer.body), now_unix_ms=clock() // 1000)
    assert found.claims.agent_id == "a"
    assert "d" not in json.loads(answer.body)["keys"][0]


async def test_the_key_set_is_sent_again_only_when_it_has_changed(appliance: RunningAppliance) -> None:
    first = await appliance.get(KEY_SET)
    for known in (first.headers["etag"], f"W/{first.headers['etag']}", f'"x", {first.headers["etag"]}', "*"):
        again = await appliance.get(KEY_SET, headers={"If-None-Match": known})
        assert (again.status, again.body) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    await appliance.control("POST", ROTATE, {"emergency": True})
    changed = await appliance.get(KEY_SET, headers={"If-None-Match": first.headers["etag"]})
    assert changed.status == 200
    assert changed.headers["etag"] != first.headers["etag"]


async def test_a_viewer_lists_the_keys_and_a_stranger_does_not(appliance: RunningAppliance) -> None:
    assert (await appliance.get(KEYS, headers=STRANGER)).status == 401
    listed = (await appliance.get(KEYS, headers=await appliance.bearer("vic", Role.VIEWER))).json
    assert [item["state"] for item in listed["items"]] == ["next", "active"]
    assert listed["next"] is None
    coming, active = listed["items"]
    assert active["kid"] == appliance.state.licenses.active_kid
    assert coming["takes_over_unix_s"] == active["activated_unix_s"] + 30 * 86_400
    assert active["takes_over_unix_s"] is None


async def test_only_an_admin_without_scopes_rotates(appliance: RunningAppliance) -> None:
    before = appliance.state.licenses.key_set
    for role in (Role.VIEWER, Role.USER, Role.OPERATOR):
        headers = await appliance.bearer(role.name.lower(), role)
        assert (await appliance.post(ROTATE, {"emergency": True}, headers=headers)).status == 403
    assert (await appliance.post(ROTATE, {"emergency": True}, headers=STRANGER)).status == 401
    assert (await appliance.post(ROTATE, {"emergency": True})).status == 401  # trust is nobody's admin
    ana = await appliance.bearer("ana")
    scoped = await appliance.state.credentials.create(
        Kind.PAT, subject=appliance.state.people.named("ana").person_id, scopes=frozenset({"core"})
    )
    headers = {"Authorization": f"Bearer {scoped.secret}"}
    assert (await appliance.post(ROTATE, {"emergency": True}, headers=headers)).status == 403
    assert (await appliance.post(ROTATE, {"emergency": "yes"}, headers=ana)).status == 400
    assert (await appliance.post(ROTATE, {"emergncy": True}, headers=ana)).status == 400
    assert appliance.state.licenses.key_set == before
    assert (await appliance.post(ROTATE, {"emergency": True}, headers=ana)).status == 200
    assert appliance.state.licenses.key_set != before


async def test_rotating_says_when_the_next_key_takes_over_and_is_written_down(
    appliance: RunningAppliance, clock: SteppingClock
) -> None:
    first = (await appliance.control("GET", KEYS)).json["items"]
    asked = (await appliance.control("POST", ROTATE, {})).json
    assert asked == {
        "rotated": False,
        "active_kid": first[1]["kid"],
        "next_kid": first[0]["kid"],
        "takes_over_unix_s": first[0]["published_unix_s"] + 86_400,
        "revoked_kids": [],
    }
    clock.advance(86_400)
    assert (await appliance.control("GET", KEYS)).json["items"][-1]["state"] == "retiring"
    assert appliance.state.licenses.active_kid == first[0]["kid"]
    dropped = (await appliance.control("POST", ROTATE, {"emergency": True})).json
    assert set(dropped["revoked_kids"]) >= {first[0]["kid"], first[1]["kid"]}
    entries = {entry.action: entry for entry in await appliance.state.audit.newest(100)}
    assert entries["license.rotate"].object == first[1]["kid"]
    assert first[0]["kid"] in entries["license.revoke_keys"].detail
