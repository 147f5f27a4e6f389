"""Whether a drone works after a restart: a heartbeat, or its program is seen to run twice."""

from collections.abc import Callable
from typing import cast

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from plugins.build_swarm.payloads.hands import Hands
from plugins.build_swarm.payloads.health import Health
from plugins.build_swarm.ssh_command import SshFailed
from plugins.build_swarm.states import Drone

GONE = SshFailed("unreachable", "no route to host")


@define
class Restarted:
    """A drone that does as it is told when it is restarted, and when it is looked at."""

    seen: list[bool | SshFailed] = field(factory=list)
    """What each look finds; the last counts for good, none: nothing runs."""
    on_restart: Callable[[], None] = lambda: None
    refusal: SshFailed | None = None
    looks: int = 0

    async def restart(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.refusal is not None:
            raise self.refusal
        self.on_restart()

    async def runs(self, pattern: str) -> bool:
        await trio.lowlevel.checkpoint()
        assert pattern == "[s]warm-drone"
        self.looks += 1
        found = self.seen[min(self.looks, len(self.seen)) - 1] if self.seen else False
        if isinstance(found, SshFailed):
            raise found
        return found


def drone() -> Drone:
    return Drone(drone_id="id-a", name="a", heard_us=5)


def check(one: Drone | None) -> Health:
    return Health(find=lambda drone_id: one, process="[s]warm-drone", seconds=60.0, probe_seconds=5.0)


async def asked(health: Health, hands: Restarted, one: Drone) -> str:
    return await health(cast(Hands, hands), one)


async def test_heartbeat_after_the_restart_is_enough(autojump_clock: MockClock) -> None:
    one = drone()

    async def beat() -> None:
        await trio.sleep(31)
        one.heard_us = 6

    async with trio.open_nursery() as nursery:
        nursery.start_soon(beat)
        assert await asked(check(one), Restarted(), one) == ""
        assert 31 <= trio.current_time() - autojump_clock.current_time() + 32 <= 33


async def test_heartbeat_from_before_the_restart_does_not_count(autojump_clock: MockClock) -> None:
    one = drone()

    def last_word() -> None:
        one.heard_us = 6

    why = await asked(check(one), Restarted(on_restart=last_word), one)
    assert why == "within 60 s it sent no heartbeat, and its program was not seen to run"


@pytest.mark.parametrize(
    ("seen", "is_well"),
    [
        ([True], True),
        ([True, True, False], True),
        ([GONE, GONE, True], True),
        ([True, False, True, False, True, False, True, False, True, False, True, False], False),
        ([True, GONE, True, False], False),
        ([False], False),
        ([GONE], False),
    ],
)
async def test_program_counts_as_running_when_it_is_seen_twice_in_a_row(
    autojump_clock: MockClock, seen: list[bool | SshFailed], is_well: bool
) -> None:
    one = drone()
    assert (await asked(check(one), Restarted(seen=seen), one) == "") is is_well


async def test_service_that_does_not_restart_is_the_reason(autojump_clock: MockClock) -> None:
    one, hands = drone(), Restarted(refusal=SshFailed("command", "swarm-drone did not restart: status 1"))
    assert await asked(check(one), hands, one) == "swarm-drone did not restart: status 1"
    assert hands.looks == 0


async def test_drone_that_was_deleted_meanwhile_is_not_well(autojump_clock: MockClock) -> None:
    assert "no heartbeat" in await asked(check(None), Restarted(), drone())


async def test_drone_that_was_installed_again_meanwhile_is_heard_of(autojump_clock: MockClock) -> None:
    one = drone()
    found: list[Drone | None] = [None]
    health = Health(find=lambda drone_id: found[0], process="[s]warm-drone", seconds=60.0)

    async def appear() -> None:
        await trio.sleep(3)
        found[0] = drone()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(appear)
        assert await asked(health, Restarted(), one) == ""
