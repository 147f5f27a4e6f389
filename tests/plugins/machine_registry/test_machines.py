"""The machines in memory and on disk."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from appliance.errors import Conflict, Forbidden, NotFound, TooLarge
from plugins.machine_registry import store
from plugins.machine_registry.life import State, Status
from plugins.machine_registry.machines import WRITTEN_AT_ONCE, Machines, Registration
from plugins.machine_registry.models import Inference, Pool
from tests.plugins.machine_registry.parts import METRICS, Parts, beat, opened


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    async with opened(tmp_path) as made:
        yield made


async def test_machine_is_registered_then_ready_and_registered_again_keeps_when_it_was_made(parts: Parts) -> None:
    machine = await parts.register()
    made = machine.created_unix_us
    assert parts.machines.state(machine) is State.REGISTERED
    assert list(parts.machines.listed()) == []
    ready = await parts.machines.become_ready(machine, beat())
    assert ready is not None
    assert [each.machine_id for each in parts.machines.listed()] == ["1165a9b6"]
    parts.now.advance(100)
    again = await parts.register(hostname="other")
    assert parts.machines.state(again) is State.REGISTERED
    assert list(parts.machines.listed()) == []
    assert (again.created_unix_us, again.host_id, again.hostname) == (made, machine.host_id, "other")


async def test_one_id_in_two_pools_is_two_machines_and_people_must_say_which(parts: Parts) -> None:
    await parts.register(pool="default")
    await parts.register(pool="gpu")
    assert len(parts.machines.all()) == 2
    assert parts.machines.counts() == {"default": 1, "gpu": 1}
    with pytest.raises(Conflict, match="more than once"):
        parts.machines.one("1165a9b6")
    assert parts.machines.one("1165a9b6", pool="gpu").pool == "gpu"
    with pytest.raises(NotFound):
        parts.machines.one("1165a9b6", pool="gpu", provider="aws")


async def test_everything_of_a_machine_is_there_after_a_restart(parts: Parts) -> None:
    machine = await parts.register(gpu_count=4)
    said = Inference("running", "192.0.2.7", 11434, ["llama3"])
    await parts.machines.become_ready(machine, beat(inference=said, version="0.2.0-go"))
    await parts.machines.write_behind()
    parts.now.advance(60)
    parts.restart()
    (found,) = parts.machines.all()
    assert (found.gpu_count, found.metrics, found.inference) == (4, METRICS, said)
    assert (found.status, found.agent_version, found.host_id) == (Status.READY, "0.2.0-go", machine.host_id)
    assert parts.machines.state(found) is State.READY


async def test_beats_are_on_disk_after_the_next_writing_and_not_before(parts: Parts) -> None:
    machine = await parts.ready()
    await parts.machines.write_behind()
    parts.now.advance(60)
    parts.machines.beat(machine, beat())
    stored = Machines(parts.core, parts.now).all()[0]
    assert stored.last_keepalive_unix_us == parts.now() - 60_000_000
    assert await parts.machines.write_behind() == 1
    assert Machines(parts.core, parts.now).all()[0].last_keepalive_unix_us == parts.now()
    assert await parts.machines.write_behind() == 0


async def test_beats_of_many_machines_are_written_in_several_transactions_and_what_failed_is_written_later(
    parts: Parts,
) -> None:
    count = 2 * WRITTEN_AT_ONCE + 1
    machines = [await parts.ready(f"{number:08x}") for number in range(count)]
    await parts.machines.write_behind()
    parts.now.advance(60)
    for machine in machines:
        parts.machines.beat(machine, beat())
    refused = f"WHEN new.machine_id = '{count // 2:08x}' BEGIN SELECT raise(ABORT, 'no room'); END"
    await parts.database.write(
        lambda conn: conn.execute(f"CREATE TRIGGER refuse BEFORE UPDATE ON machine_registry_machine {refused}") and None
    )
    with pytest.raises(sqlite3.IntegrityError):
        await parts.machines.write_behind()
    assert (count - len(parts.machines.unwritten)) % WRITTEN_AT_ONCE == 0
    assert machines[count // 2].key in parts.machines.unwritten
    await parts.database.write(lambda conn: conn.execute("DROP TRIGGER refuse") and None)
    waiting, before = len(parts.machines.unwritten), parts.database.commits
    assert await parts.machines.write_behind() == waiting
    assert parts.database.commits - before == -(-waiting // WRITTEN_AT_ONCE)
    after = Machines(parts.core, parts.now).all()
    assert {each.last_keepalive_unix_us for each in after} == {parts.now()}
    assert parts.machines.unwritten == set()


async def test_first_writing_of_a_run_moves_every_deadline_to_its_clock_and_nothing_else(parts: Parts) -> None:
    await parts.ready("11111111")
    await parts.register("22222222")
    await parts.machines.write_behind()
    written = {each.machine_id: each.deadline_us for each in Machines(parts.core, parts.now).all()}
    parts.now.advance(3600)
    parts.restart()
    assert parts.machines.unwritten == set()
    assert await parts.machines.write_behind() == 0
    stored = parts.database.read_now(store.machines)
    assert {each.deadline_us - written[each.machine_id] for each in stored} == {3600 * 1_000_000}
    assert parts.database.read_now(store.written_at) == parts.now()


async def test_machine_that_is_deleted_while_its_beat_is_stored_stays_deleted(parts: Parts) -> None:
    machine = await parts.register()
    await parts.machines.delete(machine)
    assert await parts.machines.become_ready(machine, beat()) is None
    assert parts.machines.all() == []
    assert Machines(parts.core, parts.now).all() == []


async def test_machine_that_is_deleted_is_not_written_behind(parts: Parts) -> None:
    machine = await parts.ready()
    await parts.machines.delete(machine)
    assert await parts.machines.write_behind() == 0
    assert Machines(parts.core, parts.now).all() == []


async def test_two_registrations_of_one_new_machine_at_once_make_one_host(parts: Parts) -> None:
    found = []

    async def register() -> None:
        found.append((await parts.register()).host_id)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(register)
    assert len(parts.machines.all()) == 1
    assert parts.machines.all()[0].host_id == Machines(parts.core, parts.now).all()[0].host_id


async def test_token_serves_as_many_machines_as_it_may_and_those_as_often_as_they_like(parts: Parts) -> None:
    def said(machine_id: str) -> Registration:
        return Registration(
            key=("generic", "default", machine_id),
            hostname="box",
            cpu_millicores=1,
            memory_mib=1,
            gpu_count=0,
            private_ip="",
        )

    for machine_id in ("a", "b", "a"):
        await parts.machines.register(said(machine_id), "cred_1", 2)
    with pytest.raises(Forbidden):
        await parts.machines.register(said("c"), "cred_1", 2)
    with pytest.raises(Forbidden):  # the refusal before has not used anything up, nor freed it
        await parts.machines.register(said("c"), "cred_1", 2)
    assert {each.machine_id for each in parts.machines.all()} == {"a", "b"}
    await parts.machines.register(said("b"), "cred_1", 2)
    await parts.machines.register(said("c"), "cred_2", None)


async def test_machine_that_is_made_waits_an_hour_and_one_that_is_there_stays_what_it_is(parts: Parts) -> None:
    pool = Pool(name="default")
    made = await parts.machines.create(pool, "aaaaaaaa", "cred_9", lambda connection: None)
    assert parts.machines.state(made) is State.PENDING
    parts.now.advance(3600)
    assert parts.machines.state(made) is State.EXPIRED
    ready = await parts.ready("bbbbbbbb")
    again = await parts.machines.create(pool, "bbbbbbbb", "cred_9", lambda connection: None)
    assert again is ready
    assert parts.machines.state(again) is State.READY


async def test_no_more_machines_than_can_be_held_and_those_that_are_known_may_still_register(parts: Parts) -> None:
    await parts.register("aaaaaaaa")
    parts.machines.most = 1
    with pytest.raises(TooLarge):
        await parts.register("bbbbbbbb")
    await parts.register("aaaaaaaa")


async def test_machine_that_has_been_expired_for_longest_makes_room_for_a_new_one(parts: Parts) -> None:
    for machine_id in ("aaaaaaaa", "bbbbbbbb"):
        await parts.ready(machine_id)
        parts.now.advance(10)
    parts.machines.most = 2
    with pytest.raises(TooLarge):
        await parts.register("cccccccc")
    parts.now.advance(300)
    await parts.register("cccccccc")
    assert {each.machine_id for each in parts.machines.all()} == {"bbbbbbbb", "cccccccc"}
    assert {each.machine_id for each in Machines(parts.core, parts.now).all()} == {"bbbbbbbb", "cccccccc"}


async def test_gpu_count_that_changes_is_found_and_the_first_is_none(parts: Parts) -> None:
    await parts.register(gpu_count=8)
    assert parts.machines.found == []
    await parts.register(gpu_count=7)
    (found,) = parts.machines.found
    assert (found.kind, found.data) == ("gpu_count_changed", {"was": 8, "now": 7})
    assert "7 GPUs (was 8)" in found.words


async def test_two_agents_with_one_id_are_found_by_their_taking_turns(parts: Parts) -> None:
    machine = await parts.ready()
    for sender in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        parts.machines.beat(machine, beat(sender))
        parts.now.advance(30)
    assert parts.machines.found == []
    parts.machines.beat(machine, beat("192.0.2.2"))
    assert [found.kind for found in parts.machines.found] == ["two_agents"]
    assert "192.0.2.1" in parts.machines.found[0].words
    assert "192.0.2.2" in parts.machines.found[0].words


async def test_agent_that_claims_to_be_two_is_one_finding_until_it_is_told(parts: Parts) -> None:
    machine = await parts.ready()
    for number in range(1000):
        parts.machines.beat(machine, beat(f"192.0.2.{number % 2}"))
    for count in range(1, 20):
        await parts.register(gpu_count=count)
    assert [found.kind for found in parts.machines.found] == ["two_agents", "gpu_count_changed"]


async def test_agent_that_moves_and_comes_back_after_long_is_one_agent(parts: Parts) -> None:
    machine = await parts.ready()
    for sender in ("192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.2", "192.0.2.1"):
        for _ in range(20):
            parts.machines.beat(machine, beat(sender))
            parts.now.advance(60)
    assert parts.machines.found == []


async def test_other_host_that_registers_an_id_in_use_is_found(parts: Parts) -> None:
    await parts.ready(hostname="one")
    parts.now.advance(30)
    await parts.register(hostname="two", private_ip="192.0.2.2")
    assert [found.kind for found in parts.machines.found] == ["two_agents"]


async def test_other_host_that_takes_an_id_over_after_a_silence_is_nothing_to_tell(parts: Parts) -> None:
    await parts.ready(hostname="one")
    parts.now.advance(200)
    await parts.register(hostname="two")
    assert parts.machines.found == []
