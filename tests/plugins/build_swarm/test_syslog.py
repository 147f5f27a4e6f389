"""The logs of a drone."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from plugins.build_swarm.syslog import read_syslog, syslog_command
from tests.plugins.build_swarm.ssh_kit import Box, opened
from tests.wire.sshd import Sshd, running_sshd

DEADLINE_S = 60.0


@pytest.fixture
def drone(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path / "drone") as one:
        yield one


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    async with opened(tmp_path) as made, made.serving():
        yield made


async def test_log_is_read_from_its_end(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    drone.stub("dmesg", "seq 1 100")
    found = await read_syslog(box.ssh, approval, "dmesg", 3, deadline_s=DEADLINE_S)
    assert (found.lines, found.error, found.is_cut) == (("98", "99", "100"), "", False)


@pytest.mark.parametrize(
    ("kind", "journal"), [("swarm-drone", "swarm-drone"), ("messages", "all"), ("emerge", "none"), ("portage", "none")]
)
def test_every_kind_of_log_has_files_and_some_a_journal(kind: str, journal: str) -> None:
    command = syslog_command(kind, 100)
    assert command[:2] == ["sh", "-c"]
    assert command[4:6] == ["100", journal]
    assert all(path.startswith("/var/log/") for path in command[6:])
    assert len(command) > 6


async def test_log_of_systemd_is_read_where_there_is_no_file(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    drone.stub("journalctl", 'echo "journal $*"')
    found = await read_syslog(box.ssh, approval, "swarm-drone", 7, deadline_s=DEADLINE_S)
    assert found.lines == ("journal --no-pager -n 7 -u swarm-drone",)


async def test_log_that_is_not_there_is_said_so_and_is_no_failure(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    drone.stub("journalctl", "exit 127")
    found = await read_syslog(box.ssh, approval, "portage", 7, deadline_s=DEADLINE_S)
    assert found.lines == ()
    assert found.error.startswith("there is no such log: /var/log/portage/")


async def test_log_without_end_is_cut(box: Box, drone: Sshd) -> None:
    approval = await box.approve(drone)
    drone.stub("dmesg", "head -c 20000 /dev/zero | tr '\\0' x; echo; echo last")
    found = await read_syslog(box.ssh, approval, "dmesg", 10, deadline_s=DEADLINE_S)
    assert (len(found.lines[0]), found.lines[1], found.is_cut) == (8192, "last", True)
