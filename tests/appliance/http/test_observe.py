"""A surface that wants to know is told of every answer, and nothing that goes wrong there reaches the client."""

from pathlib import Path
from typing import Any

import pytest

from appliance.credentials.kinds import Kind
from appliance.surface import Call, Head, Surface
from tests.appliance.http.edge_kit import request, serving

ANYONE = frozenset(Kind)
Seen = list[tuple[Any, str, bytes, int, bytes]]


def observed(seen: Seen, *, fails: bool = False) -> Surface:
    def observe(state: Any, head: Head, body: bytes, status: int, answer: bytes, seconds: float) -> None:
        assert 0 <= seconds < 3600
        seen.append((state, head.path, body, status, answer))
        if fails:
            raise RuntimeError("the log is full")

    surface = Surface("watched", prefixes=("/watched",), observe=observe)

    @surface.post("/watched/echo", caller=ANYONE, access="public", body=None)
    async def echo(call: Call[None]) -> dict[str, int]:
        return {"bytes": len(call.raw)}

    @surface.get("/watched/keyed", caller=ANYONE)
    async def keyed(call: Call[None]) -> None:
        return None

    return surface


@pytest.mark.parametrize("dispatch", ["quart-asgi", "direct", "front"])
async def test_observer_is_told_of_answers_and_refusals(tmp_path: Path, dispatch: Any) -> None:
    seen: Seen = []
    async with serving(tmp_path, dispatch=dispatch, surfaces=[observed(seen).bind("state")]) as running:
        client = await running.connect()
        assert (await client.ask(request("POST", "/watched/echo", body=b"{}"))).status == 200
        assert (await client.ask(request("GET", "/watched/none"))).status == 404
    assert seen == [("state", "/watched/echo", b"{}", 200, b'{"bytes":2}')]


async def test_observer_that_fails_costs_no_answer(tmp_path: Path, logged: list[dict[str, Any]]) -> None:
    seen: Seen = []
    async with serving(tmp_path, surfaces=[observed(seen, fails=True).bind(None)]) as running:
        client = await running.connect()
        assert (await client.ask(request("POST", "/watched/echo", body=b"1"))).status == 200
    assert len(seen) == 1
    assert [entry["event"] for entry in logged if entry.get("log_level") == "error"] == ["answer could not be observed"]
