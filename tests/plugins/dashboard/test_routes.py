"""The declared paths, public all of them, and the front page."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

import pytest

from appliance.credentials.kinds import ANONYMOUS, Caller, Kind, Role
from appliance.errors import PathNotFound
from appliance.surface import Answer, Call, Head, Redirect
from appliance.testing import running
from plugins.dashboard import routes
from plugins.dashboard.assets import read_assets


def call(
    path: str, *headers: tuple[bytes, bytes], values: Mapping[str, str] | None = None, signed_in: bool = True
) -> Call[None]:
    head = Head(
        method="GET",
        path=path,
        raw_query=b"",
        headers=headers,
        peer=None,
        local="",
        listener="",
        scheme="http",
        path_values=values or {},
    )
    return Call(head=head, caller=ANA if signed_in else ANONYMOUS, body=None)


ANA = Caller(kind=Kind.SESSION, role=Role.VIEWER, name="ana")


def test_every_path_is_public_since_pages_hold_no_data() -> None:
    assert {endpoint.access for endpoint in routes.api.endpoints} == {"public"}
    assert {endpoint.method for endpoint in routes.api.endpoints} == {"GET"}


def test_only_the_agreed_paths_are_claimed() -> None:
    for endpoint in routes.api.endpoints:
        assert endpoint.path in {"/login", "/setup", "/favicon.ico", "/admin"} or endpoint.path.startswith("/ui/")


async def test_root_is_the_overview_for_browsers() -> None:
    answer = await routes.front(call("/"))
    assert isinstance(answer, Answer)
    assert answer.content_type == "text/html; charset=utf-8"
    assert b"overview.js" in answer.model


async def test_browser_without_session_is_led_to_login_and_back() -> None:
    answer = await routes.front(call("/", signed_in=False))
    assert answer == Redirect(location="/login?next=%2F")
    assert await routes.events(call("/ui/events", signed_in=False)) == Redirect(location="/login?next=%2Fui%2Fevents")


async def test_page_of_a_server_is_answered_by_its_slug_and_login_leads_back_to_it(tmp_path: Path) -> None:
    async with running(tmp_path) as appliance:
        for path in ("/ui/servers", "/ui/servers/box-1"):
            answer = await appliance.get(path, headers={"Accept": "text/html"})
            assert answer.status == 302
            assert answer.headers["location"] == f"/login?{urlencode({'next': path})}"


async def test_login_leads_back_to_the_machine_that_was_meant_with_its_pool(tmp_path: Path) -> None:
    async with running(tmp_path) as appliance:
        for path in ("/ui/machines", "/ui/machines/box%201?pool=a%26b&provider=generic"):
            answer = await appliance.get(path, headers={"Accept": "text/html"})
            assert answer.status == 302
            assert answer.headers["location"] == f"/login?{urlencode({'next': path})}"


async def test_setup_and_login_are_for_everybody() -> None:
    for page in (routes.login, routes.setup, routes.reset):
        assert (await page(call("/", signed_in=False))).content_type == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    "name", ["login", "setup", "reset", "people", "plugins", "events", "servers", "server", "machines", "machine"]
)
async def test_page_is_answered_with_its_own_script(name: str) -> None:
    answer: Answer = await getattr(routes, name)(call("/"))
    script = {"reset": "setup"}.get(name, name)
    assert f"/{script}.js".encode() in answer.model


async def test_static_answers_files_of_this_edition_and_no_others() -> None:
    path = f"{read_assets().edition}/dom.js"
    answer = await routes.static(call("/ui/static", values={"path": path}))
    assert answer.content_type == "text/javascript; charset=utf-8"
    with pytest.raises(PathNotFound):
        await routes.static(call("/ui/static", values={"path": "../routes.py"}))


BELOW_ADMIN = """
from appliance.plugin import Call, Kind, Parts, Surface, hookimpl

appliance_api = 1
api = Surface("below", prefixes=("/admin/api",))


@api.get("/admin/api/servers/", caller=frozenset(Kind), access="public", answer=dict)
async def servers(call: Call[None]) -> dict[str, str]:
    return {"from": "below"}


@hookimpl
def appliance_setup(core: object) -> Parts:
    return Parts(surfaces=[api.bind(None)])
"""


async def test_admin_leads_to_our_servers_and_takes_nothing_of_what_lies_below(tmp_path: Path) -> None:
    async with running(tmp_path, plugins={"below": BELOW_ADMIN}) as appliance:
        for path in ("/admin/", "/admin"):
            answer = await appliance.get(path)
            assert (answer.status, answer.headers["location"]) == (302, "/ui/servers")
        assert (await appliance.post("/admin/")).status == 405
        assert (await appliance.get("/admin/api/servers/")).json == {"from": "below"}
        for path in ("/admin/api/servers/1/unknown/", "/admin/api/", "/admin/login/"):
            assert (await appliance.get(path)).status == 404


async def test_favicon_is_answered_by_its_old_name_too() -> None:
    answer = await routes.favicon(call("/favicon.ico"))
    assert answer.content_type == "image/svg+xml"
