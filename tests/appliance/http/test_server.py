"""The edge against real sockets, over each way of dispatch."""

from pathlib import Path

import pytest

from appliance.http.server import Dispatch
from tests.appliance.http.edge_kit import WAYS, request, serving


@pytest.fixture(params=WAYS)
def dispatch(request: pytest.FixtureRequest) -> Dispatch:
    way: Dispatch = request.param
    return way


async def test_declared_get_answers_and_keeps_the_connection(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        for _ in range(3):
            reply = await client.ask(request("GET", "/kit/hello"))
            assert (reply.status, reply.body) == (200, b'{"hello":"world"}')
            reply = await client.ask(
                request("POST", "/kit/beat", body=b'{"host":"a","gpus":[{"name":"x","vram_mb":1}]}')
            )
            assert (reply.status, reply.body) == (201, b'{"gpus":1,"host":"a"}')
