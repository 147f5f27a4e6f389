from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.credentials.kinds import Kind, Role
from appliance.credentials.rules import US
from tests.appliance.http.api.core_kit import GOOD, Kit, running

TOKENS = "/api/appliance/tokens"


@pytest.fixture
async def kit(tmp_path: Path) -> AsyncIterator[Kit]:
    async with running(tmp_path) as made:
        yield made


async def test_person_makes_lists_and_ends_their_own_token(kit: Kit) -> None:
    ana = await kit.logged_in("ana", Role.USER)
    made = await ana.ask("POST", TOKENS, {"kind": "pat", "user": "ANA", "label": "laptop", "expires_in_days": 1})
    assert made.status == 201
    program = kit.browser(headers=[("authorization", f"Bearer {made.body['token']}")])
    assert (await program.ask("GET", "/api/auth/me")).body["user"]["name"] == "ana"
    listed = await ana.ask("GET", TOKENS)
    (one,) = listed.body["items"]
    assert (one["id"], one["label"], one["subject_name"], one["kind"]) == (made.body["id"], "laptop", "ana", "pat")
    assert made.body["token"].startswith(one["prefix"])
    assert made.body["token"] not in str(listed.body)
    assert one["expires_unix_s"] == 1_795_000_000 + 86_400
    assert (await ana.ask("DELETE", f"{TOKENS}/{one['id']}")).status == 200
    assert (await program.ask("GET", "/api/auth/me")).status == 401
    assert await kit.actions() == ["person.login", "token.create", "token.revoke"]


async def test_nobody_sees_or_ends_a_foreign_token_but_an_admin(kit: Kit) -> None:
    ana, bo = await kit.logged_in("ana", Role.USER), await kit.logged_in("bo", Role.OPERATOR)
    made = (await ana.ask("POST", TOKENS, {"kind": "pat"})).body
    assert (await bo.ask("GET", TOKENS)).body["items"] == []
    for method, path in (("DELETE", ""), ("POST", "/rotate")):
        got = await bo.ask(method, f"{TOKENS}/{made['id']}{path}", {} if path else None)
        assert got.status == 404
    admin = await kit.logged_in("root", Role.ADMIN)
    assert len((await admin.ask("GET", TOKENS)).body["items"]) == 1
    assert (await admin.ask("DELETE", f"{TOKENS}/{made['id']}")).status == 200


async def test_only_an_admin_makes_tokens_for_others_and_of_other_kinds(kit: Kit) -> None:
    bo = await kit.logged_in("bo", Role.OPERATOR)
    await kit.state.people.add("ana", role=Role.ADMIN, password=GOOD)
    for body in ({"kind": "pat", "user": "ana"}, {"kind": "admin-key"}, {"kind": "worker"}, {"kind": "scrape"}):
        assert (await bo.ask("POST", TOKENS, body)).status == 403
    viewer = await kit.logged_in("viewer", Role.VIEWER)
    assert (await viewer.ask("POST", TOKENS, {"kind": "pat"})).status == 403


@pytest.mark.parametrize(
    ("body", "kind", "subject", "scope"),
    [
        ({"kind": "machine", "pool": "gpu", "machine_id": "m1"}, Kind.MACHINE, "m1", "gpu"),
        ({"kind": "machine", "pool": "gpu"}, Kind.MACHINE, "", "gpu"),
        ({"kind": "worker"}, Kind.WORKER, "", ""),
        ({"kind": "workspace", "workspace": "w"}, Kind.WORKSPACE, "w", "w"),
        ({"kind": "drone", "name": "d1"}, Kind.DRONE, "d1", ""),
        ({"kind": "admin-key"}, Kind.ADMIN_KEY, "", ""),
        ({"kind": "scrape"}, Kind.SCRAPE, "", ""),
        ({"kind": "join"}, Kind.JOIN, "", ""),
    ],
)
async def test_command_line_makes_tokens_of_every_kind(
    kit: Kit, body: dict[str, str], kind: Kind, subject: str, scope: str
) -> None:
    made = await kit.control().ask("POST", TOKENS, body)
    assert made.status == 201
    found = kit.state.credentials.find(made.body["token"], frozenset({kind}))
    assert found is not None
    assert (found.subject, found.scope) == (subject, scope)
    # Document 000 fixes the form of two kinds.
    assert (len(made.body["token"]) == 88) is (kind in (Kind.MACHINE, Kind.WORKER))


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "session"},
        {"kind": "setup"},
        {"kind": "ingest"},
        {"kind": "nonsense"},
        {},
        {"kind": "machine"},
        {"kind": "machine", "pool": ""},
        {"kind": "machine", "pool": "a\nb"},
        {"kind": "drone", "name": "x" * 129},
        {"kind": "worker", "scopes": ["core"]},
        {"kind": "pat", "user": "ana", "scopes": ["Core"]},
        {"kind": "pat", "user": "ana", "expires_in_days": 0},
        {"kind": "pat", "user": "ana", "expires_in_days": 1e300},
        {"kind": "pat", "user": "ana", "label": "x" * 201},
        {"kind": "pat", "user": "ana", "pol": "typo"},
    ],
)
async def test_wrong_token_request_is_refused_and_makes_nothing(kit: Kit, body: dict[str, Any]) -> None:
    await kit.state.people.add("ana", role=Role.USER, password=GOOD)
    control = kit.control()
    assert (await control.ask("POST", TOKENS, body)).status == 400
    assert (await control.ask("GET", TOKENS)).body["items"] == []


async def test_control_socket_is_no_person_to_own_a_token(kit: Kit) -> None:
    assert (await kit.control().ask("POST", TOKENS, {"kind": "pat"})).status == 401


async def test_token_with_scopes_makes_no_token_of_wider_reach(kit: Kit) -> None:
    await kit.logged_in("root", Role.ADMIN)
    program = await kit.bearer("root", "core")
    assert (await program.ask("POST", TOKENS, {"kind": "pat"})).status == 403
    made = await kit.control().ask("POST", TOKENS, {"kind": "worker"})
    assert (await program.ask("POST", f"{TOKENS}/{made.body['id']}/rotate", {})).status == 403
    reader = await kit.bearer("root", "core:read")
    assert (await reader.ask("GET", TOKENS)).status == 200
    assert (await reader.ask("DELETE", f"{TOKENS}/{made.body['id']}")).status == 403


async def test_token_that_ends_makes_none_that_lives_longer(kit: Kit) -> None:
    await kit.logged_in("ana", Role.USER)
    person = kit.state.people.named("ana")
    own = await kit.state.credentials.create(
        Kind.PAT, subject=person.person_id, expires_unix_us=kit.clock() + 86_400 * US
    )
    program = kit.browser(headers=[("authorization", f"Bearer {own.secret}")])
    assert (await program.ask("POST", TOKENS, {"kind": "pat"})).status == 403
    assert (await program.ask("POST", TOKENS, {"kind": "pat", "expires_in_days": 1.01})).status == 403
    assert (await program.ask("POST", TOKENS, {"kind": "pat", "expires_in_days": 0.5})).status == 201
    endless = await kit.bearer("ana")
    assert (await endless.ask("POST", TOKENS, {"kind": "pat"})).status == 201


async def test_rotation_gives_a_new_secret_of_the_same_form(kit: Kit) -> None:
    made = (await kit.control().ask("POST", TOKENS, {"kind": "machine", "pool": "gpu"})).body
    got = await kit.control().ask("POST", f"{TOKENS}/{made['id']}/rotate", {"overlap_seconds": 60})
    assert (got.status, len(got.body["token"])) == (200, 88)
    for secret in (made["token"], got.body["token"]):
        assert kit.state.credentials.find(secret) is not None
    assert (await kit.control().ask("POST", f"{TOKENS}/{made['id']}/rotate", {"overlap_seconds": -1})).status == 400


async def test_sessions_are_listed_and_ended_by_their_person(kit: Kit) -> None:
    ana = await kit.logged_in("ana", Role.VIEWER)
    elsewhere = kit.browser(headers=[("user-agent", "Phone/1.0")])
    await elsewhere.ask("POST", "/api/auth/login", {"username": "ana", "password": GOOD})
    bo = await kit.logged_in("bo", Role.OPERATOR)
    items = (await ana.ask("GET", "/api/appliance/sessions")).body["items"]
    assert [(one["client"], one["current"]) for one in items] == [("Phone/1.0", False), ("", True)]
    path = f"/api/appliance/sessions/{items[0]['id']}"
    assert (await bo.ask("DELETE", path)).status == 404
    assert (await bo.ask("GET", "/api/appliance/sessions?all=true")).status == 403
    assert (await ana.ask("DELETE", path)).status == 200
    assert (await elsewhere.ask("GET", "/api/auth/me")).status == 401
    admin = await kit.logged_in("root", Role.ADMIN)
    assert len((await admin.ask("GET", "/api/appliance/sessions?all=true")).body["items"]) == 3


async def test_session_is_not_ended_as_a_token_nor_a_token_as_a_session(kit: Kit) -> None:
    ana = await kit.logged_in("ana", Role.USER)
    session = (await ana.ask("GET", "/api/appliance/sessions")).body["items"][0]["id"]
    token = (await ana.ask("POST", TOKENS, {"kind": "pat"})).body["id"]
    assert (await ana.ask("DELETE", f"{TOKENS}/{session}")).status == 404
    assert (await ana.ask("DELETE", f"/api/appliance/sessions/{token}")).status == 404


async def test_ticket_is_given_to_people_only(kit: Kit) -> None:
    ana = await kit.logged_in("ana", Role.VIEWER)
    got = await ana.ask("POST", "/api/appliance/tickets", {})
    assert (got.status, got.body["expires_in_seconds"]) == (201, 30)
    caller = kit.state.credentials.tickets.take(got.body["ticket"])
    assert caller is not None
    assert caller.name == "ana"
    assert (await kit.control().ask("POST", "/api/appliance/tickets", {})).status == 403
