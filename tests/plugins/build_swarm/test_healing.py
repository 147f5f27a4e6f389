"""Self-healing over time, on drones that do as they are told, and once on a real one."""

import os
import signal
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, field
from structlog.testing import capture_logs
from trio.testing import MockClock

from appliance.errors import NotAvailable, StorageFailed
from appliance.testing import until
from plugins.build_swarm.approval import Approval, NotApproved
from plugins.build_swarm.healing import Healing
from plugins.build_swarm.healing_steps import Taken, take
from plugins.build_swarm.ladder import CLEAR, Step
from plugins.build_swarm.probing import Probe, Status, Vitals
from tests.plugins.build_swarm.ssh_kit import OTHER_KEY, Box, an_approval, opened
from tests.wire.sshd import running_sshd

WELL = Vitals(processes=1, load=1.0, disk_percent=10, emerge_running=False, uptime_seconds=1.0, mem_percent=10)


@define(eq=False)
class Ward:
    """Drones that do as they are told: what a probe of each finds, and whether steps on it work."""

    status: dict[str, Status] = field(factory=dict)
    """``ok`` for those that are not named."""
    broken: set[str] = field(factory=set)
    """Whose commands fail."""
    faults: dict[str, Exception] = field(factory=dict)
    """Raised by the probe of a drone."""
    hung: set[str] = field(factory=set)
    """Whose probes take 15 s."""
    probes: list[str] = field(factory=list)
    steps: list[tuple[str, Step]] = field(factory=list)
    disk_percent: float = 10.0

    async def probe(self, approval: Approval, *, cores: int = 0) -> Probe:
        name = approval.drone_name
        self.probes.append(name)
        if name in self.hung:
            await trio.sleep(15)
        if name in self.faults:
            raise self.faults[name]
        status = self.status.get(name, "ok")
        return Probe(drone_name=name, seq=1, status=status, probed_unix_us=1, vitals=WELL if status == "ok" else None)

    async def write(self) -> None:
        await trio.lowlevel.checkpoint()

    async def keep_only(self, names: Collection[str]) -> None:
        self.probes = [name for name in self.probes if name in names]

    async def act(self, approval: Approval, step: Step) -> Taken:
        self.steps.append((approval.drone_name, step))
        has_worked = approval.drone_name not in self.broken
        return Taken(has_worked=has_worked, words=f"{step.words} {'done' if has_worked else 'failed'}")

    def steps_of(self, name: str) -> list[Step]:
        return [step for one, step in self.steps if one == name]


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    async with opened(tmp_path, inline=True) as made:
        yield made


@pytest.fixture
def ward() -> Ward:
    return Ward()


async def approve(box: Box, name: str, number: int = 1, **changes: Any) -> None:
    """Make a drone known and approved; it sends no heartbeats."""
    address = f"192.0.2.{number}"
    box.fleet.add(name, address=address)
    approval = an_approval(name, address=address, seen_address=address, **changes)
    # Without the file of host keys, which a thread writes: nothing is entered here.
    box.approvals._kept[name] = approval


async def virtually(check: Callable[[], Any]) -> None:
    """Wait, on the mock clock, until something is true; an hour at most."""
    for _ in range(720):
        if check():
            return
        await trio.sleep(5)
    raise AssertionError("not within an hour")


@asynccontextmanager
async def healed(box: Box, ward: Ward) -> AsyncIterator[Healing]:
    """Run self-healing meanwhile."""
    healing = box.healing(ward, ward.act)
    async with trio.open_nursery() as nursery:
        await nursery.start(healing.run)
        yield healing
        nursery.cancel_scope.cancel()


async def test_all_approved_drones_are_probed_every_thirty_seconds_and_no_others(
    autojump_clock: MockClock, box: Box, ward: Ward
) -> None:
    await approve(box, "one", 1)
    await approve(box, "two", 2)
    box.fleet.add("stranger", address="192.0.2.66")
    async with healed(box, ward):
        await trio.sleep(65)
    assert sorted(ward.probes) == ["one"] * 3 + ["two"] * 3


async def test_dead_machine_is_restarted_killed_rebooted_and_told_of(
    autojump_clock: MockClock, box: Box, ward: Ward
) -> None:
    await approve(box, "one")
    ward.status["one"] = "unreachable"
    ward.broken.add("one")
    async with healed(box, ward) as healing:
        await trio.sleep(600)
        assert healing.trouble("one").level == 4
    assert ward.steps_of("one") == [Step.RESTART, Step.KILL, Step.REBOOT, Step.ALERT]
    assert box.fleet.chronicle.types == ["escalation", "escalation", "escalation", "reboot", "escalation", "alert"]
    told = [(event.kind, event.level) for event in await box.told("swarm.escalation")]
    assert told == [("swarm.escalation", "warning")] * 3 + [("swarm.escalation", "critical")]
    audited = [entry.detail for entry in await box.audited() if entry.action == "swarm.heal"]
    assert len(audited) == 3


async def test_one_drone_that_hangs_or_fails_keeps_nobody_from_another(
    autojump_clock: MockClock, box: Box, ward: Ward
) -> None:
    for number, name in enumerate(("hung", "odd", "sick"), 1):
        await approve(box, name, number)
    ward.hung.add("hung")
    ward.faults["odd"] = NotApproved("odd")
    ward.status["sick"] = "service_down"
    async with healed(box, ward):
        await trio.sleep(200)
    assert ward.steps_of("sick") == [Step.RESTART]
    assert ward.probes.count("odd") == ward.probes.count("hung") >= 6


@pytest.mark.parametrize("drone_type", ["bare-metal", "unknown"])
async def test_machine_of_another_type_than_container_or_vm_is_never_rebooted(
    autojump_clock: MockClock, box: Box, ward: Ward, drone_type: str
) -> None:
    await approve(box, "one", drone_type=drone_type)
    ward.status["one"] = "unreachable"
    async with healed(box, ward):
        await trio.sleep(3600)
    assert ward.steps_of("one") == [Step.RESTART, Step.KILL, Step.ALERT]


async def test_type_that_is_set_is_obeyed_at_the_next_step(autojump_clock: MockClock, box: Box, ward: Ward) -> None:
    await approve(box, "one", drone_type="lxc")
    ward.status["one"] = "unreachable"
    async with healed(box, ward):
        await virtually(lambda: ward.steps_of("one") == [Step.RESTART, Step.KILL])
        await box.approvals.set_type("one", "bare-metal")
        await trio.sleep(3600)
    assert ward.steps_of("one") == [Step.RESTART, Step.KILL, Step.ALERT]


async def test_drone_that_says_so_and_those_that_are_protected_are_never_rebooted(tmp_path: Path, ward: Ward) -> None:
    async with opened(tmp_path, healing_protected=("192.0.2.1",)) as box:
        for number, name in enumerate(("by-address", "by-itself", "by-configuration", "free"), 1):
            await approve(box, name, number)
        box.fleet.known["by-itself"].capabilities = {"auto_reboot": False}
        healing = box.healing(ward, ward.act)
        healing.may_reboot = lambda name: name != "by-configuration"
        said = {drone.name: healing.patient(drone, box.approvals.of(drone)).no_reboot for drone in box.fleet.drones()}
    assert said == {
        "by-address": "it is protected",
        "by-itself": "it says auto_reboot: false",
        "by-configuration": "it is protected",
        "free": "",
    }


async def test_paused_drone_is_not_even_probed(autojump_clock: MockClock, box: Box, ward: Ward) -> None:
    await approve(box, "one")
    box.fleet.known["one"].paused = True
    async with healed(box, ward):
        await trio.sleep(300)
    assert ward.probes == []


async def test_levels_outlast_a_restart_of_the_appliance(autojump_clock: MockClock, box: Box, ward: Ward) -> None:
    await approve(box, "one")
    ward.status["one"] = "service_down"
    async with healed(box, ward) as healing:
        await virtually(lambda: ward.steps_of("one") == [Step.RESTART])
        await trio.sleep(1)
        before = healing.trouble("one")
    async with healed(box, ward) as healing:
        assert healing.trouble("one") == before
        await virtually(lambda: len(ward.steps_of("one")) == 2)
    assert ward.steps_of("one") == [Step.RESTART, Step.KILL]


async def test_drone_that_recovers_is_told_of_and_nothing_is_kept(
    autojump_clock: MockClock, box: Box, ward: Ward
) -> None:
    await approve(box, "one")
    ward.status["one"] = "service_down"
    async with healed(box, ward) as healing:
        await virtually(lambda: ward.steps)
        ward.status["one"] = "ok"
        await trio.sleep(60)
        assert healing.trouble("one").is_clear
    assert box.fleet.chronicle.types == ["escalation", "heal"]
    assert [notice.kind for notice in await box.notices.newest()] == ["swarm.heal"]
    assert box.healing(ward, ward.act).trouble("one") == CLEAR


async def test_reset_forgets_the_level_and_begins_with_the_first_step(
    autojump_clock: MockClock, box: Box, ward: Ward
) -> None:
    await approve(box, "one")
    ward.status["one"] = "service_down"
    async with healed(box, ward) as healing:
        await virtually(lambda: ward.steps_of("one") == [Step.RESTART, Step.KILL])
        assert await healing.reset("one", by="ana") == 2
        assert healing.trouble("one") == CLEAR
        assert await healing.reset("one") == 0
        await virtually(lambda: len(ward.steps_of("one")) == 3)
    assert ward.steps_of("one")[-1] is Step.RESTART
    assert box.healing(ward, ward.act).trouble("one").level == 1


async def test_dry_run_tells_every_step_and_takes_none(tmp_path: Path, autojump_clock: MockClock, ward: Ward) -> None:
    async with opened(tmp_path, inline=True, healing_dry_run=True) as box:
        await approve(box, "one")
        ward.status["one"] = "unreachable"
        async with healed(box, ward):
            await trio.sleep(3600)
        told = [message for type, message, _ in box.fleet.chronicle.notes if type == "escalation"]
    assert ward.steps == [("one", Step.ALERT)]
    assert len(told) == 4
    assert "reboot (not done: dry run)" in told[2]


async def test_nothing_is_probed_where_healing_is_switched_off(
    tmp_path: Path, autojump_clock: MockClock, ward: Ward
) -> None:
    async with opened(tmp_path, inline=True, healing_enabled=False) as box:
        await approve(box, "one")
        async with healed(box, ward) as healing:
            await trio.sleep(300)
            assert not healing.is_running
    assert ward.probes == []


async def test_grounded_drone_is_restarted_at_once_and_rebooted_the_second_time(
    autojump_clock: MockClock, box: Box, ward: Ward
) -> None:
    await approve(box, "one", 1)
    await approve(box, "metal", 2, drone_type="bare-metal")
    box.fleet.add("stranger")
    async with healed(box, ward) as healing:
        for groundings in (1, 2):
            for name in ("one", "metal", "stranger"):
                box.fleet.known[name].groundings = groundings
                healing.saw_grounding(box.fleet.known[name])
            await trio.sleep(1)
        assert healing.trouble("one").level == 0
    assert ward.steps_of("one") == [Step.RESTART, Step.REBOOT]
    assert ward.steps_of("metal") == [Step.RESTART, Step.RESTART]
    assert ward.steps_of("stranger") == []


async def test_drone_that_was_deleted_is_forgotten(autojump_clock: MockClock, box: Box, ward: Ward) -> None:
    await approve(box, "one")
    ward.status["one"] = "service_down"
    async with healed(box, ward) as healing:
        await virtually(lambda: ward.steps)
        del box.fleet.known["one"]
        await trio.sleep(60)
        assert healing.trouble("one") == CLEAR
    assert box.healing(ward, ward.act).trouble("one") == CLEAR


async def test_drone_that_moves_while_it_fails_is_left_alone(autojump_clock: MockClock, box: Box, ward: Ward) -> None:
    await approve(box, "one")
    ward.status["one"] = "service_down"
    async with healed(box, ward):
        await trio.sleep(100)
        box.fleet.known["one"].address = "192.0.2.66"
        count = len(ward.probes)
        await trio.sleep(600)
    assert (len(ward.probes), ward.steps) == (count, [])


async def test_missing_ssh_is_said_once_and_stops_nothing(autojump_clock: MockClock, box: Box, ward: Ward) -> None:
    await approve(box, "one")
    ward.faults["one"] = NotAvailable("ssh is not available because it is not installed")
    with capture_logs() as logged:
        async with healed(box, ward) as healing:
            await trio.sleep(300)
            assert healing.is_running
    said = [entry for entry in logged if entry["event"] == "swarm.healing_not_available"]
    assert len(said) == 1
    assert len(ward.probes) > 5


async def test_full_disk_stops_no_healing_and_levels_are_written_once_there_is_space(
    autojump_clock: MockClock, box: Box, ward: Ward
) -> None:
    await approve(box, "one", 1)
    await approve(box, "two", 2)
    ward.faults["two"] = StorageFailed("the disk is full")
    ward.status["one"] = "service_down"
    async with healed(box, ward):
        await virtually(lambda: ward.steps_of("one"))
        await trio.sleep(1)
    assert box.healing(ward, ward.act).trouble("one").level == 1


# ------------------------------------------------------------------ what the steps run


async def test_steps_run_what_they_say_on_a_real_drone(tmp_path: Path) -> None:
    with running_sshd(tmp_path / "drone") as drone:
        async with opened(tmp_path) as box, box.serving():
            approval = await box.approve(drone)
            for step in Step:
                taken = await take(box.ssh, approval, step, box.settings)
                assert taken.has_worked, taken.words
            pattern = box.settings.ssh_drone_process
            await until(lambda: "reboot" in [call.strip() for call in drone.calls])
            assert [call.strip() for call in drone.calls] == [
                "rc-service swarm-drone restart",
                f"pkill -9 -f -- {pattern}",
                "rc-service swarm-drone zap",
                "rc-service swarm-drone start",
                "reboot",
            ]


async def test_service_that_keeps_what_it_was_started_with_holds_no_step_up(tmp_path: Path) -> None:
    with running_sshd(tmp_path / "drone") as drone:
        pid = drone.folder / "pid"
        drone.stub("rc-service", f"sleep 600 & echo $! > {pid}; echo 'started it' >&2")
        async with opened(tmp_path, ssh_command_seconds=50.0) as box, box.serving():
            approval = await box.approve(drone)
            try:
                taken = await take(box.ssh, approval, Step.RESTART, box.settings)
            finally:
                os.kill(int(pid.read_text()), signal.SIGKILL)
            assert taken == Taken(has_worked=True, words="restart of its service done")


async def test_steps_use_systemd_where_there_is_no_openrc(tmp_path: Path) -> None:
    with running_sshd(tmp_path / "drone") as drone:
        (drone.bin / "rc-service").unlink()
        async with opened(tmp_path) as box, box.serving():
            approval = await box.approve(drone)
            await take(box.ssh, approval, Step.RESTART, box.settings)
            await take(box.ssh, approval, Step.KILL, box.settings)
            assert drone.calls[0] == "systemctl restart swarm-drone"
            assert drone.calls[-1] == "systemctl start swarm-drone"


async def test_step_that_fails_says_what_the_drone_said(tmp_path: Path) -> None:
    with running_sshd(tmp_path / "drone") as drone:
        drone.stub("rc-service", 'echo "swarm-drone: no such service" >&2; exit 1')
        async with opened(tmp_path) as box, box.serving():
            approval = await box.approve(drone)
            taken = await take(box.ssh, approval, Step.RESTART, box.settings)
            assert taken == Taken(has_worked=False, words="restart of its service failed: swarm-drone: no such service")
            drone.down()
            assert not (await take(box.ssh, approval, Step.REBOOT, box.settings)).has_worked


async def test_approval_of_another_place_with_another_key_is_healed_there(
    autojump_clock: MockClock, box: Box, ward: Ward
) -> None:
    await approve(box, "one", 1)
    await approve(box, "two", 2, host_key=OTHER_KEY)
    ward.status["two"] = "service_down"
    async with healed(box, ward):
        await virtually(lambda: ward.steps)
    assert ward.steps == [("two", Step.RESTART)]
