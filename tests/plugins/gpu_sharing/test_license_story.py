"""Licences as agents get them: judged by others' software and by the command, renewed, and ended in an emergency."""

import json
import os
import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest
import trio
from attrs import evolve
from jwt.api_jws import PyJWS

from appliance.clock import unix_now_us
from appliance.licenses import LicenseRefused
from appliance.licenses.claims import read_plain
from appliance.licenses.jwks import encode
from appliance.testing import RunningAppliance, SteppingClock, running, scripted_gpus
from tests import forked
from tests.plugins.gpu_sharing import kit
from tests.plugins.gpu_sharing.kit import Agent, Caller
from tests.product.served import ROOT

CONFIG = """
[plugins.gpu_sharing.people]
bob = "free"
[plugins.gpu_sharing.plans.free]
gpus_per_agent = 2
workers = 3
"""
LIFETIME_SECONDS = 7200
RENEWAL_SECONDS = 600
DAY_SECONDS = 86_400.0

Licence = dict[str, str]


@pytest.fixture
def now() -> SteppingClock:
    """A clock that stands at this moment, since commands go by the real one."""
    return SteppingClock(unix_now_us())


@pytest.fixture
async def appliance(tmp_path: Path, now: SteppingClock) -> AsyncIterator[RunningAppliance]:
    async with running(tmp_path, config=CONFIG, now=now, backends=[scripted_gpus(1)]) as made:
        yield made


async def registered(owner: Caller) -> tuple[Agent, Licence]:
    """Register an agent; return it with the licence of that answer."""
    reply = await kit.register(owner.appliance, await kit.install_token(owner))
    assert reply.status == 201, reply.text
    secret, agent_id = reply.json["agent_secret"], reply.json["agent_id"]
    headers = {"Authorization": f"Bearer {secret}"}
    one = Agent(appliance=owner.appliance, headers=headers, agent_id=agent_id, secret=secret, default="", owner=owner)
    return one, reply.json["license"]


def put_together(license_: Licence) -> str:
    return license_["encrypted"].replace("..", f".{encode(license_['plain'].encode())}.")


async def published(appliance: RunningAppliance) -> jwt.PyJWKSet:
    answer = await appliance.get("/.well-known/jwks.json")
    assert answer.status == 200
    return jwt.PyJWKSet.from_dict(answer.json)


def holds(license_: Licence, keys: jwt.PyJWKSet) -> bool:
    """Let a JOSE library judge a licence by a key set."""
    whole = put_together(license_)
    try:
        key = keys[jwt.get_unverified_header(whole)["kid"]]
        said: bytes = PyJWS().decode(whole, key, algorithms=["EdDSA"])
    except (KeyError, jwt.PyJWTError):
        return False
    return said.decode() == license_["plain"]


async def command(appliance: RunningAppliance, *words: str, stdin: str = "") -> "subprocess.CompletedProcess[bytes]":
    """Run ``appliance`` beside the one that runs."""
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOME": str(appliance.data_dir.parent),
        "APPLIANCE_DATA_DIR": str(appliance.data_dir),
    }
    run = partial(forked.run, list(words), cwd=Path.cwd(), env=variables, stdin=stdin.encode())
    return await trio.to_thread.run_sync(run)


async def verdict(appliance: RunningAppliance, license_: Licence, agent_id: str) -> Any:
    """Let the command judge a licence as that of an agent."""
    words = ("license", "verify", "-", "--json", "--agent", agent_id)
    done = await command(appliance, *words, stdin=json.dumps({"license": license_}))
    said = json.loads(done.stdout)
    assert (done.returncode == 0) is said["ok"], done.stderr
    return said


async def test_licences_of_register_config_and_status_hold_for_their_agent_and_name_its_plan(
    appliance: RunningAppliance, now: SteppingClock
) -> None:
    ana, bob = await kit.person(appliance), await kit.person(appliance, "bob")
    for owner, plan, limits in ((ana, "team", None), (bob, "free", (2, 3))):
        one, first = await registered(owner)
        now.advance(1)
        second = (await one.config())["license"]
        assert (await one.report()).get("license") is None, "what it has lasts for long enough"
        now.advance(LIFETIME_SECONDS - RENEWAL_SECONDS)
        version = (await one.config())["config_version"]
        now.advance(LIFETIME_SECONDS - RENEWAL_SECONDS)
        answer = await one.report()
        third = answer["license"]
        assert answer["config_version"] > version, "only so its workers get the new one"
        keys = await published(appliance)
        for license_ in (first, second, third):
            assert holds(license_, keys)
            claims = read_plain(license_["plain"])
            assert (claims.agent_id, claims.plan) == (one.agent_id, plan)
            assert claims.expires_unix_ms - claims.issued_unix_ms == LIFETIME_SECONDS * 1000
            if limits is not None:
                assert (claims.max_gpus, claims.max_workers) == limits
        assert len({first["plain"], second["plain"], third["plain"]}) == 3
        assert read_plain(third["plain"]).issued_unix_ms == now() // 1000


async def test_licence_of_one_agent_is_refused_as_anothers(appliance: RunningAppliance) -> None:
    ana = await kit.person(appliance)
    (one, of_one), (other, of_other) = await registered(ana), await registered(ana)
    assert (await verdict(appliance, of_one, one.agent_id))["agent_id"] == one.agent_id
    said = await verdict(appliance, of_one, other.agent_id)
    assert (said["ok"], said["reason"]) == (False, "agent")
    # Nor does the signature of one fit the text of the other.
    mixed = {"plain": of_other["plain"], "encrypted": of_one["encrypted"]}
    assert (await verdict(appliance, mixed, other.agent_id))["reason"] == "signature"
    assert not holds(mixed, await published(appliance))


async def test_licence_with_any_character_changed_is_refused_by_us_and_by_a_jose_library(
    appliance: RunningAppliance,
) -> None:
    _, license_ = await registered(await kit.person(appliance))
    keys, licenses = await published(appliance), appliance.state.licenses
    assert holds(license_, keys)
    for name, text in license_.items():
        for place, character in enumerate(text):
            changed = "A" if character != "A" else "B"
            broken = license_ | {name: text[:place] + changed + text[place + 1 :]}
            with pytest.raises(LicenseRefused):
                licenses.verify(broken["plain"], broken["encrypted"])
            # The last character's low bits are no part of the signature, which a lenient library overlooks; we do not.
            if not (name == "encrypted" and place == len(text) - 1):
                assert not holds(broken, keys), (name, place)


async def test_emergency_ends_every_licence_and_raises_every_agents_version(appliance: RunningAppliance) -> None:
    ana, bob = await kit.person(appliance), await kit.person(appliance, "bob")
    known = [await registered(owner) for owner in (ana, ana, bob)]
    before = {one.agent_id: (await one.report())["config_version"] for one, _ in known}
    items = (await appliance.control("GET", f"{kit.SHARING}/agents?all=true")).json["items"]
    all_before = {item["agent_id"]: item["config_version"] for item in items}
    assert set(before) < set(all_before), "this host is an agent too"
    old = await published(appliance)

    rotated = await command(appliance, "license", "rotate", "--emergency")
    assert rotated.returncode == 0, rotated.stderr
    with trio.fail_after(30):
        while True:
            items = (await appliance.control("GET", f"{kit.SHARING}/agents?all=true")).json["items"]
            if all(item["config_version"] > all_before[item["agent_id"]] for item in items):
                break
            await trio.sleep(0.01)

    keys = await published(appliance)
    assert {key.key_id for key in keys.keys}.isdisjoint(key.key_id for key in old.keys)
    for one, license_ in known:
        assert (await verdict(appliance, license_, one.agent_id))["reason"] == "unknown_key"
        assert not holds(license_, keys)
        # Its next report tells the agent to fetch; what it fetches holds.
        assert (await one.report())["config_version"] > before[one.agent_id]
        fresh = (await one.config())["license"]
        assert holds(fresh, keys)
        assert (await verdict(appliance, fresh, one.agent_id))["ok"] is True


async def test_emergency_while_the_appliance_is_down_counts_from_its_next_start(tmp_path: Path) -> None:
    async with running(tmp_path) as appliance:
        one, license_ = await registered(await kit.person(appliance))
        version = (await one.report())["config_version"]
    rotated = await command(appliance, "license", "rotate", "--emergency")
    assert rotated.returncode == 0, rotated.stderr
    async with running(tmp_path) as appliance:
        one, keys = evolve(one, appliance=appliance), await published(appliance)
        assert not holds(license_, keys)
        assert (await one.report())["config_version"] > version
        assert holds((await one.config())["license"], keys)


async def test_orderly_rotation_ends_no_licence_before_its_time(
    appliance: RunningAppliance, now: SteppingClock
) -> None:
    one, _ = await registered(await kit.person(appliance))
    now.advance(DAY_SECONDS + 1)
    before = (await one.config())["license"]
    answer = await appliance.control("POST", "/api/appliance/licenses/rotate", {"emergency": False})
    assert answer.json["rotated"] is True
    after = (await one.config())["license"]
    keys = await published(appliance)
    kids = [jwt.get_unverified_header(put_together(each))["kid"] for each in (before, after)]
    assert kids[0] != kids[1]
    assert holds(before, keys)
    assert holds(after, keys)
