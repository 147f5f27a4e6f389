"""What a probe's answer means, and what is kept of it."""

import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.build_swarm.probing import SCRIPT, BadAnswer, Limits, Vitals, judged, read_vitals
from plugins.build_swarm.ssh_settings import SshSettings
from tests.plugins.build_swarm.ssh_kit import Box, opened
from tests.wire.sshd import running_sshd

LINE = "PROC 1 LOAD 2.40 DISK 45 EMERGE 1 UPTIME 3600.12 MEM 33.1"
VITALS = Vitals(processes=1, load=2.4, disk_percent=45, emerge_running=True, uptime_seconds=3600.12, mem_percent=33.1)


def test_answer_is_read_whatever_the_drones_own_login_says_before() -> None:
    assert read_vitals(f"Welcome to PROC\n{LINE}\n") == VITALS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PROC",
        LINE.replace("PROC 1", "PROC"),
        LINE.replace("PROC 1", "PROC -1"),
        LINE.replace("PROC 1", "PROC 1_0"),
        LINE.replace("PROC 1", "PROC " + "9" * 5000),
        LINE.replace("2.40", "nan"),
        LINE.replace("2.40", "inf"),
        LINE.replace("2.40", "1e9"),
        LINE.replace("2.40", "2,40"),
        LINE.replace("2.40", "."),
        LINE.replace("2.40", "٢"),
        LINE.replace("DISK 45", "DISK 101"),
        LINE.replace("DISK 45", "DISK 45%"),
        LINE.replace("MEM 33.1", "MEM"),
        LINE.replace("MEM", "MAM"),
        LINE + " MORE 1",
        "LOAD 2.40 " + LINE,
        LINE.replace("UPTIME 3600.12", "UPTIME 99999999999"),
    ],
)
def test_answer_that_cannot_be_right_is_refused(text: str) -> None:
    with pytest.raises(BadAnswer):
        read_vitals(text)


@given(text=st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(BadAnswer):
        read_vitals(f"PROC {text}")


@pytest.mark.parametrize(
    ("changes", "cores", "status"),
    [
        ({}, 0, "ok"),
        ({"processes": 0}, 0, "service_down"),
        ({"processes": 0, "load": 99.0}, 0, "service_down"),
        ({"load": 50.0}, 0, "ok"),
        ({"load": 50.1}, 16, "overloaded"),
        ({"load": 127.0}, 64, "ok"),
        ({"load": 128.1}, 64, "overloaded"),
        ({"disk_percent": 95.0}, 0, "ok"),
        ({"disk_percent": 96.0}, 0, "disk_full"),
        ({"mem_percent": 95.1}, 0, "memory_full"),
    ],
)
def test_what_is_wrong_with_a_drone_is_seen(changes: dict[str, float], cores: int, status: str) -> None:
    values = {"processes": 1, "load": 1.0, "disk_percent": 10.0, "uptime_seconds": 1.0, "mem_percent": 10.0, **changes}
    assert judged(Vitals(emerge_running=False, **values), Limits(), cores) == status  # type: ignore[arg-type]


@pytest.mark.parametrize("shell", ["sh", "busybox sh"])
@pytest.mark.parametrize("is_running", [False, True])
def test_command_of_a_probe_tells_the_truth_of_this_host(shell: str, is_running: bool) -> None:
    if shutil.which(shell.split()[0]) is None:
        pytest.skip(f"there is no {shell}")
    name = f"zzyx-drone-{os.getpid()}"  # no other program of this host is called so
    program = subprocess.Popen([name, "600"], executable=shutil.which("sleep")) if is_running else None
    try:
        line = [*shell.split(), "-c", SCRIPT, "probe", f"[z]{name[1:]}"]
        ran = subprocess.run(line, capture_output=True, text=True, check=True)
    finally:
        if program is not None:
            program.kill()
            program.wait()
    found = read_vitals(ran.stdout)
    assert found.processes == int(is_running)
    assert 0 < found.mem_percent < 100
    assert found.uptime_seconds == pytest.approx(float(Path("/proc/uptime").read_text().split()[0]), abs=60)


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    async with opened(tmp_path, ssh_probe_seconds=30.0) as made, made.serving():
        yield made


async def test_probe_of_a_real_drone_is_kept_and_outlasts_a_restart(box: Box, tmp_path: Path) -> None:
    with running_sshd(tmp_path / "drone") as drone:
        approval = await box.approve(drone)
        drone.stub("pgrep", 'case "$*" in *-x*) ;; *) echo 77 ;; esac')
        first = await box.prober.probe(approval)
        assert (first.status, first.seq, first.is_answered) == ("ok", 1, True)
        assert first.vitals is not None
        assert (first.vitals.processes, first.vitals.emerge_running) == (1, False)
        assert first.latency_ms is not None
        assert first.latency_ms > 0
        await box.prober.write()
        box.restart()
        assert box.prober.newest("drone-01") == first
        drone.stub("pgrep", "true")
        assert (await box.prober.probe(approval)).status == "service_down"


async def test_drone_that_is_gone_keeps_when_it_last_answered(box: Box, tmp_path: Path) -> None:
    with running_sshd(tmp_path / "drone") as drone:
        drone.stub("pgrep", "echo 77")
        approval = await box.approve(drone)
        alive = await box.prober.probe(approval)
        drone.down()
        box.now.advance(60)
        gone = await box.prober.probe(approval)
    assert (gone.status, gone.seq, gone.latency_ms, gone.vitals) == ("unreachable", 2, None, None)
    assert gone.answered_unix_us == alive.answered_unix_us
    assert gone.probed_unix_us == alive.probed_unix_us + 60_000_000
    assert gone.error


async def test_probes_of_drones_that_are_gone_are_forgotten(box: Box, tmp_path: Path) -> None:
    with running_sshd(tmp_path / "drone") as drone:
        approval = await box.approve(drone)
        await box.prober.probe(approval)
        await box.prober.write()
    await box.prober.keep_only({"drone-01"})
    box.restart()
    assert box.prober.newest("drone-01")
    await box.prober.keep_only({"another"})
    assert box.prober.newest("drone-01") is None
    box.restart()
    assert box.prober.newest("drone-01") is None


@pytest.mark.parametrize(
    ("line", "is_drone"),
    [
        ("/usr/bin/python3 /usr/local/bin/swarm-drone", True),
        ("python3 ./appliance.pyz drone --server http://10.0.0.1:8100", True),
        ("python3 -m appliance --config x drone", True),
        ("python3 ./appliance.pyz serve", False),
        ("python3 ./appliance.pyz swarm nodes --drones", False),
    ],
)
def test_drone_program_is_told_by_its_command_line(line: str, is_drone: bool) -> None:
    assert bool(re.search(SshSettings().ssh_drone_process, line)) is is_drone
    assert not re.search(SshSettings().ssh_drone_process, SshSettings().ssh_drone_process)


async def test_drone_that_answers_nonsense_is_an_error_and_no_crash(box: Box, tmp_path: Path) -> None:
    with running_sshd(tmp_path / "drone") as drone:
        approval = await box.approve(drone)
        drone.stub("df", "echo; echo a b c d 400%")
        drone.stub("pgrep", "echo 77")
        found = await box.prober.probe(approval)
    assert (found.status, found.error) == ("error", "'400' is no figure of a drone")


async def test_probe_changes_nothing_of_the_drone(box: Box, tmp_path: Path) -> None:
    with running_sshd(tmp_path / "drone") as drone:
        approval = await box.approve(drone)
        known = box.fleet.known["drone-01"]
        known.metrics, known.last_seen_unix_us = {"cpu_percent": 45.2}, 5
        await box.prober.probe(approval)
        drone.down()
        await box.prober.probe(approval)
    assert (known.metrics, known.last_seen_unix_us, known.is_online) == ({"cpu_percent": 45.2}, 5, True)
