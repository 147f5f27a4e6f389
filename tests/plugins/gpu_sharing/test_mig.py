"""MIG plans, carried out by a stand-in for nvidia-smi whose GPU is a file."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from attrs import define, evolve

from appliance.credentials.kinds import Role
from appliance.errors import BadInput, Conflict, NotAvailable, NotFound
from appliance.ledger.rules import Holder, Part
from appliance.testing import RunningAppliance, running, scripted_gpus
from plugins.gpu_sharing.mig import PLAN_US, MigPlanner
from tests.plugins.gpu_sharing.smi_device import LISTING, SmiDevice

MIG = "/api/appliance/sharing/mig/plan"
SWITCH_ON, SWITCH_OFF = "-i GPU-0 -mig 1", "-i GPU-0 -mig 0"
MAKE = "mig -i GPU-0 -cgi 14 -C"


@define
class Planning:
    planner: MigPlanner
    device: SmiDevice
    appliance: RunningAppliance


@pytest.fixture
async def planning(tmp_path: Path) -> AsyncIterator[Planning]:
    device = SmiDevice.make(tmp_path / "device")
    async with running(tmp_path, backends=[scripted_gpus(1)]) as appliance:
        state = appliance.running.plugins.parts["gpu_sharing"].surfaces[0].state
        state.mig.program, state.mig.is_root = device.program, True
        yield Planning(state.mig, device, appliance)


async def test_plan_does_nothing_and_its_confirmation_does_it_once(planning: Planning) -> None:
    planner, device = planning.planner, planning.device
    plan = await planner.plan("GPU-0", vram_mb=12_000, compute_percent=20)
    assert (plan.profile.name, plan.enables_mode, plan.disturbs, plan.problem) == ("2g.20gb", False, (), "")
    assert device.changes() == []
    assert "unproven on this host" in plan.words
    made = await planner.confirm(plan.plan_id)
    assert device.changes() == [MAKE]
    assert (made.mig_id, made.instance_id, made.memory_mib) == ("MIG-new-3", 3, 20_096)
    with pytest.raises(NotFound):
        await planner.confirm(plan.plan_id)


async def test_mode_that_is_off_is_switched_on_first_and_whom_that_disturbs_is_said(planning: Planning) -> None:
    planner, device = planning.planner, planning.device
    device.switch_off()
    plan = await planner.plan("GPU-0", vram_mb=12_000, compute_percent=20)
    assert plan.enables_mode
    assert [" ".join(step) for step in plan.steps] == [SWITCH_ON, MAKE]
    assert any("resets GPU-0" in words for words in plan.disturbs)
    assert device.changes() == []
    assert (await planner.confirm(plan.plan_id)).mig_id == "MIG-new-3"
    assert device.changes() == [SWITCH_ON, MAKE]


async def test_driver_that_lists_nothing_before_the_mode_is_on_is_estimated_and_then_asked(planning: Planning) -> None:
    planner, device = planning.planner, planning.device
    device.switch_off()
    device.set(lists_when_off=False)
    plan = await planner.plan("GPU-0", vram_mb=20_000, compute_percent=20)
    assert (plan.facts.is_estimate, plan.profile.name) == (True, "2g")
    assert "or what comes nearest" in plan.words
    made = await planner.confirm(plan.plan_id)
    assert (made.profile.name, device.changes()) == ("2g.20gb", [SWITCH_ON, MAKE])


async def test_mode_is_taken_back_when_what_was_estimated_is_not_offered(planning: Planning) -> None:
    planner, device = planning.planner, planning.device
    device.switch_off()
    device.set(lists_when_off=False)
    plan = await planner.plan("GPU-0", vram_mb=20_300)
    device.set(listing="\n".join(line for line in LISTING.splitlines() if "1g.10gb" in line))
    with pytest.raises(Conflict, match="no MIG profile with so much"):
        await planner.confirm(plan.plan_id)
    assert device.changes() == [SWITCH_ON, SWITCH_OFF]
    assert device.gpu["current"] == "Disabled"


async def test_mode_that_waits_for_a_reset_is_taken_back_and_nothing_is_reset(planning: Planning) -> None:
    planner, device = planning.planner, planning.device
    device.switch_off()
    device.set(is_watched=True)
    plan = await planner.plan("GPU-0")
    with pytest.raises(Conflict, match="waits for a reset"):
        await planner.confirm(plan.plan_id)
    assert device.changes() == [SWITCH_ON, SWITCH_OFF]
    assert (device.gpu["current"], device.gpu["pending"]) == ("Disabled", "Disabled")


async def test_instance_whose_compute_instance_fails_is_taken_away_with_the_mode(planning: Planning) -> None:
    planner, device = planning.planner, planning.device
    device.switch_off()
    device.set(refuses_compute=True)
    plan = await planner.plan("GPU-0", compute_percent=20)
    with pytest.raises(Conflict, match="Insufficient Resources"):
        await planner.confirm(plan.plan_id)
    ends = ["mig -dci -i GPU-0 -gi 3", "mig -dgi -i GPU-0 -gi 3", SWITCH_OFF]
    assert device.changes() == [SWITCH_ON, MAKE, *ends]
    assert (device.gpu["instances"], device.gpu["current"]) == ([], "Disabled")


@pytest.mark.parametrize("kind", ["C", "G"])
async def test_gpu_with_processes_is_not_touched_whatever_they_do_there(planning: Planning, kind: str) -> None:
    planner, device = planning.planner, planning.device
    plan = await planner.plan("GPU-0")
    device.set(processes=[[4711, kind]])
    with pytest.raises(Conflict, match="has processes: 4711"):
        await planner.plan("GPU-0")
    with pytest.raises(Conflict, match="has processes: 4711") as refused:
        await planner.confirm(plan.plan_id)
    assert "unproven on this host" in refused.value.hint
    assert device.changes() == []


async def test_booked_gpu_is_not_touched_and_one_in_work_is_booked(planning: Planning) -> None:
    planner, ledger = planning.planner, planning.appliance.state.ledger
    plan = await planner.plan("GPU-0")
    holder = Holder(kind="task", holder_id="attempt-1")
    booking = await ledger.book(holder, (Part(gpu_id="GPU-0", milli_gpu=1),), lease_seconds=60)
    with pytest.raises(Conflict, match="the GPU is booked"):
        await planner.plan("GPU-0")
    with pytest.raises(Conflict, match="the GPU is booked"):
        await planner.confirm(plan.plan_id)
    assert planning.device.changes() == []
    await ledger.release(holder, booking.fencing_token)
    await planner.confirm((await planner.plan("GPU-0", compute_percent=20)).plan_id)
    assert ledger.free("GPU-0").milli_gpu == 1000
    assert ledger.bookings() == []


@pytest.mark.parametrize(
    "change",
    [
        {"listing": LISTING.replace("7/7", "6/7")},
        {"driver": "590.1"},
        {"instances": [{"id": 1, "name": "1g.10gb", "mib": 9984}]},
        {"current": "Disabled", "pending": "Disabled"},
    ],
)
async def test_plan_of_a_gpu_that_has_changed_is_not_carried_out(planning: Planning, change: dict[str, object]) -> None:
    plan = await planning.planner.plan("GPU-0")
    planning.device.set(**change)
    with pytest.raises(Conflict, match="has changed since"):
        await planning.planner.confirm(plan.plan_id)
    assert planning.device.changes() == []
    assert planning.appliance.state.ledger.bookings() == []


async def test_gpu_whose_mode_changes_at_the_next_reset_is_not_planned_for(planning: Planning) -> None:
    planning.device.set(pending="Disabled")
    with pytest.raises(Conflict, match="changes at its next reset"):
        await planning.planner.plan("GPU-0")


async def test_plan_is_forgotten_after_ten_minutes(planning: Planning) -> None:
    plan = await planning.planner.plan("GPU-0")
    planning.planner._plans[plan.plan_id] = evolve(plan, made_unix_us=plan.made_unix_us - PLAN_US - 10_000_000)
    with pytest.raises(NotFound):
        await planning.planner.confirm(plan.plan_id)
    assert planning.device.changes() == []


async def test_what_has_no_mig_says_so(planning: Planning, tmp_path: Path) -> None:
    planner, device = planning.planner, planning.device
    device.set(current="N/A", pending="N/A")
    with pytest.raises(NotAvailable, match=r"has no MIG \(N/A\)"):
        await planner.plan("GPU-0")
    with pytest.raises(NotFound):
        await planner.plan("GPU-7")
    planner.program = str(tmp_path / "nothing")
    with pytest.raises(NotAvailable, match="nvidia-smi is not on this host"):
        await planner.plan("GPU-0")


async def test_appliance_that_is_not_root_plans_and_says_why_it_goes_no_further(planning: Planning) -> None:
    planning.planner.is_root = False
    plan = await planning.planner.plan("GPU-0")
    assert "does not run as root" in plan.problem
    with pytest.raises(NotAvailable, match="does not run as root"):
        await planning.planner.confirm(plan.plan_id)
    assert planning.device.changes() == []


async def test_host_is_proven_by_an_instance_that_has_its_memory_and_stays_so(planning: Planning) -> None:
    planner, device = planning.planner, planning.device
    assert "unproven on this host" in planner.proof()
    await planner.confirm((await planner.plan("GPU-0", compute_percent=20)).plan_id)
    assert "580.173.02" in planner.proof()
    again = MigPlanner(planner.core, program=device.program)
    assert again.proof() == planner.proof()


async def test_host_stays_unproven_when_the_instance_has_another_size(planning: Planning) -> None:
    planner, device = planning.planner, planning.device
    device.set(
        listing=LISTING.replace("2g.20gb         14     3/3        19.62", "2g.20gb         14     3/3        35.00")
    )
    await planner.confirm((await planner.plan("GPU-0", compute_percent=20, vram_mb=30_000)).plan_id)
    assert "unproven on this host" in planner.proof()


async def test_api_plans_for_operators_and_confirms_for_admins(planning: Planning) -> None:
    appliance = planning.appliance
    user, operator = await appliance.bearer("ana", Role.USER), await appliance.bearer("olga", Role.OPERATOR)
    wanted = {"gpu_id": "GPU-0", "compute_percent": 20}
    assert (await appliance.post(MIG, wanted, headers=user)).status == 403
    made = await appliance.post(MIG, wanted, headers=operator)
    assert made.status == 201, made.text
    assert made.json["commands"] == [["nvidia-smi", *MAKE.split()]]
    assert made.json["gpu_instance"] == {
        "profile": "2g.20gb",
        "profile_id": 14,
        "memory_mib": 20_090,
        "compute_percent": 24,
        "is_estimate": False,
    }
    assert "unproven on this host" in made.json["proof"]
    confirm = f"{MIG}/{made.json['plan_id']}/confirm"
    assert (await appliance.post(confirm, headers=operator)).status == 403
    assert planning.device.changes() == []
    done = await appliance.post(confirm, headers=await appliance.bearer("ada", Role.ADMIN))
    assert (done.status, done.json["is_done"], done.json["instance"]["mig_id"]) == (200, True, "MIG-new-3")
    assert (await appliance.post(MIG, {"gpu_id": "GPU-0", "vram_mb": 0}, headers=operator)).status == BadInput.status
