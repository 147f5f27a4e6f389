"""Long lists: the same JSON as short ones, made while it is sent, with room for others in between."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.surface import Stream
from appliance.testing import RunningAppliance, running
from plugins.gpu_sharing import codes
from plugins.gpu_sharing.listing import PIECE_AGENTS, WHOLE_MAX, in_pieces
from plugins.gpu_sharing.models import Agent, Worker
from tests.plugins.gpu_sharing.kit import agent, person


async def text_of(stream: Stream) -> tuple[bytes, int]:
    pieces = [piece async for piece in stream.chunks]
    return b"".join(pieces), len(pieces)


@pytest.mark.parametrize("count", [0, 1, PIECE_AGENTS, PIECE_AGENTS + 1, 3 * PIECE_AGENTS])
async def test_pieces_are_one_list_in_order(count: int) -> None:
    text, pieces = await text_of(in_pieces("things", range(count), lambda number: [{"n": number}, None]))
    assert json.loads(text) == {"things": [one for number in range(count) for one in ({"n": number}, None)]}
    assert pieces == -(-count // PIECE_AGENTS) + 1


async def test_agents_without_items_leave_no_hole() -> None:
    numbers = range(4 * PIECE_AGENTS)
    text, _ = await text_of(in_pieces("few", numbers, lambda number: [number] * (number in (0, 2 * PIECE_AGENTS))))
    assert json.loads(text) == {"few": [0, 2 * PIECE_AGENTS]}
    assert (await text_of(in_pieces("none", numbers, lambda number: ())))[0] == b'{"none":[]}'


async def test_others_have_their_turn_between_two_pieces() -> None:
    made, seen = list[int](), list[int]()

    def items_of(number: int) -> list[int]:
        made.append(number)
        return [number]

    async def look() -> None:
        while len(made) < 20 * PIECE_AGENTS:
            seen.append(len(made))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await text_of(in_pieces("things", range(20 * PIECE_AGENTS), items_of))
    assert len(set(seen)) > 10


async def test_nothing_is_made_before_it_is_asked_for() -> None:
    made = list[int]()

    def items_of(number: int) -> list[int]:
        made.append(number)
        return [number]

    pieces = in_pieces("things", range(3 * PIECE_AGENTS), items_of).chunks
    assert made == []
    for count in (1, 2, 3):
        await anext(pieces)
        assert len(made) == count * PIECE_AGENTS
    assert [piece async for piece in pieces] == [b"]}"]


# ---------------------------------------------------------------- over whole requests


@pytest.fixture
async def appliance(tmp_path: Path) -> AsyncIterator[RunningAppliance]:
    async with running(tmp_path) as one:
        yield one


def _another(of: Agent) -> Agent:
    """Return an agent of the same owner that has two workers."""
    made = Agent(
        agent_id=codes.new_agent_id(),
        owner=of.owner,
        hostname="one of many",
        os="linux",
        arch="amd64",
        gpus=of.gpus,
        host_id="",
        created_unix_us=of.created_unix_us,
    )
    for place in range(2):
        worker = Worker(
            worker_id=codes.new_worker_id(),
            agent_id=made.agent_id,
            name=f"part {place}",
            gpu_ids=("GPU-0",),
            listen_port=9001 + place,
            created_unix_us=of.created_unix_us,
        )
        made.workers[worker.worker_id] = worker
    return made


@pytest.mark.parametrize("more", [WHOLE_MAX - 1, WHOLE_MAX], ids=["at once", "in pieces"])
async def test_list_of_many_agents_is_that_of_each(appliance: RunningAppliance, more: int) -> None:
    ana = await person(appliance)
    first = await agent(ana)
    state = appliance.running.plugins.parts["gpu_sharing"].surfaces[0].state
    known = state.book.agent(first.agent_id)
    for _ in range(more):
        state.book._keep(_another(known))
    reply = await ana.get("/api/v1/agents")
    assert reply.headers["content-type"] == "application/json"
    assert ("content-length" in reply.headers) == (more < WHOLE_MAX)
    shown: list[Any] = reply.json["agents"]
    assert [each["agent_id"] for each in shown] == [each.agent_id for each in state.book.agents(known.owner)]
    assert len(shown) == more + 1
    assert shown[0] == await first.shown()
    assert shown[-1] == await ana.read(f"/api/v1/agents/{shown[-1]['agent_id']}")
    workers = await ana.read("/api/v1/workers")
    assert workers["workers"] == [worker for each in shown for worker in each["workers"]]
    await ana.read("/api/v1/agents")  # the connection goes on
