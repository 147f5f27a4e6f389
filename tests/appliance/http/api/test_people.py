from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.credentials.kinds import Role
from tests.appliance.http.api.core_kit import GOOD, Kit, running

USERS = "/api/appliance/users"


@pytest.fixture
async def kit(tmp_path: Path) -> AsyncIterator[Kit]:
    async with running(tmp_path) as made:
        yield made


async def setup_token(kit: Kit) -> str:
    got = await kit.control().ask("POST", "/api/appliance/setup-link", {})
    base, _, token = got.body["url"].partition("#t=")
    assert base == "http://gpu-box.lan:8080/setup"
    return str(token)


async def test_setup_link_makes_the_first_admin_and_logs_them_in(kit: Kit) -> None:
    token, other = await setup_token(kit), await setup_token(kit)
    client = kit.browser()
    got = await client.ask("POST", "/api/appliance/setup", {"token": token, "name": "ana", "password": GOOD})
    assert (got.status, got.body["user"]["role"]) == (200, "admin")
    assert (await client.ask("GET", USERS)).body["items"][0]["name"] == "ana"
    for used in (token, other):
        body = {"token": used, "name": "eve", "password": GOOD}
        assert (await kit.browser().ask("POST", "/api/appliance/setup", body)).status == 401
    assert (await kit.control().ask("POST", "/api/appliance/setup-link", {})).status == 409
    assert await kit.actions() == ["setup.link", "setup.link", "setup.done"]


@pytest.mark.parametrize(
    ("change", "field"),
    [({"password": "short"}, "$.password"), ({"name": ""}, "$.name"), ({"role": "admin"}, "$.role")],
)
async def test_setup_names_the_wrong_field_and_keeps_the_link(kit: Kit, change: dict[str, str], field: str) -> None:
    token = await setup_token(kit)
    body = {"token": token, "name": "ana", "password": GOOD}
    got = await kit.browser().ask("POST", "/api/appliance/setup", body | change)
    assert (got.status, got.body["field"]) == (400, field)
    assert (await kit.browser().ask("POST", "/api/appliance/setup", body)).status == 200


async def test_setup_link_is_for_the_control_socket_alone(kit: Kit) -> None:
    client = await kit.logged_in("ana", Role.OPERATOR)
    assert (await client.ask("POST", "/api/appliance/setup-link", {})).status == 403
    assert (await kit.browser().ask("POST", "/api/appliance/setup-link", {})).status == 401


async def test_admin_adds_changes_and_removes_people(kit: Kit) -> None:
    admin = await kit.logged_in("root", Role.ADMIN)
    got = await admin.ask("POST", USERS, {"name": "bo@example.org", "role": "user", "password": GOOD})
    assert (got.status, got.body["name"], got.body["email"]) == (201, "bo@example.org", "bo@example.org")
    got = await admin.ask("PATCH", f"{USERS}/BO%40example.org", {"role": "operator"})
    assert (got.status, got.body["role"]) == (200, "operator")
    assert [one["name"] for one in (await admin.ask("GET", USERS)).body["items"]] == ["bo@example.org", "root"]
    assert (await admin.ask("DELETE", f"{USERS}/bo@example.org")).status == 200
    assert (await admin.ask("DELETE", f"{USERS}/bo@example.org")).status == 404
    assert await kit.actions() == ["person.login", "person.add", "person.role", "person.remove"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", USERS, None),
        ("POST", USERS, {"name": "x", "password": GOOD}),
        ("PATCH", f"{USERS}/ana", {"role": "admin"}),
        ("DELETE", f"{USERS}/ana", None),
        ("POST", f"{USERS}/ana/reset", {}),
        ("GET", "/api/appliance/audit", None),
        ("GET", "/api/appliance/audit/verify", None),
    ],
)
async def test_people_and_audit_are_for_admins(kit: Kit, method: str, path: str, body: Any) -> None:
    for role in (Role.VIEWER, Role.USER, Role.OPERATOR):
        client = await kit.logged_in(f"p{role.word}", role)
        got = await client.ask(method, path, body)
        assert (got.status, "admin" in got.body["hint"]) == (403, True)
    assert (await kit.browser().ask(method, path, body)).status == 401


async def test_last_admin_stays(kit: Kit) -> None:
    admin = await kit.logged_in("root", Role.ADMIN)
    assert (await admin.ask("DELETE", f"{USERS}/root")).status == 409
    got = await admin.ask("PATCH", f"{USERS}/root", {"role": "viewer"})
    assert (got.status, "last admin" in got.body["error"]) == (409, True)


async def test_list_comes_in_pages_that_meet(kit: Kit) -> None:
    admin = await kit.logged_in("m", Role.ADMIN)
    for name in ("d", "B", "a", "C"):
        await kit.state.people.add(name, role=Role.VIEWER, password=None)
    seen, after = list[str](), ""
    for _ in range(5):
        got = await admin.ask("GET", f"{USERS}?limit=2&after={after}")
        seen += [one["name"] for one in got.body["items"]]
        after = got.body["next"]
        if after is None:
            break
    assert seen == ["a", "B", "C", "d", "m"]
    for query in ("limit=0", "limit=1001", "limit=x", "nonsense=1"):
        assert (await admin.ask("GET", f"{USERS}?{query}")).status == 400


async def test_reset_link_sets_a_new_password_once(kit: Kit) -> None:
    ana = await kit.logged_in("ana", Role.USER)
    got = await kit.control().ask("POST", f"{USERS}/ana/reset", {})
    base, _, token = got.body["url"].partition("#t=")
    assert base == "http://gpu-box.lan:8080/ui/reset"
    assert (await ana.ask("GET", "/api/auth/me")).status == 401
    body = {"token": token, "password": "another password"}
    client = kit.browser()
    assert (await client.ask("POST", "/api/appliance/reset", body)).status == 200
    assert (await client.ask("GET", "/api/auth/me")).body["user"]["name"] == "ana"
    assert (await kit.browser().ask("POST", "/api/appliance/reset", body)).status == 401


async def test_reset_with_a_password_gives_no_link(kit: Kit) -> None:
    await kit.logged_in("ana", Role.USER)
    got = await kit.control().ask("POST", f"{USERS}/ana/reset", {"password": "another password"})
    assert (got.status, got.body["url"]) == (200, "")
    login = {"username": "ana", "password": "another password"}
    assert (await kit.browser().ask("POST", "/api/auth/login", login)).status == 200


async def test_own_password_is_changed_with_the_old_one_and_ends_other_sessions(kit: Kit) -> None:
    ana = await kit.logged_in("ana", Role.VIEWER)
    elsewhere = kit.browser()
    await elsewhere.ask("POST", "/api/auth/login", {"username": "ana", "password": GOOD})
    path = "/api/appliance/password"
    wrong = {"old_password": "wrong wrong", "new_password": "another password"}
    assert (await ana.ask("POST", path, wrong)).status == 401
    assert (await ana.ask("POST", path, wrong | {"old_password": GOOD})).status == 200
    assert (await ana.ask("GET", "/api/auth/me")).status == 200
    assert (await elsewhere.ask("GET", "/api/auth/me")).status == 401


async def test_audit_log_is_shown_and_found_whole(kit: Kit) -> None:
    admin = await kit.logged_in("root", Role.ADMIN)
    await admin.ask("POST", USERS, {"name": "bo", "role": "user", "password": GOOD})
    got = await admin.ask("GET", "/api/appliance/audit?limit=1")
    (entry,) = got.body["items"]
    assert (entry["action"], entry["who_name"], entry["object"], entry["detail"]) == (
        "person.add",
        "root",
        "bo",
        {"role": "user"},
    )
    first = await admin.ask("GET", "/api/appliance/audit?after=0&limit=1")
    assert (first.body["items"][0]["action"], first.body["next"]) == ("person.login", 1)
    verdict = (await admin.ask("GET", "/api/appliance/audit/verify")).body
    assert (verdict["ok"], verdict["entries"]) == (True, 2)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/appliance/users", {"name": "eve", "role": "admin", "password": GOOD}),
        ("PATCH", "/api/appliance/users/ana", {"role": "admin"}),
        ("POST", "/api/appliance/users/root/reset", {}),
        ("POST", "/api/appliance/users/root/reset", {"password": GOOD}),
        ("POST", "/api/appliance/setup-link", None),
    ],
)
async def test_token_with_scopes_makes_nobody_who_can_do_more_than_itself(
    kit: Kit, method: str, path: str, body: Any
) -> None:
    await kit.logged_in("root", Role.ADMIN)
    await kit.logged_in("ana", Role.USER)
    got = await (await kit.bearer("root", "core")).ask(method, path, body)
    assert (got.status, "a token with scopes" in repr(got.body)) == (403, True)
    assert [person.name for person in kit.state.people.everyone() if person.role is Role.ADMIN] == ["root"]


async def test_nobody_raises_or_resets_themselves_but_an_admin(kit: Kit) -> None:
    await kit.logged_in("root", Role.ADMIN)
    for role in (Role.VIEWER, Role.USER, Role.OPERATOR):
        own = await kit.logged_in(f"{role.word}1", role)
        for method, path, body in (
            ("PATCH", f"/api/appliance/users/{role.word}1", {"role": "admin"}),
            ("POST", f"/api/appliance/users/{role.word}1/reset", {}),
            ("DELETE", "/api/appliance/users/root", None),
        ):
            assert (await own.ask(method, path, body)).status == 403
        assert kit.state.people.named(f"{role.word}1").role is role


async def test_admin_who_resets_themselves_is_out_at_once(kit: Kit) -> None:
    root = await kit.logged_in("root", Role.ADMIN)
    assert (await root.ask("POST", "/api/appliance/users/root/reset", {})).status == 200
    assert (await root.ask("GET", "/api/appliance/users")).status == 401
