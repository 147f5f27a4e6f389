"""The description of a listener says what the listener does."""

import json
from pathlib import Path
from typing import Annotated, Any

import msgspec
from attrs import Factory, field, frozen
from attrs.validators import deep_iterable, ge, in_, le, matches_re, max_len, optional
from openapi_spec_validator import OpenAPIV31SpecValidator

from appliance.http.docs import FILES
from appliance.http.openapi import document
from appliance.http.routing import Table
from appliance.surface import Call, Surface
from tests.appliance.http.edge_kit import State, make_surface, request, serving


@frozen(kw_only=True)
class Part:
    size: int = field(validator=[ge(1), le(9)])


@frozen(kw_only=True)
class Everything:
    name: str = field(validator=matches_re("[a-z]+"))
    level: str = field(default="info", validator=in_(("info", "warning")))
    note: str | None = field(default=None, validator=optional(max_len(80)))
    parts: list[Part] = Factory(list)
    counts: list[int] = field(factory=list, validator=deep_iterable(ge(2), max_len(5)))


class Hot(msgspec.Struct):
    """A body of a hot path."""

    package: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    kept: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that holds parts."""

    parts: tuple[Part, ...]
    before: "Answered | None" = None


def described(tmp_path: Path) -> dict[str, Any]:
    api = Surface("more")

    @api.post("/more/{thing}/{path:path}", body=Everything, answer=Part)
    async def more(call: Call[Everything]) -> Part:
        """Take everything.

        And say what part it was.
        """
        return Part(size=1)

    @api.post("/hot", body=Hot)
    async def hot(call: Call[Hot]) -> None:
        """Take what is hot."""

    table = Table.build([make_surface().bind(State(folder=tmp_path)), api.bind(None)])
    return document(table.routes)


def test_document_is_valid_openapi(tmp_path: Path) -> None:
    found = described(tmp_path)
    assert list(OpenAPIV31SpecValidator(found).iter_errors()) == []
    assert found["openapi"] == "3.1.0"


def test_document_says_what_validators_demand(tmp_path: Path) -> None:
    schemas = described(tmp_path)["components"]["schemas"]
    properties = schemas["Everything"]["properties"]
    assert properties["name"]["pattern"] == "^(?:[a-z]+)$"
    assert properties["level"]["enum"] == ["info", "warning"]
    assert properties["note"]["anyOf"][0]["maxLength"] == 80
    assert properties["counts"]["items"]["minimum"] == 2
    assert (schemas["Part"]["properties"]["size"]["minimum"], schemas["Part"]["properties"]["size"]["maximum"]) == (
        1,
        9,
    )
    assert schemas["Gpu"]["properties"]["vram_mb"]["minimum"] == 0


def test_document_describes_bodies_that_msgspec_reads(tmp_path: Path) -> None:
    found = described(tmp_path)
    body = found["paths"]["/hot"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/Hot"}
    hot = found["components"]["schemas"]["Hot"]
    assert (hot["required"], hot["properties"]["package"]["maxLength"]) == (["package"], 255)


def test_document_has_path_and_query_parameters(tmp_path: Path) -> None:
    paths = described(tmp_path)["paths"]
    named = paths["/more/{thing}/{path}"]["post"]["parameters"]
    assert [(one["name"], one["in"], one["required"]) for one in named] == [
        ("thing", "path", True),
        ("path", "path", True),
    ]
    query = {one["name"]: one for one in paths["/kit/page"]["get"]["parameters"]}
    assert query["limit"]["schema"]["minimum"] == 1
    assert query["limit"]["required"] is False


async def test_document_and_page_are_served_without_any_other_origin(tmp_path: Path) -> None:
    async with serving(tmp_path) as running:
        client = await running.connect()
        answer = await client.ask(request("GET", "/openapi.json"))
        assert "/kit/beat" in json.loads(answer.body)["paths"]
        page = await client.ask(request("GET", "/docs"))
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert b"://" not in page.body
        for name in FILES:
            asset = await client.ask(request("GET", f"/docs/static/{name}"))
            assert asset.status == 200
            assert b"://" not in asset.body
        assert (await client.ask(request("GET", "/docs/static/docs.html"))).status == 404


def test_bounds_of_what_an_answer_of_msgspec_holds_are_described(tmp_path: Path) -> None:
    api = Surface("answers")

    @api.get("/answered", answer=Answered)
    async def answered(call: Call[None]) -> Answered:
        """Show parts."""
        return Answered(parts=())

    schemas = document(Table.build([api.bind(None)]).routes)["components"]["schemas"]
    assert schemas["Part"]["properties"]["size"] == {"type": "integer", "minimum": 1, "maximum": 9}
