"""Payloads over our own API: uploaded as they are, and read as the documented API has them."""

from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.credentials.kinds import Role
from appliance.testing import Reply
from tests.plugins.build_swarm.kit import STRANGER, Swarm, swarm

PAYLOADS = "/api/appliance/swarm/payloads"
ONE = f"{PAYLOADS}/drone_binary/1.0"


async def put(one: Swarm, path: str, content: bytes) -> Reply:
    return await one.send("PUT", path, content)


async def test_file_is_stored_as_it_is_and_only_once(tmp_path: Path) -> None:
    content = b"\x00\xff not text, nor JSON {"
    async with swarm(tmp_path) as one:
        made = await put(one, f"{ONE}?description=first&notes=a%20b", content)
        assert made.status == 201, made.text
        found = made.json["version"]
        assert (found["payload_type"], found["version"], found["content_size"]) == ("drone_binary", "1.0", len(content))
        assert (found["description"], found["notes"]) == ("first", "a b")
        assert await trio.Path(found["content_path"]).read_bytes() == content
        again = await put(one, ONE, content)
        assert (again.status, again.json["version"]["id"]) == (201, found["id"])
        assert (await put(one, ONE, b"other")).status == 409
        listed = (await one.read(PAYLOADS))["versions"]
        assert [each["id"] for each in listed] == [found["id"]]
        assert listed == (await one.read("/admin/api/payloads"))["versions"]
        assert (await one.read(f"{PAYLOADS}/status"))["latest_versions"]["drone_binary"]["version"] == "1.0"
        assert (await one.read(f"{PAYLOADS}/drone_binary/deploy-log"))["history"] == []


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (ONE, b""),
        (f"{PAYLOADS}/Drone-Binary/1.0", b"x"),
        (f"{PAYLOADS}/drone_binary/1%2F0", b"x"),
        (f"{PAYLOADS}/drone_binary/{'1' * 65}", b"x"),
        (f"{ONE}?description={'x' * 2001}", b"x"),
        (f"{ONE}?who=me", b"x"),
    ],
)
async def test_file_that_cannot_be_a_version_is_refused_and_not_kept(tmp_path: Path, path: str, content: bytes) -> None:
    async with swarm(tmp_path) as one:
        reply = await put(one, path, content)
        assert 400 <= reply.status < 500, reply.text
        assert (await one.read(PAYLOADS))["versions"] == []


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", ONE, b"x"),
        ("POST", f"{ONE}/deploy", {"drone": "drone-01"}),
        ("POST", f"{PAYLOADS}/drone_binary/verify", {"drone": "drone-01"}),
    ],
)
async def test_viewers_and_strangers_change_nothing(tmp_path: Path, method: str, path: str, body: Any) -> None:
    async with swarm(tmp_path) as one:
        viewer = await one.appliance.bearer("vera", Role.VIEWER)
        assert (await one.send(method, path, body, headers=viewer)).status == 403
        assert (await one.send(method, path, body, headers=STRANGER)).status == 401
        assert (await one.send("GET", PAYLOADS, headers=viewer)).json == {"versions": []}
        assert (await one.send("GET", PAYLOADS, headers=STRANGER)).status == 401


async def test_deploy_to_a_drone_that_nobody_has_approved_says_how_to_approve_it(tmp_path: Path) -> None:
    async with swarm(tmp_path) as one:
        await one.drone("drone-01")
        assert (await put(one, ONE, b"x")).status == 201
        for path in (f"{ONE}/deploy", f"{PAYLOADS}/drone_binary/verify"):
            reply = await one.send("POST", path, {"drone": "drone-01"})
            assert (reply.status, reply.json["hint"]) == (409, "appliance swarm approve drone-01")
