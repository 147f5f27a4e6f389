"""One payload to one drone: there as a whole, or not at all."""

from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.errors import Conflict, NotFound, StorageFailed
from plugins.build_swarm.approval import NotApproved
from plugins.build_swarm.payloads import store
from plugins.build_swarm.payloads.deploying import DeployFailed
from plugins.build_swarm.payloads.journal import UNKNOWN, Attempt, Journal
from plugins.build_swarm.payloads.models import DronePayload, LogEntry
from plugins.build_swarm.ssh_command import SshFailed
from tests.plugins.build_swarm.payloads.parts import BINARY, BY, Box, opened

LOST = SshFailed("unreachable", "the connection ended", drone_name="d1")
REFUSED = SshFailed("command", "no space left on device", drone_name="d1")


class FullDisk(Journal):
    """Takes the beginning of an attempt, and nothing after it."""

    async def ended(self, attempt: Attempt, row: DronePayload | None, *, error: str = "", words: str = "") -> None:
        raise StorageFailed("the disk is full")


async def deploy(box: Box, version: str, drone: str = "d1", *, verify: bool = True) -> Any:
    return await box.payloads.deploy(drone, "drone_binary", version, verify=verify, by=BY)


async def row(box: Box) -> DronePayload:
    (found,) = await box.database.read(store.drone_payloads)
    return found


async def log(box: Box, drone: str = "") -> list[LogEntry]:
    return await box.payloads.log("drone_binary", drone=drone, limit=100)


async def test_payload_is_on_the_drone_with_its_mode_and_written_down_everywhere(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        made = await box.add("1.0", b"#!/bin/sh\n")
        box.fleet.add("d1")
        done = await deploy(box, "1.0")
        assert done.message == "Deployed drone_binary v1.0 to d1"
        assert box.drones.files("d1") == {BINARY: "#!/bin/sh\n"}
        assert box.drones.path("d1").stat().st_mode & 0o777 == 0o755
        has = await row(box)
        assert (has.version, has.sha256, has.status, has.error) == ("1.0", made.sha256, "deployed", "")
        (entry,) = await log(box)
        assert (entry.drone_id, entry.drone_name, entry.version, entry.action) == ("id-d1", "d1", "1.0", "deploy")
        assert (entry.status, entry.error, entry.by) == ("success", "", "ana")
        assert entry.duration_ms is not None
        assert entry.duration_ms >= 0
        assert box.notes == [("payload", done.message)]
        (event,) = await box.events.newest(kinds=("swarm.payload",))
        assert (event.message, event.level, event.subject) == (done.message, "info", "d1")
        (audited,) = await box.audit.newest()
        assert (audited.action, audited.object, audited.who_name) == ("swarm.payload.deploy", "d1", "ana")


async def test_second_version_replaces_the_first_and_nothing_else_stays(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await box.add("1.0", "one")
        await box.add("2.0", "two")
        box.fleet.add("d1")
        await deploy(box, "1.0")
        await deploy(box, "2.0", verify=False)
        assert box.drones.files("d1") == {BINARY: "two"}
        assert (await row(box)).version == "2.0"
        assert [one.version for one in await log(box)] == ["2.0", "1.0"]
        assert [step for _, step in box.drones.steps] == ["keep", "put", "sha256sum", "rm", "keep", "put", "rm"]


@pytest.mark.parametrize("step", ["put", "sha256sum"])
async def test_deploy_that_fails_leaves_the_file_that_was_there_bit_for_bit(tmp_path: Path, step: str) -> None:
    async with opened(tmp_path) as box, box.working():
        await box.add("1.0", "one")
        await box.add("2.0", "two")
        box.fleet.add("d1")
        await deploy(box, "1.0")
        before = box.drones.path("d1").stat()
        box.drones.faults["d1", step] = REFUSED
        with pytest.raises(DeployFailed, match="no space left") as failed:
            await deploy(box, "2.0")
        assert (failed.value.status, failed.value.is_untouched) == (500, False)
        assert box.drones.files("d1") == {BINARY: "one"}
        after = box.drones.path("d1").stat()
        assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
        has = await row(box)
        assert (has.version, has.status) == ("1.0", "failed")
        assert "no space left" in has.error
        assert [(one.version, one.status) for one in await log(box)] == [("2.0", "failed"), ("1.0", "success")]
        assert "no space left" in (await log(box))[0].error
        assert box.notes[-1][1].startswith("deploy of drone_binary v2.0 to d1 failed")


async def test_copy_that_was_given_up_cannot_come_to_its_end_afterwards(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await box.add("1.0")
        box.fleet.add("d1")
        for name in (".appliance.Ab3dEf9h", ".appliance.Ab3dEf9h.put", ".appliance.other", "swarm-drone-2"):
            box.drones.write("d1", "half", f"/usr/local/bin/{name}")
        box.drones.faults["d1", "put"] = LOST
        with pytest.raises(DeployFailed):
            await deploy(box, "1.0")
        assert set(box.drones.files("d1")) == {"/usr/local/bin/.appliance.other", "/usr/local/bin/swarm-drone-2"}


async def test_first_deploy_that_fails_leaves_no_file(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await box.add("1.0")
        box.fleet.add("d1")
        box.drones.faults["d1", "sha256sum"] = REFUSED
        with pytest.raises(DeployFailed):
            await deploy(box, "1.0")
        assert box.drones.files("d1") == {}
        assert ((await row(box)).version, (await row(box)).status) == ("1.0", "failed")


async def test_file_that_is_not_what_was_sent_is_found_and_undone(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await box.add("1.0", "one")
        box.fleet.add("d1")
        box.drones.write("d1", "from before")
        held = box.drones.holds["d1", "sha256sum"] = trio.Event()
        failures: list[DeployFailed] = []

        async def attempt() -> None:
            try:
                await deploy(box, "1.0")
            except DeployFailed as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(attempt)
            await box.drones.reached.wait()
            box.drones.path("d1").write_text("something else")
            held.set()
        assert "is not what was sent: it has sha256" in failures[0].message
        assert box.drones.files("d1") == {BINARY: "from before"}


async def test_drone_that_is_never_reached_is_untouched_and_keeps_its_version(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await box.add("1.0", "one")
        await box.add("2.0", "two")
        box.fleet.add("d1")
        await deploy(box, "1.0")
        box.drones.faults["d1", "keep"] = LOST
        with pytest.raises(DeployFailed) as failed:
            await deploy(box, "2.0")
        assert failed.value.is_untouched
        assert failed.value.hint == LOST.hint
        assert ((await row(box)).version, (await row(box)).status) == ("1.0", "failed")
        assert box.drones.files("d1") == {BINARY: "one"}


async def test_drone_lost_in_the_middle_is_said_to_be_unknown(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await box.add("1.0")
        await box.add("2.0")
        box.fleet.add("d1")
        await deploy(box, "1.0")
        box.drones.faults = {("d1", "put"): LOST, ("d1", "back"): LOST}
        with pytest.raises(DeployFailed, match="not known"):
            await deploy(box, "2.0")
        has = await row(box)
        assert (has.version, has.status) == ("2.0", "failed")
        assert UNKNOWN in has.error


async def test_folder_in_the_place_of_the_file_is_refused_and_stays(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await box.add("1.0")
        box.fleet.add("d1")
        box.drones.write("d1", "x", f"{BINARY}/inside")
        with pytest.raises(DeployFailed, match="is a folder") as failed:
            await deploy(box, "1.0")
        assert failed.value.is_untouched
        assert box.drones.files("d1") == {f"{BINARY}/inside": "x"}


async def test_link_in_the_place_of_the_file_comes_back_as_a_link(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await box.add("1.0")
        box.fleet.add("d1")
        real = box.drones.write("d1", "real", "/opt/real")
        link = box.drones.path("d1")
        link.parent.mkdir(parents=True)
        link.symlink_to(real)
        box.drones.faults["d1", "sha256sum"] = REFUSED
        with pytest.raises(DeployFailed):
            await deploy(box, "1.0")
        assert link.is_symlink()
        assert link.read_text() == real.read_text() == "real"


async def test_unknown_drones_versions_and_unapproved_drones_are_told_before_anything_is_done(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await box.add("1.0")
        box.fleet.add("d1")
        box.approvals.refused.add("d1")
        with pytest.raises(NotFound, match="no drone 'd2'"):
            await deploy(box, "1.0", "d2")
        with pytest.raises(NotFound, match=r"drone_binary 9\.9"):
            await deploy(box, "9.9")
        with pytest.raises(NotApproved) as refused:
            await deploy(box, "1.0")
        assert refused.value.hint == "appliance swarm approve d1"
        assert box.drones.steps == []
        assert await log(box) == []


async def test_second_deploy_to_a_drone_is_refused_while_the_first_is_under_way(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await box.add("1.0")
        box.fleet.add("d1")
        box.fleet.add("d2")
        held = box.drones.holds["d1", "put"] = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(deploy, box, "1.0")
            await box.drones.reached.wait()
            assert (await row(box)).status == "deploying"
            with pytest.raises(Conflict, match="under way on drone d1"):
                await deploy(box, "1.0")
            await deploy(box, "1.0", "d2")
            held.set()
        await deploy(box, "1.0")


async def test_deploy_goes_on_when_who_asked_for_it_has_hung_up(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await box.add("1.0", "one")
        box.fleet.add("d1")
        held = box.drones.holds["d1", "put"] = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(deploy, box, "1.0")
            await box.drones.reached.wait()
            nursery.cancel_scope.cancel()
        assert (await log(box))[0].status == "deploying"
        held.set()
        with trio.fail_after(30):
            while (await log(box))[0].status == "deploying":  # noqa: ASYNC110  the log knows no events
                await trio.sleep(0.01)
        assert (await log(box))[0].status == "success"
        assert box.drones.files("d1")[BINARY] == "one"


async def test_deploy_that_the_end_of_the_appliance_cut_off_is_failed_at_its_next_start(tmp_path: Path) -> None:
    async with opened(tmp_path) as box:
        await box.add("1.0")
        box.fleet.add("d1")
        box.drones.holds["d1", "put"] = trio.Event()
        told: list[Exception] = []

        async def attempt() -> None:
            try:
                await deploy(box, "1.0")
            except Exception as error:
                told.append(error)

        async with trio.open_nursery() as nursery, box.working():
            nursery.start_soon(attempt)
            await box.drones.reached.wait()
        assert "stopping" in str(told[0])
        assert (await row(box)).status == (await log(box))[0].status == "deploying"
        box.restart()
        async with box.working():
            has, (entry,) = await row(box), await log(box)
            assert (has.status, entry.status) == ("failed", "failed")
            assert has.error == entry.error
            assert "verify" in has.error


async def test_full_disk_undoes_what_cannot_be_written_down(tmp_path: Path) -> None:
    async with opened(tmp_path) as box, box.working():
        await box.add("1.0", "one")
        await box.add("2.0", "two")
        box.fleet.add("d1")
        await deploy(box, "1.0")
        journal = box.payloads.deployer.journal
        box.payloads.deployer.journal = FullDisk(core=journal.core, note=journal.note, monotonic=journal.monotonic)
        with pytest.raises(DeployFailed, match="the disk is full"):
            await deploy(box, "2.0")
        assert box.drones.files("d1")[BINARY] == "one"
