"""Agents, workers and shares in memory and on disk: what is acknowledged is durable, and what is deleted stays so."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from attrs import evolve

from appliance.credentials.kinds import Kind
from appliance.plugin import Conflict, Forbidden, Gone, NotAuthenticated, NotFound
from plugins.gpu_sharing.models import Agent, Peer, Worker
from plugins.gpu_sharing.plans import Plan
from plugins.gpu_sharing.wire.reports import AgentStatusReportRequest, WorkerStatusReport
from tests.plugins.gpu_sharing.kit import AT
from tests.plugins.gpu_sharing.parts import Parts, default_of, opened


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    async with opened(tmp_path) as one:
        yield one


def snapshot(parts: Parts) -> Any:
    """Return everything that is durable of agents, workers and shares, as a new run reads it."""
    return in_memory(evolve(parts))


def in_memory(parts: Parts) -> Any:
    """Return everything that is known of agents, workers and shares."""
    return (
        sorted((each.agent_id, each.hostname, sorted(each.workers)) for each in parts.book.agents()),
        sorted(
            (each.worker_id, each.name, each.enabled, str(each.status), each.gpu_ids, list(each.connections.items()))
            for each in parts.book.workers()
        ),
        sorted((each.share_id, each.short_code, each.used_count, each.relay_port) for each in parts.book.shares()),
    )


def running(worker: Worker, **given: Any) -> AgentStatusReportRequest:
    said = WorkerStatusReport(worker_id=worker.worker_id, status="running", pid=7, **given)
    return AgentStatusReportRequest(timestamp=AT, gpus=[], workers=[said])


async def together(*calls: Any) -> list[Exception]:
    """Run all of them at once and return what they raised."""
    failures: list[Exception] = []

    async def one(call: Any) -> None:
        try:
            await call()
        except Exception as error:
            failures.append(error)

    async with trio.open_nursery() as nursery:
        for call in calls:
            nursery.start_soon(one, call)
    return failures


# ---------------------------------------------------------------- joining


async def test_new_agent_is_nothing_until_it_joins(parts: Parts) -> None:
    secret = await parts.secret()
    made = parts.new(secret)
    assert parts.book.agents() == []
    given = await parts.book.join(made, secret)
    assert parts.book.agents() == [made]
    assert default_of(made).gpu_ids == ("GPU-0",)
    found = parts.credentials.find(given, frozenset({Kind.AGENT}))
    assert found is not None
    assert found.subject == made.agent_id
    assert snapshot(parts) == in_memory(parts)


async def test_token_joins_once_however_many_try_at_once(parts: Parts) -> None:
    secret = await parts.secret()
    made = [parts.new(secret, hostname=f"box-{number}") for number in range(5)]
    failures = await together(*(lambda one=one: parts.book.join(one, secret) for one in made))
    assert [type(each) for each in failures] == [NotAuthenticated] * 4
    assert len(parts.book.agents()) == 1
    assert snapshot(parts) == in_memory(parts)
    with pytest.raises(NotAuthenticated):
        parts.new(secret)


async def test_last_place_of_a_plan_is_given_to_one_agent_though_tokens_differ(parts: Parts) -> None:
    parts.plan = Plan(name="small", agents=1)
    secrets = [await parts.secret() for _ in range(4)]
    made = [parts.new(secret) for secret in secrets]
    pairs = zip(made, secrets, strict=True)
    failures = await together(*(lambda pair=pair: parts.book.join(*pair) for pair in pairs))
    assert [type(each) for each in failures] == [Forbidden] * 3
    assert len(parts.book.agents()) == 1


async def test_last_worker_of_a_plan_is_made_once_though_agents_differ(parts: Parts) -> None:
    agents = [await parts.agent() for _ in range(3)]
    parts.plan = Plan(name="small", workers=4)
    failures = await together(*(lambda one=one: parts.worker(one) for one in agents))
    assert [type(each) for each in failures] == [Forbidden] * 2
    assert len(parts.book.workers()) == 4


# ---------------------------------------------------------------- whose


async def test_what_is_anothers_is_not_there(parts: Parts) -> None:
    one = await parts.agent("ana")
    share = await parts.share(default_of(one))
    for ask in (
        lambda owner: parts.book.agent(one.agent_id, owner),
        lambda owner: parts.book.worker(default_of(one).worker_id, owner),
        lambda owner: parts.book.share(share.share_id, owner),
    ):
        for owner in ("ana", ("ana", ""), None):
            assert ask(owner) is not None
        for stranger in ("bob", "", ("bob", ""), ()):
            with pytest.raises(NotFound):
                ask(stranger)
    for listed in (parts.book.agents, parts.book.workers, parts.book.shares):
        assert (len(listed("ana")), len(listed("bob")), len(listed(())), len(listed())) == (1, 0, 0, 1)


# ---------------------------------------------------------------- versions


async def test_version_rises_past_all_that_was_told_after_a_restart_and_after_a_restore(
    parts: Parts, tmp_path: Path
) -> None:
    one = await parts.agent()
    old = parts.database.read_now(lambda conn: "\n".join(conn.iterdump()))
    assert one.agent_id in old
    for _ in range(5):
        parts.now.advance(1)
        await parts.worker(one, listen_port=9100 + len(one.workers))
    told = one.config_version
    before = parts.database.read_now(
        lambda conn: conn.execute("SELECT config_version FROM gpu_sharing_agent").fetchone()[0]
    )
    assert before == told, "a version is durable before it is told"

    def roll_back(connection: Any) -> None:
        connection.execute("UPDATE gpu_sharing_agent SET config_version = 1")
        connection.execute("DELETE FROM gpu_sharing_worker WHERE is_default = 0")

    await parts.database.write(roll_back)
    parts.now.advance(1)
    parts.restart()
    (back,) = parts.book.agents()
    assert len(back.workers) == 1
    assert back.config_version > told


async def test_many_changes_within_a_millisecond_each_raise_the_version(parts: Parts) -> None:
    one = await parts.agent()
    versions = [one.config_version]
    for _ in range(3):
        await parts.book.store_agent(one, bumped=True)
        versions.append(one.config_version)
    assert versions == sorted(set(versions))
    assert parts.changed == [one.agent_id] * 3
    await parts.book.store_agent(one)
    assert one.config_version == versions[-1]


# ---------------------------------------------------------------- deleting


async def test_delete_takes_all_along_on_disk_too(parts: Parts) -> None:
    one, other = await parts.agent(), await parts.agent()
    share, kept = await parts.share(default_of(one)), await parts.share(default_of(other))
    await parts.book.use(share.short_code, "198.51.100.1")
    await parts.book.delete_agent(one)
    assert parts.book.agents() == [other]
    assert parts.book.by_code(share.short_code) is None
    assert [each.share_id for each in parts.book.shares()] == [kept.share_id]
    assert snapshot(parts) == in_memory(parts)
    rows = parts.database.read_now(lambda conn: conn.execute("SELECT count(*) FROM gpu_sharing_redeemed").fetchone())
    assert rows == (0,)


async def test_agent_that_is_deleted_while_it_reports_does_not_come_back(parts: Parts) -> None:
    one = await parts.agent()
    worker = default_of(one)
    failures = await together(
        lambda: parts.book.delete_agent(one),
        lambda: parts.intake.take(one, running(worker), reported_from=""),
        lambda: parts.book.store_agent(one, bumped=True),
        lambda: parts.worker(one),
        lambda: parts.share(worker),
        lambda: parts.book.update_worker(one, worker, {"name": "late"}),
    )
    assert all(isinstance(each, NotFound) for each in failures), failures
    await parts.intake.take(one, running(worker), reported_from="")
    await parts.book.store_agent(one, [worker], bumped=True)
    assert (parts.book.agents(), parts.book.workers(), parts.book.shares()) == ([], [], [])
    assert snapshot(parts) == ([], [], [])


@pytest.mark.parametrize("change", ["update", "delete", "share", "report"])
async def test_worker_that_is_deleted_meanwhile_does_not_come_back(parts: Parts, change: str) -> None:
    one = await parts.agent()
    worker = await parts.worker(one)
    calls = {
        "update": lambda: parts.book.update_worker(one, worker, {"name": "late"}),
        "delete": lambda: parts.book.delete_worker(one, worker),
        "share": lambda: parts.share(worker),
        "report": lambda: parts.book.store_agent(one, [worker]),
    }
    failures = await together(lambda: parts.book.delete_worker(one, worker), calls[change])
    # Which of the two comes first is left to chance.
    assert [type(each) for each in failures] in ([[]] if change == "report" else [[], [NotFound]])
    with pytest.raises(NotFound):
        parts.book.worker(worker.worker_id)
    assert parts.book.shares() == []
    assert snapshot(parts) == in_memory(parts)


async def test_share_that_is_deleted_meanwhile_does_not_come_back(parts: Parts) -> None:
    one = await parts.agent()
    share = await parts.share(default_of(one))
    failures = await together(
        lambda: parts.book.delete_share(share),
        lambda: parts.book.delete_share(share),
        lambda: parts.book.store_share(evolve(share, relay_port=20_000)),
    )
    assert [type(each) for each in failures] == [NotFound]
    assert snapshot(parts)[2] == []


async def test_every_share_that_goes_is_told_of_also_one_made_while_its_worker_was_to_be_deleted(parts: Parts) -> None:
    one = await parts.agent()
    first, second = await parts.worker(one), default_of(one)
    dropped: list[str] = []
    parts.book.dropped = dropped.append
    alone, late, with_agent = [await parts.share(worker) for worker in (first, first, second)]
    await parts.book.delete_share(alone)
    assert dropped == [alone.share_id]
    made = parts.new_share(first)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(parts.book.create_share, made)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(parts.book.delete_worker, one, first)
    assert sorted(dropped[1:]) == sorted([late.share_id, made.share_id])
    await parts.book.delete_agent(one)
    assert dropped[3:] == [with_agent.share_id]
    assert parts.book.shares() == []


async def test_report_that_comes_while_a_worker_is_changed_undoes_nothing(parts: Parts) -> None:
    one = await parts.agent()
    worker = default_of(one)
    await parts.intake.take(one, running(worker), reported_from="")
    failures = await together(
        lambda: parts.book.update_worker(one, worker, {"name": "renamed", "enabled": False}),
        lambda: parts.intake.take(one, running(worker, restarts=3), reported_from=""),
    )
    assert failures == []
    assert parts.book.worker(worker.worker_id) is worker
    assert (worker.name, worker.enabled, worker.status, worker.restarts) == ("renamed", False, "stopping", 3)
    assert snapshot(parts) == in_memory(parts)


async def test_this_host_is_not_deleted(parts: Parts) -> None:
    local = await local_agent(parts)
    with pytest.raises(Conflict):
        await parts.book.delete_agent(local)
    assert parts.book.agents() == [local]


async def local_agent(parts: Parts) -> Agent:
    made = parts.new(await parts.secret(""))
    made.is_local, made.owner = True, ""
    made.workers.clear()
    await parts.book.put_local(made)
    return made


# ---------------------------------------------------------------- this host


async def test_this_host_gets_a_default_worker_once_and_is_stored_as_it_is_now(parts: Parts) -> None:
    local = await local_agent(parts)
    worker = default_of(local)
    await parts.book.delete_worker(local, worker)
    local.hostname = "renamed"
    await parts.book.put_local(local)
    assert local.workers == {}, "one that was deleted is not made again"
    assert snapshot(parts)[0] == [(local.agent_id, "renamed", [])]


async def test_change_that_this_host_cannot_book_is_not_made(parts: Parts) -> None:
    local = await local_agent(parts)
    held: list[tuple[str, str]] = []

    async def hold(worker: Worker) -> None:
        if worker.name == "greedy":
            raise Conflict("something else has it")
        held.append((worker.worker_id, worker.name))

    async def let_go(worker_id: str) -> None:
        held.append((worker_id, "gone"))

    parts.book.hold, parts.book.let_go = hold, let_go
    with pytest.raises(Conflict):
        await parts.worker(local, name="greedy")
    made = await parts.worker(local, name="modest")
    with pytest.raises(Conflict):
        await parts.book.update_worker(local, made, {"name": "greedy"})
    assert (made.name, held) == ("modest", [(made.worker_id, "modest")])
    assert snapshot(parts) == in_memory(parts)
    await parts.book.delete_worker(local, made)
    assert held[-1] == (made.worker_id, "gone")


# ---------------------------------------------------------------- shares


async def test_last_use_is_counted_once_however_many_ask_at_once(parts: Parts) -> None:
    share = await parts.share(default_of(await parts.agent()), max_uses=2)
    failures = await together(*[lambda: parts.book.use(share.short_code, "198.51.100.1")] * 7)
    assert [type(each) for each in failures] == [Gone] * 5
    assert share.used_count == 2
    assert snapshot(parts) == in_memory(parts)


async def test_share_that_is_over_is_gone_and_its_code_is_not_live(parts: Parts) -> None:
    worker = default_of(await parts.agent())
    share = await parts.share(worker, expires_unix_us=parts.now() + 1_000_000)
    used_up = await parts.share(worker, max_uses=1)
    await parts.book.use(used_up.short_code, "")
    assert sorted(parts.book.live_codes(worker.worker_id)) == sorted([share.short_code, used_up.short_code])
    parts.now.advance(1)
    with pytest.raises(Gone, match="expired"):
        await parts.book.use(share.short_code, "")
    with pytest.raises(Gone, match="used up"):
        await parts.book.use(used_up.short_code, "")
    assert parts.book.live_codes(worker.worker_id) == [used_up.short_code], "for those who have followed it"
    with pytest.raises(NotFound):
        await parts.book.use("0" * 16, "")


async def test_link_is_not_used_after_it_was_deleted_nor_its_count_lost_by_changes(parts: Parts) -> None:
    share = await parts.share(default_of(await parts.agent()))
    await parts.book.use(share.short_code, "")
    await parts.book.store_share(evolve(share, relay_port=20_001, used_count=0))
    assert snapshot(parts)[2] == [(share.share_id, share.short_code, 1, 20_001)]
    failures = await together(
        lambda: parts.book.delete_share(share), lambda: parts.book.use(share.short_code, "198.51.100.1")
    )
    assert [type(each) for each in failures] in ([], [Gone])
    assert parts.book.shares() == []


# ---------------------------------------------------------------- written behind


async def test_that_an_agent_was_heard_of_is_written_behind(parts: Parts) -> None:
    one, gone = await parts.agent(), await parts.agent()
    parts.book.heard(one, reported_from="198.51.100.9")
    parts.book.heard(gone, reported_from="")
    assert parts.book.unwritten == {one.agent_id, gone.agent_id}
    await parts.book.delete_agent(gone)
    await parts.book.write_behind()
    assert parts.book.unwritten == set()
    (back,) = evolve(parts).book.agents()
    assert (back.last_seen_unix_us, back.reported_from) == (parts.now(), "198.51.100.9")
    await parts.book.write_behind()


async def test_everything_reads_back_as_it_was(parts: Parts) -> None:
    one = await parts.agent(gpus=2)
    worker = await parts.worker(one, vram_mb=100, compute_percent=30, isolation_mode="soft", gpu_ids=("gpu-1",))
    report = running(worker, restarts=2, connections=[])
    await parts.intake.take(one, report, reported_from="198.51.100.9")
    worker.connections = {Peer(client_ip="198.51.100.3", client_port=5): 99}
    await parts.book.store_agent(one, [worker])
    await parts.share(worker, networks=("10.0.0.0/8",), access="cidr", max_connections=3, max_uses=9)
    parts.restart()
    (back,) = parts.book.agents()
    kept = back.workers[worker.worker_id]
    for name in ("name", "gpu_ids", "vram_mb", "compute_percent", "isolation_mode", "pid", "restarts", "connections"):
        assert getattr(kept, name) == getattr(worker, name), name
    assert (back.gpus, back.network_ips, back.owner) == (one.gpus, one.network_ips, "ana")
    (share,) = parts.book.shares()
    assert (share.networks, share.access, share.max_connections, share.agent_id) == (
        ("10.0.0.0/8",),
        "cidr",
        3,
        one.agent_id,
    )


async def test_version_of_a_start_is_stored_so_that_a_clock_set_back_lowers_it_never(parts: Parts) -> None:
    agent = await parts.agent()
    parts.now.advance(3600)
    parts.restart()
    told = parts.book.agent(agent.agent_id).config_version
    await parts.book.store_versions()
    parts.now.advance(-7200)
    parts.restart()
    assert parts.book.agent(agent.agent_id).config_version > told
