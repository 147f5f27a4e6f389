"""A front end served from a folder in place of our pages."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from appliance.http.limits import Limits
from appliance.http.server import Dispatch, Edge
from appliance.surface import Call, Surface
from tests.appliance.http.edge_kit import Reply, Running, authenticate, request, serving

PAGE = b"<!doctype html><title>farm</title>"
BROWSER = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "admin").mkdir()
    (folder / "index.html").write_bytes(PAGE)
    (folder / "admin" / "index.html").write_bytes(b"<title>admin</title>")
    (folder / "assets" / "app-3f2a.js").write_bytes(b"let farm = 1;" * 10_000)
    (folder / "assets" / "a b.woff2").write_bytes(b"wOF2")
    (folder / ".env").write_bytes(b"TOKEN=inside")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_bytes(b"inside")
    (folder / "login").write_bytes(b"their own login")
    (tmp_path / "secret.txt").write_bytes(b"outside")
    return folder


def dashboard() -> Surface:
    pages = Surface("dashboard", prefixes=("/ui",), slash="both", pages=True)

    @pages.get("/")
    async def root(call: Call[None]) -> str:
        return "ours"

    @pages.get("/ui/people")
    async def people(call: Call[None]) -> str:
        return "ours"

    return pages


@asynccontextmanager
async def site(folder: Path, dispatch: Dispatch = "front") -> AsyncIterator[Running]:
    surfaces = [dashboard().bind(None)]
    async with serving(folder, dispatch=dispatch, surfaces=surfaces, site=folder, limits=Limits()) as running:
        yield running


async def get(running: Running, target: str, *headers: str, method: str = "GET") -> Reply:
    client = await running.connect()
    return await client.ask(request(method, target, *headers), head_only=method == "HEAD")


async def test_pages_of_ours_are_replaced_by_the_site(dist: Path, dispatch: Dispatch) -> None:
    async with site(dist, dispatch) as running:
        for target in ("/", "/ui/people", "/tasks/7?tab=logs"):
            reply = await get(running, target, BROWSER)
            assert (reply.status, reply.body) == (200, PAGE), target
            assert reply.headers["content-type"] == "text/html; charset=utf-8"
        assert (await get(running, "/login")).body == b"their own login"


async def test_pages_of_ours_are_replaced_also_while_their_plugin_is_not_running(dist: Path) -> None:
    edge = Edge(authenticate=authenticate)
    edge.add_unavailable(dashboard(), "it failed")
    async with serving(dist, edge=edge, site=dist) as running:
        assert (await get(running, "/ui/people", BROWSER)).body == PAGE
    async with serving(dist, edge=edge) as running:
        assert (await get(running, "/ui/people", BROWSER)).status == 503


async def test_declared_paths_come_before_files_of_the_same_name(dist: Path) -> None:
    (dist / "kit").mkdir()
    (dist / "kit" / "hello").write_bytes(b"a file")
    (dist / "kit" / "logo.svg").write_bytes(b"<svg/>")
    async with site(dist) as running:
        assert (await get(running, "/kit/hello", BROWSER)).body == b'{"hello":"world"}'
        assert (await get(running, "/openapi.json")).headers["content-type"] == "application/json"
        assert (await get(running, "/kit/logo.svg")).headers["content-type"] == "image/svg+xml"


async def test_unknown_path_is_a_404_for_programs_and_below_an_api_for_everyone(dist: Path) -> None:
    async with site(dist) as running:
        below = await get(running, "/kit/unknown", BROWSER)
        assert (below.status, below.body) == (404, b'{"ok":false,"detail":"Not Found","field":""}')
        for reply in (
            await get(running, "/tasks/7"),
            await get(running, "/tasks/7", "Accept: */*"),
            await get(running, "/tasks/7", "Accept: application/json"),
            await get(running, "/tasks/7", "Accept: text/html;q=0"),
            await get(running, "/tasks/7", "Accept: text/html;q=nan"),
            await get(running, "/tasks/7", BROWSER, "Content-Length: 0", method="POST"),
        ):
            assert (reply.status, reply.headers["content-type"]) == (404, "application/json")
            assert b'"error":"Not Found"' in reply.body
        assert (await get(running, "/kit/hello", "Content-Length: 0", method="POST")).status == 405


async def test_page_for_unknown_paths_says_that_it_varies_and_is_asked_for_again(dist: Path) -> None:
    async with site(dist) as running:
        page = await get(running, "/tasks/7", BROWSER)
        assert page.headers["vary"] == "accept"
        assert page.headers["cache-control"] == "no-cache"
        again = await get(running, "/tasks/7", BROWSER, f"If-None-Match: {page.headers['etag']}")
        assert (again.status, again.body) == (304, b"")


async def test_folder_without_a_page_answers_404_to_browsers_too(tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    async with site(tmp_path / "dist") as running:
        assert (await get(running, "/tasks/7", BROWSER)).status == 404


async def test_files_have_ranges_etags_types_and_heads(dist: Path, dispatch: Dispatch) -> None:
    async with site(dist, dispatch) as running:
        whole = await get(running, "/assets/app-3f2a.js")
        assert (whole.status, len(whole.body)) == (200, 130_000)
        assert whole.headers["content-type"] == "text/javascript; charset=utf-8"
        assert whole.headers["x-content-type-options"] == "nosniff"
        assert whole.headers["cache-control"] == "no-cache"
        part = await get(running, "/assets/app-3f2a.js", "Range: bytes=4-7")
        assert (part.status, part.body, part.headers["content-range"]) == (206, b"farm", "bytes 4-7/130000")
        kept = await get(running, "/assets/app-3f2a.js", f"If-None-Match: {whole.headers['etag']}")
        assert (kept.status, kept.body) == (304, b"")
        head = await get(running, "/assets/app-3f2a.js", method="HEAD")
        assert (head.status, head.headers["content-length"]) == (200, "130000")
        assert (await get(running, "/assets/a%20b.woff2")).headers["content-type"] == "font/woff2"


async def test_folder_is_answered_by_its_own_page_at_its_own_address(dist: Path) -> None:
    async with site(dist) as running:
        assert (await get(running, "/admin/", BROWSER)).body == b"<title>admin</title>"
        away = await get(running, "/admin?x=1", BROWSER)
        assert (away.status, away.headers["location"]) == (302, "./admin/?x=1")
        # Leading slashes are folded: no page of ours sends a browser to another host.
        away = await get(running, "//admin", BROWSER)
        assert (away.status, away.headers["location"]) == (302, "./admin/")
        assert (await get(running, "/assets/", "Accept: */*")).status == 404


TRAVERSALS = (
    "/../secret.txt",
    "/assets/../../secret.txt",
    "/%2e%2e/secret.txt",
    "/..%2fsecret.txt",
    "/assets/..%2f..%2fsecret.txt",
    "/..%5csecret.txt",
    "/assets//../../secret.txt",
    "/outside",
    "/loop",
    "/hidden",
    "/away/secret.txt",
    "/.env",
    "/%2eenv",
    "/.git/config",
    "/pipe",
    "/" + "x" * 300,
    "/" + "/".join(["y" * 200] * 40),
    "/assets",
    "/assets/app-3f2a.js/",
    "/index.html/x",
)


@pytest.mark.parametrize("target", TRAVERSALS)
async def test_nothing_but_shown_files_of_the_folder_is_ever_sent(dist: Path, target: str) -> None:
    (dist / "outside").symlink_to(dist.parent / "secret.txt")
    (dist / "away").symlink_to(dist.parent)
    (dist / "hidden").symlink_to(dist / ".env")
    (dist / "loop").symlink_to(dist / "loop")
    os.mkfifo(dist / "pipe")
    async with site(dist) as running:
        for headers in ((), (BROWSER,)):
            reply = await get(running, target, *headers)
            assert reply.status == 404 or reply.body == PAGE, (target, reply.raw)
            assert reply.status in {200, 404}


async def test_link_within_the_folder_is_followed(dist: Path) -> None:
    (dist / "current.js").symlink_to(dist / "assets" / "app-3f2a.js")
    async with site(dist) as running:
        assert (await get(running, "/current.js")).status == 200


async def test_site_is_loaded_without_a_credential_and_is_in_no_description(dist: Path) -> None:
    async with site(dist) as running:
        reply = await get(running, "/", BROWSER, "Authorization: Bearer wrong")
        assert reply.body == PAGE
        described = await get(running, "/openapi.json")
        assert b"{path}" not in described.body.replace(b"/kit/tree/{path}", b"")


async def test_websockets_never_reach_the_site(dist: Path) -> None:
    async with site(dist) as running:
        reply = await get(
            running,
            "/live",
            BROWSER,
            "Upgrade: websocket",
            "Connection: upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
        )
        assert reply.status == 404
