"""Upkeep: workers that stop without a word, shares that are over, agents that fall silent, and what is forgotten."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from plugins.gpu_sharing import life, store
from plugins.gpu_sharing.models import Agent, Peer, Worker
from plugins.gpu_sharing.upkeep import Upkeep
from plugins.gpu_sharing.wire.reports import AgentStatusReportRequest, WorkerStatusReport
from tests.plugins.gpu_sharing.kit import AT
from tests.plugins.gpu_sharing.parts import Parts, default_of, opened


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    async with opened(tmp_path) as one:
        yield one


@pytest.fixture
def upkeep(parts: Parts) -> Upkeep:
    return Upkeep(parts.core, parts.book)


async def report(parts: Parts, agent: Agent, *workers: Worker, event: str | None = None) -> None:
    said = [WorkerStatusReport(worker_id=worker.worker_id, status="running", pid=7) for worker in workers]
    body = AgentStatusReportRequest(timestamp=AT, gpus=[], workers=said, event=event)
    await parts.intake.take(agent, body, reported_from="")


async def stopping(parts: Parts) -> tuple[Agent, Worker]:
    """Return an agent whose worker ran and was disabled."""
    agent = await parts.agent()
    worker = default_of(agent)
    await report(parts, agent, worker)
    worker.connections = {Peer(client_ip="198.51.100.1"): 1}
    await parts.book.update_worker(agent, worker, {"enabled": False})
    assert worker.status == "stopping"
    return agent, worker


# ---------------------------------------------------------------- workers


async def test_stopping_worker_has_stopped_once_its_agent_knows_and_reports_without_it(
    parts: Parts, upkeep: Upkeep
) -> None:
    agent, worker = await stopping(parts)
    parts.now.advance(1)
    await report(parts, agent)
    await upkeep.look()
    assert worker.status == "stopping", "the agent has not fetched its configuration yet"
    parts.now.advance(1)
    agent.fetched_us = parts.book.clock()
    parts.now.advance(1)
    await report(parts, agent, worker)
    await upkeep.look()
    assert worker.status == "stopping", "it still reports it"
    parts.now.advance(1)
    await report(parts, agent)
    await upkeep.look()
    assert (worker.status, worker.pid, worker.connections) == ("stopped", None, {})
    parts.restart()
    assert parts.book.worker(worker.worker_id).status == "stopped"


async def test_stopping_worker_of_a_silent_agent_has_stopped_after_two_minutes(parts: Parts, upkeep: Upkeep) -> None:
    _, worker = await stopping(parts)
    parts.now.advance(life.STOPPING_SECONDS - 1)
    await upkeep.look()
    assert worker.status == "stopping"
    parts.now.advance(1)
    await upkeep.look()
    assert worker.status == "stopped"


async def test_worker_that_was_stopping_before_a_restart_gets_two_minutes_anew(parts: Parts) -> None:
    _, before = await stopping(parts)
    parts.restart()
    upkeep, worker = Upkeep(parts.core, parts.book), parts.book.worker(before.worker_id)
    parts.now.advance(1000)
    await upkeep.look()
    assert worker.status == "stopping"
    parts.now.advance(life.STOPPING_SECONDS)
    await upkeep.look()
    assert worker.status == "stopped"


async def test_stopping_worker_of_this_host_is_its_runners_to_end(parts: Parts, upkeep: Upkeep) -> None:
    agent, worker = await stopping(parts)
    agent.is_local = True
    parts.now.advance(1000)
    await upkeep.look()
    assert worker.status == "stopping"


# ---------------------------------------------------------------- shares


async def test_share_that_is_over_raises_its_agents_version_once(parts: Parts, upkeep: Upkeep) -> None:
    agent = await parts.agent()
    for seconds in (10, 10, 20):
        await parts.share(default_of(agent), expires_unix_us=parts.now() + seconds * 1_000_000)
    await upkeep.look()
    before = agent.config_version
    parts.now.advance(10)
    await upkeep.look()
    first = agent.config_version
    assert first > before
    await upkeep.look()
    assert agent.config_version == first
    parts.now.advance(10)
    await upkeep.look()
    assert agent.config_version > first
    stored = parts.database.read_now(
        lambda conn: conn.execute("SELECT config_version FROM gpu_sharing_agent").fetchone()
    )
    assert stored == (agent.config_version,)


async def test_share_that_expires_is_told_of_once_and_not_again_after_a_restart(parts: Parts, upkeep: Upkeep) -> None:
    agent = await parts.agent(hostname="gpu-box")
    share = await parts.share(default_of(agent), expires_unix_us=parts.now() + 10_000_000)
    await upkeep.look()
    assert await parts.told() == []
    parts.now.advance(10)
    await upkeep.look()
    await upkeep.look()
    (event,) = await parts.told()
    assert (event.kind, event.level, event.subject) == ("sharing.share.expired", "info", agent.host_id)
    assert event.message == f"the share {share.share_id} of agent gpu-box has expired"
    assert event.data == {"share_id": share.share_id}
    parts.restart()
    after = Upkeep(parts.core, parts.book)
    await after.look()
    await after.look()
    assert len(await parts.told()) == 1


async def test_share_that_expired_while_we_were_down_is_told_of_at_the_start_and_once(parts: Parts) -> None:
    agent = await parts.agent(hostname="gpu-box")
    share = await parts.share(default_of(agent), expires_unix_us=parts.now() + 10_000_000)
    await Upkeep(parts.core, parts.book).look()
    for _ in range(2):
        parts.restart()
        parts.now.advance(10)
        await Upkeep(parts.core, parts.book).look()
        assert [event.data for event in await parts.told()] == [{"share_id": share.share_id}]


async def test_share_that_is_deleted_while_its_end_is_told_stays_deleted(parts: Parts) -> None:
    agent = await parts.agent()
    share = await parts.share(default_of(agent), expires_unix_us=parts.now() + 10_000_000)
    await parts.book.delete_share(share)
    await parts.database.write(lambda connection: store.put_over(connection, {share.share_id: 1}))
    assert await parts.database.read(store.over) == {}


async def test_many_shares_that_expire_at_once_are_one_sentence(parts: Parts, upkeep: Upkeep) -> None:
    agent = await parts.agent()
    for _ in range(11):
        await parts.share(default_of(agent), expires_unix_us=parts.now() + 10_000_000)
    await upkeep.look()
    parts.now.advance(10)
    await upkeep.look()
    assert [event.message for event in await parts.told()] == ["11 shares have expired"]


# ---------------------------------------------------------------- agents


async def test_agent_that_falls_silent_and_comes_back_is_told_of_once_each(parts: Parts, upkeep: Upkeep) -> None:
    agent = await parts.agent(hostname="gpu-box")
    await upkeep.look()
    await report(parts, agent)
    for _ in range(2):
        await upkeep.look()
    parts.now.advance(life.OFFLINE_SECONDS)
    for _ in range(2):
        await upkeep.look()
    await report(parts, agent)
    await upkeep.look()
    await report(parts, agent, event="shutdown")
    await upkeep.look()
    assert [(event.kind, event.level, event.message) for event in await parts.told()] == [
        ("sharing.agent.online", "info", "agent gpu-box is online"),
        ("sharing.agent.offline", "warning", "agent gpu-box has not reported for three minutes"),
        ("sharing.agent.online", "info", "agent gpu-box is online"),
        ("sharing.agent.offline", "info", "agent gpu-box has shut down"),
    ]


async def test_start_tells_nothing_of_agents_that_are_as_they_were(parts: Parts) -> None:
    agent = await parts.agent()
    await report(parts, agent)
    await parts.book.write_behind()
    parts.restart()
    await Upkeep(parts.core, parts.book).look()
    assert await parts.told() == []


async def test_many_agents_that_go_at_once_are_one_sentence(parts: Parts, upkeep: Upkeep) -> None:
    agents = [await parts.agent(gpus=0) for _ in range(11)]
    for agent in agents:
        await report(parts, agent)
    await upkeep.look()
    parts.now.advance(life.OFFLINE_SECONDS)
    await upkeep.look()
    for agent in agents:
        await report(parts, agent)
    await upkeep.look()
    assert [(event.level, event.message) for event in await parts.told(("sharing.agents.changed",))] == [
        ("warning", "11 agents are offline, 0 are online again"),
        ("info", "0 agents are offline, 11 are online again"),
    ]
    assert len(await parts.told()) == 2


# ---------------------------------------------------------------- the service


async def test_who_lives_is_written_every_five_seconds_and_at_the_end(
    parts: Parts, upkeep: Upkeep, autojump_clock: MockClock
) -> None:
    agent = await parts.agent()

    def stored() -> int | None:
        row = parts.database.read_now(
            lambda conn: conn.execute("SELECT last_seen_unix_us FROM gpu_sharing_agent").fetchone()
        )
        return None if row is None else row[0]

    async with trio.open_nursery() as nursery:
        await nursery.start(upkeep.run)
        await trio.sleep(0.5)
        parts.book.heard(agent, reported_from="")
        await trio.sleep(2)
        assert stored() is None
        await trio.sleep(4)
        assert stored() == parts.now()
        parts.now.advance(1)
        parts.book.heard(agent, reported_from="")
        nursery.cancel_scope.cancel()
    assert stored() == parts.now()


async def test_old_redemptions_and_install_tokens_are_forgotten(parts: Parts, upkeep: Upkeep) -> None:
    share = await parts.share(default_of(await parts.agent()))

    for age_hours, name in ((1, "new"), (25, "day"), (8 * 24, "week")):
        at = parts.now() - age_hours * 3_600_000_000

        def write(connection: sqlite3.Connection, at: int = at, name: str = name) -> None:
            store.redeemed(connection, share.share_id, name, now_unix_us=at)
            store.put_install(connection, token_id=name, owner="ana", expires_unix_us=at)

        await parts.database.write(write)
    await upkeep.prune()
    left = parts.database.read_now(lambda conn: store.redemptions(conn, 0))
    assert [address for _, address, _ in left] == ["new"]
    known = parts.database.read_now(
        lambda conn: [name for name in ("new", "day", "week") if store.install(conn, name) is not None]
    )
    assert known == ["new", "day"]
