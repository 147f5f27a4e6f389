"""Which endpoint answers which path."""

from typing import Any

import pytest

from appliance.errors import Busy, MethodNotAllowed, PathNotFound
from appliance.http.paths import NotAPath, pattern_of, segments_of, split_target
from appliance.http.routing import ClaimConflict, Table
from appliance.surface import Call, Slash, Socket, Surface


def surface(name: str, *claims: str, slash: Slash = "exact", prefixes: tuple[str, ...] = ()) -> Surface:
    made = Surface(name, slash=slash, prefixes=prefixes)

    async def handler(call: Call[None]) -> None:
        """Answer nothing."""

    async def talk(call: Call[None], socket: Socket) -> None:
        """Say nothing."""

    for claim in claims:
        method, _, path = claim.partition(" ")
        if method == "WS":
            made.websocket(path)(talk)
        else:
            getattr(made, method.lower())(path)(handler)
    return made


def table(*surfaces: Surface) -> Table:
    return Table.build([one.bind(None) for one in surfaces])


def found(routes: Table, method: str, path: bytes) -> Any:
    match = routes.match(method, path)
    return (match.route.endpoint.path, match.values) if match.route else type(match.failure)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (surface("a", "GET /x"), surface("b", "GET /x")),
        (surface("a", "GET /x/{id}"), surface("b", "GET /x/{name}")),
        (surface("a", "GET /x", slash="both"), surface("b", "GET /x/")),
        (surface("a", "GET /x/", slash="strip"), surface("b", "GET /x")),
        (surface("a", "WS /x"), surface("b", "WS /x")),
        (surface("a", "GET /{path:path}"), surface("b", "GET /{rest:path}")),
    ],
)
def test_two_claims_on_one_path_are_refused_naming_both(first: Surface, second: Surface) -> None:
    with pytest.raises(ClaimConflict, match=r"by surface a .*by surface b"):
        table(first, second)


def test_page_and_websocket_may_share_a_path() -> None:
    routes = table(surface("a", "GET /x", "WS /x"))
    assert routes.match("GET", b"/x").route is not routes.match("GET", b"/x", websocket=True).route


def test_literal_comes_before_name_and_name_before_rest() -> None:
    routes = table(surface("a", "GET /x/{path:path}", "GET /x/{id}", "GET /x/one", "GET /x/{id}/end"))
    assert found(routes, "GET", b"/x/one") == ("/x/one", {})
    assert found(routes, "GET", b"/x/two") == ("/x/{id}", {"id": "two"})
    assert found(routes, "GET", b"/x/one/end") == ("/x/{id}/end", {"id": "one"})
    assert found(routes, "GET", b"/x/one/else") == ("/x/{path:path}", {"path": "one/else"})


def test_methods_of_one_path_may_name_it_differently() -> None:
    routes = table(surface("a", "GET /x/{id}"), surface("b", "PUT /x/{name}"))
    assert found(routes, "PUT", b"/x/7") == ("/x/{name}", {"name": "7"})
    failure = routes.match("DELETE", b"/x/7").failure
    assert isinstance(failure, MethodNotAllowed)
    assert failure.allowed == ("GET", "HEAD", "OPTIONS", "PUT")


@pytest.mark.parametrize(
    ("slash", "hits", "misses"),
    [
        ("exact", [b"/x"], [b"/x/", b"/x//"]),
        ("both", [b"/x", b"/x/"], [b"/x//"]),
        ("strip", [b"/x", b"/x/", b"/x///"], [b"/xx/"]),
    ],
)
def test_trailing_slashes_follow_the_surface(slash: Slash, hits: list[bytes], misses: list[bytes]) -> None:
    routes = table(surface("a", "GET /x", slash=slash))
    assert [found(routes, "GET", path) for path in hits] == [("/x", {})] * len(hits)
    assert [found(routes, "GET", path) for path in misses] == [PathNotFound] * len(misses)


def test_declared_trailing_slash_is_reached_without_it_only_where_the_surface_says_so() -> None:
    assert found(table(surface("a", "POST /x/")), "POST", b"/x") is PathNotFound
    assert found(table(surface("a", "POST /x/", slash="both")), "POST", b"/x") == ("/x/", {})
    assert found(table(surface("a", "POST /x/", slash="strip")), "POST", b"/x") == ("/x/", {})


def test_unclaimed_path_belongs_to_the_longest_prefix() -> None:
    routes = table(surface("a", "GET /x/1", prefixes=("/x",)), surface("b", "GET /x/y/1", prefixes=("/x/y",)))
    assert [getattr(routes.match("GET", path).surface, "name", None) for path in (b"/x/q", b"/x/y/q", b"/xx")] == [
        "a",
        "b",
        None,
    ]


async def test_unavailable_surface_answers_busy_on_all_its_paths() -> None:
    down = surface("down", "POST /down/a", "GET /elsewhere/{id}", prefixes=("/down",))
    routes = Table.build([surface("up", "GET /up").bind(None)], [(down, "its settings are wrong")])
    for method, path in (("POST", b"/down/a"), ("GET", b"/down"), ("DELETE", b"/down/x/y"), ("GET", b"/elsewhere/7")):
        route = routes.match(method, path).route
        assert route is not None
        with pytest.raises(Busy, match="its settings are wrong"):
            await route.endpoint.handler(Call(head=None, body=None))  # type: ignore[arg-type]


def test_unavailable_surface_never_takes_a_path_from_another() -> None:
    down = surface("down", "GET /x", prefixes=("/",))
    routes = Table.build([surface("up", "GET /x").bind(None)], [(down, "off")])
    match = routes.match("GET", b"/x")
    assert match.surface is not None
    assert match.surface.name == "up"


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/a?b=c?d", b"/a", b"b=c?d"),
        (b"//a//b", b"/a//b", b""),
        (b"///", b"/", b""),
        (b"/%2F/a", b"/%2F/a", b""),
    ],
)
def test_only_leading_double_slashes_are_folded(target: bytes, path: bytes, query: bytes) -> None:
    assert split_target(target) == (path, query)


@pytest.mark.parametrize("path", [b"a", b"http://x/a", b"*", b"/%ff", b"/%c3%28", b"/a%00", b"/" + b"a/" * 100])
def test_what_is_no_path_is_refused(path: bytes) -> None:
    with pytest.raises(NotAPath):
        segments_of(path)


def test_segments_are_decoded_once() -> None:
    assert segments_of(b"/a%2520b/c%2Fd/%C3%A9/") == ["a%20b", "c/d", "é", ""]


@pytest.mark.parametrize("path", ["x", "/{a}b", "/{a:int}", "/{path:path}/x", "/{}", "/a{b"])
def test_wrong_pattern_is_a_programming_error(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        pattern_of(path)
