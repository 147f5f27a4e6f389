"""What the push proxy is told: every version of a configuration, workers to restart, and that an agent is gone."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from appliance.credentials.kinds import Kind
from plugins.gpu_sharing.pushing import AgentChanges
from tests.plugins.gpu_sharing.parts import Parts, opened


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    async with opened(tmp_path) as one:
        yield one


@pytest.fixture
def changes(parts: Parts) -> AgentChanges:
    made = AgentChanges(parts.core, parts.book)
    parts.book.changed = made.tell
    return made


async def test_present_version_comes_first_and_then_each_greater_one(
    parts: Parts, changes: AgentChanges, autojump_clock: MockClock
) -> None:
    agent = await parts.agent()
    told: list[int] = []
    expected = [agent.config_version]

    async def listen() -> None:
        async for version in changes.subscribe(agent.agent_id):
            told.append(version)

    with trio.fail_after(1):  # far less than the pause after which a silent stream looks again
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await trio.sleep(0.1)
            for _ in range(3):
                await parts.book.store_agent(agent, bumped=True)
                expected.append(agent.config_version)
                await trio.sleep(0.1)
            changes.tell(agent)
            await trio.sleep(0.1)
            assert told == expected
            await parts.book.delete_agent(agent)


async def test_all_who_listen_to_an_agent_hear_of_its_change(
    parts: Parts, changes: AgentChanges, autojump_clock: MockClock
) -> None:
    agent, other = await parts.agent(), await parts.agent()
    told: list[str] = []

    async def listen(agent_id: str) -> None:
        async for _ in changes.subscribe(agent_id):
            told.append(agent_id)

    async with trio.open_nursery() as nursery:
        for agent_id in (agent.agent_id, agent.agent_id, other.agent_id):
            nursery.start_soon(listen, agent_id)
        await trio.sleep(0.1)
        assert len(told) == 3
        await parts.book.store_agent(agent, bumped=True)
        await trio.sleep(0.1)
        assert told[3:] == [agent.agent_id] * 2
        nursery.cancel_scope.cancel()


async def test_stream_of_an_agent_that_is_not_there_ends_at_once(parts: Parts, changes: AgentChanges) -> None:
    assert [version async for version in changes.subscribe("agent_nobody")] == []
    assert [workers async for workers in changes.restarts("agent_nobody")] == []
    assert not changes.knows("agent_nobody")


async def test_workers_to_restart_are_told_once_to_an_agent_that_listens(
    parts: Parts, changes: AgentChanges, autojump_clock: MockClock
) -> None:
    agent = await parts.agent()
    changes.restart(agent, "nobody hears this")
    told: list[list[str]] = []

    async def listen() -> None:
        async for workers in changes.restarts(agent.agent_id):
            told.append(list(workers))

    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await trio.sleep(0.1)
            changes.restart(agent, "worker_1")
            await trio.sleep(0.1)
            changes.restart(agent, "worker_2")
            await trio.sleep(0.1)
            await parts.book.delete_agent(agent)
    assert told == [["worker_1"], ["worker_2"]]


async def test_secret_of_an_agent_that_is_there_is_all_that_counts(parts: Parts, changes: AgentChanges) -> None:
    token = await parts.secret()
    agent = parts.new(token)
    secret = await parts.book.join(agent, token)
    assert changes.authenticate(secret) == agent.agent_id
    stray = await parts.credentials.create(Kind.AGENT, subject="agent_nobody")
    pat = await parts.credentials.create(Kind.PAT, subject=agent.agent_id)
    for wrong in ("", "nonsense", token, stray.secret, pat.secret):
        assert changes.authenticate(wrong) is None
    await parts.book.delete_agent(agent)
    assert changes.authenticate(secret) is None
