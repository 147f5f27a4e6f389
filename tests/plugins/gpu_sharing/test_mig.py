"""MIG plans, carried out by a stand-in for nvidia-smi that keeps a GPU's state in files."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from attrs import define, frozen

from appliance.errors import Conflict, NotAvailable, NotFound
from appliance.testing import RunningAppliance, running, scripted_gpus
from plugins.gpu_sharing.mig import PLAN_US, MigPlanner, Profile, pick, read_profiles

LISTING = """\
+-------------------------------------------------------------------------------+
| GPU instance profiles:                                                        |
| GPU   Name               ID    Instances   Memory     P2P    SM    DEC   ENC  |
|                                Free/Total   GiB              CE    JPEG  OFA  |
|===============================================================================|
|   0  MIG 1g.10gb         19     7/7        9.75       No     16     1     0   |
|                                                               1     1     0   |
+-------------------------------------------------------------------------------+
|   0  MIG 1g.10gb+me      20     1/1        9.75       No     16     1     0   |
|                                                               1     1     1   |
+-------------------------------------------------------------------------------+
|   0  MIG 2g.20gb         14     3/3        19.62      No     32     2     0   |
|                                                               2     2     0   |
+-------------------------------------------------------------------------------+
|   0  MIG 7g.80gb          0     1/1        79.25      No     132    7     0   |
|                                                               8     7     1   |
+-------------------------------------------------------------------------------+
"""
PROGRAM = """#!/bin/sh
cd "{folder}" || exit 9
echo "$*" >> calls
case "$*" in
  *query-compute-apps*) cat processes ;;
  *mig.mode.current*) cat mode ;;
  *-lgip*) cat listing ;;
  *-cgi*) echo "Successfully created GPU instance" ;;
  *"-mig 1"*) echo Enabled > mode ;;
  *) echo "unknown option" >&2; exit 2 ;;
esac
"""


@frozen
class Device:
    """The stand-in, and what it is told of the GPU."""

    folder: Path

    @property
    def program(self) -> str:
        return str(self.folder / "nvidia-smi")

    def set(self, **files: str) -> None:
        for name, text in files.items():
            (self.folder / name).write_text(text)

    def done(self) -> list[str]:
        """Return what was asked of it that changes anything."""
        calls = (self.folder / "calls").read_text().splitlines() if (self.folder / "calls").exists() else []
        return [call for call in calls if "-cgi" in call or "-mig 1" in call]


@pytest.fixture
def device(tmp_path: Path) -> Device:
    folder = tmp_path / "device"
    folder.mkdir()
    made = Device(folder)
    made.set(processes="", mode="Enabled\n", listing=LISTING)
    program = Path(made.program)
    program.write_text(PROGRAM.format(folder=folder))
    program.chmod(0o755)
    return made


@define
class Planning:
    planner: MigPlanner
    appliance: RunningAppliance


@pytest.fixture
async def planning(tmp_path: Path, device: Device) -> AsyncIterator[Planning]:
    async with running(tmp_path, backends=[scripted_gpus(1)]) as appliance:
        core = appliance.running.plugins.parts["gpu_sharing"].surfaces[0].state.core
        yield Planning(MigPlanner(core, program=device.program), appliance)


def test_profiles_are_read_as_nvidia_smi_writes_them() -> None:
    found = {each.name: each for each in read_profiles(LISTING)}
    assert list(found) == ["1g.10gb", "1g.10gb+me", "2g.20gb", "7g.80gb"]
    assert found["2g.20gb"] == Profile(name="2g.20gb", profile_id=14, slices=2, free=3, memory_mib=20_090)
    assert read_profiles("No MIG-enabled devices found.\n") == []


@pytest.mark.parametrize(
    ("vram_mb", "compute_percent", "name"),
    [
        (None, None, "1g.10gb"),
        (9_000, 14, "1g.10gb"),
        (9_000, 15, "2g.20gb"),
        (10_000, None, "2g.20gb"),
        (30_000, 50, "7g.80gb"),
    ],
)
def test_smallest_profile_that_has_enough_is_picked(
    vram_mb: int | None, compute_percent: int | None, name: str
) -> None:
    assert pick(read_profiles(LISTING), vram_mb=vram_mb, compute_percent=compute_percent).name == name


def test_profile_that_nobody_has_is_refused_with_what_there_is() -> None:
    with pytest.raises(Conflict) as refused:
        pick(read_profiles(LISTING), vram_mb=200_000, compute_percent=None)
    assert "1g.10gb (7 free)" in refused.value.hint


async def test_plan_does_nothing_and_its_confirmation_does_it_once(planning: Planning, device: Device) -> None:
    plan = await planning.planner.plan("GPU-0", vram_mb=12_000)
    assert (plan.profile and plan.profile.name, device.done()) == ("2g.20gb", [])
    assert "unproven on this host" in plan.words
    await planning.planner.confirm(plan.plan_id)
    assert device.done() == ["mig -i GPU-0 -cgi 14 -C"]
    with pytest.raises(NotFound):
        await planning.planner.confirm(plan.plan_id)


async def test_mode_is_switched_on_first_and_on_its_own(planning: Planning, device: Device) -> None:
    device.set(mode="Disabled\n")
    plan = await planning.planner.plan("GPU-0", vram_mb=12_000)
    assert plan.profile is None
    await planning.planner.confirm(plan.plan_id)
    assert device.done() == ["-i GPU-0 -mig 1"]
    assert (await planning.planner.plan("GPU-0", vram_mb=12_000)).profile is not None


async def test_gpu_with_processes_or_bookings_is_not_touched(planning: Planning, device: Device) -> None:
    plan = await planning.planner.plan("GPU-0")
    device.set(processes="4711\n")
    with pytest.raises(Conflict, match="has processes"):
        await planning.planner.plan("GPU-0")
    with pytest.raises(Conflict, match="has processes"):
        await planning.planner.confirm(plan.plan_id)
    assert device.done() == []


async def test_plan_of_a_gpu_that_has_changed_is_not_carried_out(planning: Planning, device: Device) -> None:
    plan = await planning.planner.plan("GPU-0")
    device.set(listing=LISTING.replace("7/7", "6/7"))
    with pytest.raises(Conflict, match="have changed"):
        await planning.planner.confirm(plan.plan_id)
    old = await planning.planner.plan("GPU-0")
    now = planning.planner.core.now()
    planning.planner._plans[old.plan_id] = old.__class__(
        **{name: getattr(old, name) for name in ("plan_id", "gpu_id", "profile", "steps", "words")},
        made_unix_us=now - PLAN_US - 1,
    )
    with pytest.raises(NotFound):
        await planning.planner.confirm(old.plan_id)
    assert device.done() == []


async def test_what_has_no_mig_says_so(planning: Planning, device: Device, tmp_path: Path) -> None:
    device.set(mode="[N/A]\n")
    with pytest.raises(NotAvailable, match=r"has no MIG \(\[N/A\]\)"):
        await planning.planner.plan("GPU-0")
    with pytest.raises(NotFound):
        await planning.planner.plan("GPU-7")
    missing = MigPlanner(planning.planner.core, program=str(tmp_path / "nothing"))
    with pytest.raises(NotAvailable, match="nvidia-smi is not on this host"):
        await missing.plan("GPU-0")


async def test_api_plans_for_operators_and_confirms_for_admins(planning: Planning, device: Device) -> None:
    state = planning.appliance.running.plugins.parts["gpu_sharing"].surfaces[0].state
    state.mig = planning.planner
    made = await planning.appliance.control("POST", "/api/appliance/sharing/mig/plan", {"gpu_id": "GPU-0"})
    assert (made.status, made.json["commands"]) == (201, [["nvidia-smi", "mig", "-i", "GPU-0", "-cgi", "19", "-C"]])
    done = await planning.appliance.control("POST", f"/api/appliance/sharing/mig/plan/{made.json['plan_id']}/confirm")
    assert (done.status, done.json["is_done"]) == (200, True)
    assert os.access(device.program, os.X_OK)
