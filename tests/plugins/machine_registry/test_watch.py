"""What people and other parts are told of machines."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from plugins.machine_registry.life import State
from plugins.machine_registry.models import Pool
from plugins.machine_registry.settings import RegistrySettings
from plugins.machine_registry.watch import ONE_BY_ONE, Watch
from tests.plugins.machine_registry.parts import Parts, beat, opened

FORGET_SECONDS = 3600.0


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    async with opened(tmp_path) as made:
        yield made


def watch(parts: Parts) -> Watch:
    return Watch(parts.core, parts.machines, FORGET_SECONDS)


async def test_machine_is_told_of_when_it_is_ready_late_expired_and_back_once_each(parts: Parts) -> None:
    machine = await parts.ready()
    looking = watch(parts)

    async def look() -> list[str]:
        before = len(await parts.told())
        await looking.look()
        await looking.look()
        return [event.kind for event in (await parts.told())[before:]]

    assert await look() == ["machine.ready"]
    parts.now.advance(126)
    assert await look() == ["machine.late"]
    parts.machines.beat(machine, beat())
    assert await look() == ["machine.returned"]
    parts.now.advance(301)
    assert await look() == ["machine.expired"]
    again = await parts.machines.become_ready(await parts.register(), beat())
    assert again is not None
    assert await look() == ["machine.returned"]
    levels = {event.kind: event.level for event in await parts.told()}
    assert levels == {
        "machine.ready": "info",
        "machine.late": "warning",
        "machine.returned": "info",
        "machine.expired": "critical",
    }
    assert {event.subject for event in await parts.told()} == {machine.host_id}


async def test_registered_machine_is_not_told_of_and_one_that_never_came_is(parts: Parts) -> None:
    await parts.register()
    await parts.machines.create(Pool(name="default"), "bbbbbbbb", "cred_1", lambda connection: None)
    looking = watch(parts)
    await looking.look()
    assert await parts.told() == []
    parts.now.advance(3601)
    await looking.look()
    assert {(event.kind, event.data["machine_id"]) for event in await parts.told()} == {
        ("machine.expired", "1165a9b6"),
        ("machine.never_registered", "bbbbbbbb"),
    }


async def test_what_has_been_told_is_not_told_again_after_a_restart(parts: Parts) -> None:
    await parts.ready("aaaaaaaa")
    await parts.ready("bbbbbbbb")
    await watch(parts).look()
    parts.now.advance(301)
    await watch(parts).look()
    await parts.machines.write_behind()
    count = len(await parts.told())
    parts.restart()
    await watch(parts).look()
    assert len(await parts.told()) == count == 4


async def test_many_machines_that_go_at_once_are_one_sentence(parts: Parts) -> None:
    for number in range(ONE_BY_ONE + 1):
        await parts.ready(f"{number:08x}")
    looking = watch(parts)
    await looking.look()
    (event,) = await parts.told()
    assert (event.kind, event.message) == ("machine.ready", f"{ONE_BY_ONE + 1} machines are ready")
    assert event.data["count"] == ONE_BY_ONE + 1
    assert all(parts.machines.state(each) is each.told is State.READY for each in parts.machines.all())


async def test_what_was_found_of_a_machine_is_told_with_its_level(parts: Parts) -> None:
    await parts.register(gpu_count=8)
    await parts.register(gpu_count=4)
    await watch(parts).look()
    (event,) = await parts.told()
    assert (event.kind, event.level, event.data["was"]) == ("machine.gpu_count_changed", "warning", 8)
    assert parts.machines.found == []


async def test_good_news_are_notices_too(parts: Parts) -> None:
    await parts.ready()
    await watch(parts).look()
    (notice,) = await parts.notices.newest(source="machine_registry")
    assert (notice.kind, notice.level, notice.title) == ("machine.ready", "info", "Machine is ready")


def test_machines_are_remembered_for_forget_hours() -> None:
    assert RegistrySettings().forget_hours == 7 * 24
    with pytest.raises(ValueError, match=r"0\.1"):
        RegistrySettings(forget_hours=0)


async def test_machine_that_has_been_expired_for_long_is_forgotten_with_its_charts(parts: Parts) -> None:
    gone = await parts.ready("aaaaaaaa")
    kept = await parts.ready("bbbbbbbb")
    await parts.inventory.saw_host(gone.host_id, hostname="box", at_unix_us=parts.now())
    await parts.series.append_values([(f"machine:{gone.host_id}", "free_gpu_count", parts.now(), 1.0)])
    parts.now.advance(300 + FORGET_SECONDS + 1)
    parts.machines.beat(kept, beat())
    await watch(parts).forget()
    assert [each.machine_id for each in parts.machines.all()] == ["bbbbbbbb"]
    assert [host.host_id for host in parts.inventory.hosts()] == []
