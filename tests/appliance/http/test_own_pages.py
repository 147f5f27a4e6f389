"""Which pages count as our own: reached by the same host, from a port that one of our listeners has there."""

from pathlib import Path

import pytest

from appliance.credentials.kinds import Role
from appliance.http.own_pages import ANY_SURFACE, OwnPage, OwnPages, let_in
from appliance.surface import Head, Surface
from appliance.testing import PASSWORD, running

PAGES = OwnPages(
    [
        OwnPage(surfaces=frozenset({"console"}), scheme="http", address="0.0.0.0", port=8093),
        OwnPage(surfaces=frozenset({"console"}), scheme="https", address="10.0.0.5", port=443),
        OwnPage(surfaces=frozenset({"console"}), scheme="http", address="127.0.0.1", port=9000),
        OwnPage(surfaces=frozenset({"other"}), scheme="http", address="10.0.0.5", port=7000),
        OwnPage(surfaces=frozenset(), scheme="http", address="10.0.0.5", port=6000),
    ]
)
SHARED = Surface("shared", cors=True, origins_of=("console",))


def asked(host: str, *, local: str = "10.0.0.5", origin: str | None = "http://x") -> Head:
    headers = [(b"host", host.encode())] + ([(b"origin", origin.encode())] if origin is not None else [])
    return Head(
        method="GET",
        path="/",
        raw_query=b"",
        headers=headers,
        peer=("10.0.0.9", 50_000),
        local=(local, 8100),
        listener="a",
        scheme="http",
    )


def test_pages_of_our_ports_are_named_as_a_browser_would_by_the_host_that_was_asked() -> None:
    assert PAGES.origins(asked("Farm.lan:8100"), SHARED) == ("http://farm.lan:8093", "https://farm.lan")
    assert PAGES.origins(asked("127.0.0.1:8100", local="127.0.0.1"), SHARED) == (
        "http://127.0.0.1:8093",
        "http://127.0.0.1:9000",
    )


def test_sockets_of_one_address_make_no_page_of_another() -> None:
    # On another address of this host the same port may be anybody's.
    assert "http://farm.lan:9000" not in PAGES.origins(asked("farm.lan"), SHARED)
    assert PAGES.origins(asked("[fd00::5]:8100", local="fd00::5"), SHARED) == ()
    every = OwnPages([OwnPage(surfaces=frozenset({"console"}), scheme="http", address="::", port=8093)])
    assert every.origins(asked("[fd00::5]:8100", local="fd00::5"), SHARED) == ("http://[fd00::5]:8093",)


def test_only_surfaces_that_say_so_let_pages_in() -> None:
    assert PAGES.origins(asked("farm.lan"), Surface("shared", cors=True)) == ()
    assert PAGES.origins(asked("farm.lan"), None) == ()
    any_page = PAGES.origins(asked("farm.lan"), Surface("core", origins_of=(ANY_SURFACE,)))
    assert any_page == ("http://farm.lan:8093", "https://farm.lan", "http://farm.lan:7000")


@pytest.mark.parametrize("host", ["", "a b", "evil.example:8100@farm.lan", "farm.lan:x"])
def test_request_without_a_sound_host_knows_no_page(host: str) -> None:
    assert PAGES.origins(asked(host), SHARED) == ()


def test_request_without_origin_is_no_page_s() -> None:
    assert PAGES.origins(asked("farm.lan", origin=None), SHARED) == ()


def test_surfaces_that_are_let_in_are_named_once_each() -> None:
    assert let_in([SHARED, Surface("core", origins_of=(ANY_SURFACE,)), Surface("b", origins_of=("console", "c"))]) == {
        "console",
        "c",
    }


PLUGIN = """
from appliance.plugin import PERSON, Call, Core, Kind, Parts, Role, Surface, hookimpl

appliance_api = 1
SHARED = {"cors": True, "origins_of": ("console",), "cors_headers": ("Content-Type", "Accept", "X-Admin-Key")}
public = Surface("farm", prefixes=("/farm",), **SHARED)
console = Surface("console", prefixes=("/console",), **SHARED)
KEYED = PERSON | {Kind.TRUST}

@public.get("/farm/status", caller=KEYED, access="open")
async def status(call: Call[None]) -> dict[str, str]:
    return {"kind": call.caller.kind.value}

@public.post("/farm/control", caller=KEYED, role=Role.OPERATOR)
async def control(call: Call[None]) -> dict[str, str]:
    return {"kind": call.caller.kind.value}

@console.get("/console/info", caller=KEYED)
async def info(call: Call[None]) -> dict[str, str]:
    return {"kind": call.caller.kind.value}

@hookimpl
def appliance_setup(core: Core) -> Parts:
    return Parts(surfaces=[public.bind(None), console.bind(None)])
"""
PORTS = """
[[listeners]]
address = "127.0.0.1:0"
surfaces = ["farm"]

[[listeners]]
address = "127.0.0.1:0"
surfaces = ["console"]
"""


async def test_page_of_one_of_our_ports_asks_the_other_and_no_other_page_does(tmp_path: Path) -> None:
    async with running(tmp_path, config=PORTS, plugins={"farm": PLUGIN}, listen=()) as appliance:
        console = appliance.running.bound[1].address.port
        page = {"Origin": f"http://127.0.0.1:{console}", "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}
        for method, path, status in (
            ("GET", "/farm/status", 200),
            ("POST", "/farm/control", 200),
            ("GET", "/farm/none", 404),
            ("DELETE", "/farm/status", 405),
            ("GET", "/api/v1/health", 200),
        ):
            reply = await appliance.request(method, path, headers=page)
            assert (path, reply.status) == (path, status)
            assert reply.headers["access-control-allow-origin"] == page["Origin"]
        assert (await appliance.post("/farm/control", headers=page)).json == {"kind": "trust"}
        # The port that the page would have if it came from this very listener is its own origin, of course; a
        # neighbour's page on a third port is a stranger, and so is one of the same port under another name.
        for stranger in ("http://127.0.0.1:1", f"http://localhost:{console}", f"https://127.0.0.1:{console}"):
            reply = await appliance.post("/farm/control", headers=page | {"Origin": stranger})
            assert (stranger, reply.status) == (stranger, 401)
            assert "access-control-allow-origin" not in reply.headers


async def test_preflights_are_answered_200_on_every_path_with_the_methods_and_headers(tmp_path: Path) -> None:
    async with running(tmp_path, config=PORTS, plugins={"farm": PLUGIN}, listen=()) as appliance:
        origin = f"http://127.0.0.1:{appliance.running.bound[1].address.port}"
        flight = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-b"}
        for path, methods in (
            ("/farm/control", "OPTIONS, POST"),
            ("/farm/none/at/all", "DELETE, GET, HEAD, OPTIONS, POST, PUT"),
        ):
            reply = await appliance.request("OPTIONS", path, headers=flight)
            assert (reply.status, reply.body) == (200, b"")
            assert reply.headers["access-control-allow-origin"] == origin
            assert reply.headers["access-control-allow-methods"] == methods
            assert reply.headers["access-control-allow-headers"] == "Content-Type, Accept, X-Admin-Key"
        plain = await appliance.get("/farm/status", headers={"Origin": origin})
        assert plain.headers["access-control-allow-headers"] == "Content-Type, Accept, X-Admin-Key"
        bare = await appliance.request("OPTIONS", "/farm/status")
        assert (bare.status, "access-control-allow-origin" in bare.headers) == (200, False)


async def test_session_of_a_browser_acts_from_our_page_and_is_forged_from_another(tmp_path: Path) -> None:
    async with running(tmp_path, config=PORTS, plugins={"farm": PLUGIN}, listen=()) as appliance:
        console = appliance.running.bound[1].address.port
        state = appliance.state
        await state.people.add("ana", password=PASSWORD, role=Role.OPERATOR)
        made = await state.people.log_in("ana", PASSWORD, address="127.0.0.1")
        cookie = {"Cookie": f"{state.access.cookies.session}={made.session.secret}", "Sec-Fetch-Site": "same-site"}
        ours = await appliance.post("/farm/control", headers=cookie | {"Origin": f"http://127.0.0.1:{console}"})
        assert (ours.status, ours.json) == (200, {"kind": "session"})
        other = await appliance.post("/farm/control", headers=cookie | {"Origin": "http://127.0.0.1:1"})
        assert other.status == 403
