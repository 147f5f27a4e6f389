import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.credentials.kinds import Role
from appliance.credentials.rules import US
from appliance.people.failures import TOLD_PER_MINUTE
from tests.appliance.http.api.core_kit import GOOD, Kit, running


@pytest.fixture
async def kit(tmp_path: Path) -> AsyncIterator[Kit]:
    async with running(tmp_path) as made:
        yield made


@pytest.mark.parametrize("slash", ["", "/"])
async def test_login_opens_a_session_by_username_or_email_with_or_without_slash(kit: Kit, slash: str) -> None:
    await kit.state.people.add("ana", role=Role.USER, password=GOOD, address="ana@example.org")
    for number, body in enumerate(
        [{"username": "ana"}, {"email": "ana@example.org"}, {"username": "ANA@example.org"}, {"email": "Ana"}], start=1
    ):
        client = kit.browser()
        got = await client.ask("POST", f"/api/auth/login{slash}", body | {"password": GOOD})
        assert got.status == 200
        assert got.body == {
            "ok": True,
            "success": True,
            "message": "Login successful",
            "visit_count": number,
            "user": {
                "username": "ana",
                "email": "ana@example.org",
                "name": "ana",
                "role": "user",
                "visit_count": number,
                "created_at": 1_795_000_000.0,
            },
        }
        me = await client.ask("GET", f"/api/auth/me{slash}")
        assert (me.status, me.body["user"]["name"]) == (200, "ana")


async def test_session_cookie_is_hidden_from_scripts_and_the_csrf_cookie_is_not(kit: Kit) -> None:
    await kit.state.people.add("ana", role=Role.USER, password=GOOD)
    got = await kit.browser().ask("POST", "/api/auth/login", {"username": "ana", "password": GOOD})
    cookies = {value.partition("=")[0]: value for name, value in got.headers if name == "set-cookie"}
    assert set(cookies) == {"appliance_i1", "csrftoken"}
    for value in cookies.values():
        assert "samesite=lax" in value.lower()
        assert "max-age=2592000" in value.lower()
    assert "httponly" in cookies["appliance_i1"].lower()
    assert "httponly" not in cookies["csrftoken"].lower()


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"username": "ana"}, 400, "Username and password are required."),
        ({"username": "", "password": GOOD}, 400, "Username and password are required."),
        ({"email": "", "password": GOOD}, 400, "Email and password are required."),
        ({}, 400, "Email and password are required."),
        ({"username": "ana", "password": "wrong wrong"}, 401, "Invalid username or password."),
        ({"username": "nobody", "password": GOOD}, 401, "Invalid username or password."),
        ({"email": "ana", "password": "wrong wrong"}, 401, "Invalid email or password."),
        ({"email": "nobody", "password": GOOD}, 401, "Invalid email or password."),
    ],
)
async def test_refused_login_says_so_twice_and_sets_no_cookie(
    kit: Kit, body: dict[str, Any], status: int, words: str
) -> None:
    await kit.state.people.add("ana", role=Role.USER, password=GOOD)
    got = await kit.browser().ask("POST", "/api/auth/login", body)
    assert (got.status, got.body["error"], got.body["message"]) == (status, words, words)
    assert (got.body["ok"], got.body["success"], got.cookies) == (False, False, {})


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"username":5,"password":"x"}', b"\xff", b'{"password":' + b"[" * 5000]
)
async def test_body_that_is_none_is_refused_in_the_same_shape(kit: Kit, body: bytes) -> None:
    got = await kit.browser().ask("POST", "/api/auth/login", body)
    assert (got.status, got.body["ok"], got.body["success"]) == (400, False, False)
    assert got.body["error"] == got.body["message"] != ""


async def test_sixth_wrong_try_waits_as_long_as_the_answer_says(kit: Kit) -> None:
    await kit.state.people.add("ana", role=Role.USER, password=GOOD)
    client = kit.browser()
    for _ in range(5):
        await client.ask("POST", "/api/auth/login", {"username": "ana", "password": "wrong wrong"})
    got = await client.ask("POST", "/api/auth/login", {"username": "ana", "password": GOOD})
    assert (got.status, dict(got.headers)["retry-after"]) == (429, "1")
    kit.clock.unix_us += US
    assert (await client.ask("POST", "/api/auth/login", {"username": "ana", "password": GOOD})).status == 200


async def test_login_again_ends_the_session_before(kit: Kit) -> None:
    client = await kit.logged_in("ana", Role.USER)
    before = dict(client.cookies)
    await client.ask("POST", "/api/auth/login", {"username": "ana", "password": GOOD})
    assert client.cookies != before
    assert (await kit.browser(cookies=before).ask("GET", "/api/auth/me")).status == 401


async def test_logout_ends_the_session_and_takes_the_cookies_away(kit: Kit) -> None:
    client = await kit.logged_in("ana", Role.USER)
    kept = dict(client.cookies)
    got = await client.ask("POST", "/api/auth/logout")
    assert (got.status, got.body["success"], client.cookies) == (200, True, {})
    assert (await kit.browser(cookies=kept).ask("GET", "/api/auth/me")).status == 401
    assert (await client.ask("POST", "/api/auth/logout/", {})).status == 200


async def test_session_ends_by_itself_after_seven_idle_days(kit: Kit) -> None:
    client = await kit.logged_in("ana", Role.USER)
    kit.clock.unix_us += 6 * 86_400 * US
    assert (await client.ask("GET", "/api/auth/me")).status == 200
    kit.clock.unix_us += 7 * 86_400 * US
    got = await client.ask("GET", "/api/auth/me")
    assert (got.status, got.body["error"]) == (401, "Authentication required.")


async def test_me_takes_a_personal_token_and_no_control_socket(kit: Kit) -> None:
    await kit.logged_in("ana", Role.OPERATOR)
    got = await (await kit.bearer("ana")).ask("GET", "/api/auth/me")
    assert got.body["user"]["role"] == "operator"
    assert (await kit.control().ask("GET", "/api/auth/me")).status == 401


async def test_registration_is_closed_until_it_is_opened(kit: Kit) -> None:
    body = {"username": "eve", "email": "eve@example.org", "password": GOOD}
    got = await kit.browser().ask("POST", "/api/auth/register/", body)
    assert (got.status, got.body["error"]) == (403, "Registration is restricted to authorized accounts.")
    assert kit.state.people.everyone() == []
    kit.registration[0] = True
    client = kit.browser()
    got = await client.ask("POST", "/api/auth/register/", body)
    assert (got.status, got.body["user"]["role"], got.body["success"]) == (201, "viewer", True)
    assert (await client.ask("GET", "/api/auth/me")).status == 200


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"username": "ANA", "password": GOOD}, 409, "That username is already taken."),
        ({"name": "bo", "email": "Ana@example.org", "password": GOOD}, 409, "That email is already registered."),
        ({"username": "bo", "email": "no address", "password": GOOD}, 400, "Enter a valid email address."),
        ({"username": "bo", "password": "short"}, 400, "a password has at least 8 characters"),
    ],
)
async def test_registration_refuses_what_is_taken_or_wrong(
    kit: Kit, body: dict[str, Any], status: int, words: str
) -> None:
    kit.registration[0] = True
    await kit.state.people.add("ana", role=Role.USER, password=GOOD, address="ana@example.org")
    got = await kit.browser().ask("POST", "/api/auth/register", body)
    assert (got.status, got.body["error"]) == (status, words)


async def test_forgotten_password_gets_one_text_whoever_asks(kit: Kit) -> None:
    await kit.state.people.add("ana@example.org", role=Role.USER, password=GOOD)
    answers = [
        (await kit.browser().ask("POST", "/api/auth/forgot-password/", {"email": email})).body
        for email in ("ana@example.org", "nobody@example.org")
    ]
    assert answers[0] == answers[1]
    assert answers[0]["ok"]


async def test_foreign_page_can_neither_log_in_nor_out(kit: Kit) -> None:
    client = await kit.logged_in("ana", Role.USER)
    foreign = [("origin", "http://evil.example"), ("sec-fetch-site", "cross-site")]
    for path in ("/api/auth/login", "/api/auth/logout"):
        got = await client.ask("POST", path, {"username": "ana", "password": GOOD}, headers=foreign)
        assert got.status == 403
    assert (await client.ask("GET", "/api/auth/me")).status == 200


async def test_logins_good_and_bad_are_in_the_audit_log_without_the_password(kit: Kit) -> None:
    client = await kit.logged_in("ana", Role.USER)
    await client.ask("POST", "/api/auth/logout")
    await client.ask("POST", "/api/auth/login", {"username": "ana", "password": "wrong wrong"})
    assert await kit.actions() == ["person.login", "person.logout", "person.login_failed"]
    entries = await kit.state.audit.newest(10)
    assert [(entry.object, entry.address) for entry in entries] == [("ana", "10.0.0.1")] * 3
    assert "wrong wrong" not in repr(entries)


async def test_flood_of_failed_logins_does_not_fill_the_audit_log(kit: Kit) -> None:
    for number in range(TOLD_PER_MINUTE + 20):
        client = kit.browser(peer=(f"10.0.1.{number}", 5))
        got = await client.ask("POST", "/api/auth/login", {"username": f"n{number}", "password": "wrong wrong"})
        assert got.status == 401
    assert await kit.actions() == ["person.login_failed"] * TOLD_PER_MINUTE
    kit.clock.unix_us += 60 * US
    await kit.browser().ask("POST", "/api/auth/login", {"username": "n", "password": "wrong wrong"})
    assert json.loads((await kit.state.audit.newest(1))[0].detail) == {"not_recorded_before": 20}
