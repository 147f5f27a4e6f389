"""Server-sent events over real sockets."""

from pathlib import Path

import pytest
import trio

from appliance.credentials.kinds import Caller
from appliance.http.limits import Limits
from appliance.http.server import Dispatch, Edge
from appliance.http.streams import encode_event
from appliance.surface import ServerEvent
from tests.appliance.http.edge_kit import authenticate, request, serving

EVENTS = request("GET", "/kit/events")


async def test_stream_sends_events_and_ends_with_its_generator(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        await client.send(EVENTS)
        head = await client.until(b"\r\n\r\n")
        assert b"200" in head.splitlines()[0]
        assert b"text/event-stream" in head
        assert b'id: a b\nevent: sample\ndata: {"n":1}\n\n' in await client.until(b"\n\n")
        running.state.release.set()
        assert b'data: {"n":2}\n\n' in await client.until(b"0\r\n\r\n")
        assert running.state.closed_streams == 1
        assert (await client.ask(request("GET", "/kit/hello"))).status == 200


async def test_stream_ends_its_generator_when_the_client_goes_away(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        await client.send(EVENTS)
        await client.until(b'{"n":1}')
        await trio.aclose_forcefully(client.stream)
        with trio.fail_after(30):
            await running.state.stream_closed.wait()


async def test_stream_beats_while_nothing_happens(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=Limits(stream_heartbeat_seconds=0.05)) as running:
        client = await running.connect()
        await client.send(EVENTS)
        await client.until(b'{"n":1}')
        for _ in range(2):
            await client.until(b": \n\n")


async def test_stream_ends_when_its_credential_is_gone(tmp_path: Path) -> None:
    valid = True

    def still_valid(caller: Caller) -> bool:
        return valid

    edge = Edge(authenticate=authenticate, still_valid=still_valid)
    async with serving(tmp_path, edge=edge, limits=Limits(stream_recheck_seconds=0.05)) as running:
        client = await running.connect()
        await client.send(EVENTS)
        await client.until(b'{"n":1}')
        valid = False
        await client.until(b"0\r\n\r\n")
        assert running.state.closed_streams == 1


async def test_stream_ends_at_once_when_the_server_stops(tmp_path: Path) -> None:
    async with serving(tmp_path, limits=Limits(drain_seconds=600)) as running:
        client = await running.connect()
        await client.send(EVENTS)
        await client.until(b'{"n":1}')
        running.nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            assert await client.is_closed()


async def test_stream_that_fails_before_its_first_event_answers_in_the_surfaces_shape(
    tmp_path: Path, dispatch: Dispatch
) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        reply = await client.ask(request("GET", "/kit/events/none"))
        assert (reply.status, reply.body) == (409, b'{"ok":false,"detail":"no events today","field":""}')


@pytest.mark.parametrize("method", ["HEAD", "POST"])
async def test_stream_answers_other_methods_like_any_path(tmp_path: Path, dispatch: Dispatch, method: str) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        reply = await client.ask(request(method, "/kit/events"), head_only=method == "HEAD")
        assert reply.status == {"HEAD": 200, "POST": 405}[method]


async def test_refused_caller_gets_no_stream(tmp_path: Path, dispatch: Dispatch) -> None:
    async with serving(tmp_path, dispatch=dispatch) as running:
        client = await running.connect()
        reply = await client.ask(request("GET", "/kit/events", "Authorization: Bearer wrong"))
        assert reply.status == 401


def test_event_never_splits_into_two() -> None:
    event = ServerEvent(data={"text": "a\nb\r\n\ndata: c"}, event="x\ndata: evil", event_id="1\r\nretry: 1")
    lines = encode_event(event).split(b"\n")
    assert [line.partition(b":")[0] for line in lines] == [b"id", b"event", b"data", b"", b""]
