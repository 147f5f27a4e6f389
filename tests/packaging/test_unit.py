"""The systemd unit gives the appliance what it needs to run workers' commands, and nothing that it does not."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from plugins.gpu_sharing.dwelling import homes_beside
from plugins.gpu_sharing.mps_folder import PARENT
from tests.plugins.gpu_sharing.runners import is_alive, needs_root, open_folder

FILE = Path(__file__).parents[2] / "packaging/appliance.service"
LINES = [line for line in FILE.read_text().splitlines() if line and line[0] not in "#["]

WORKS = """
import structlog, sys, trio
from pathlib import Path
from tests.plugins.gpu_sharing.runners import SECONDS, WORKER, Bench, python
structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # what is said here is read
it = Bench(Path(sys.argv[1]), is_fenced=False)

async def main():
    async with trio.open_nursery() as nursery:
        await nursery.start(it.running.run)
        it.want(python(sys.argv[2]))
        with trio.fail_after(SECONDS):
            while not it.running.target(WORKER):
                if "cannot" in it.state.why:
                    print(it.state.why)
                    nursery.cancel_scope.cancel()
                await trio.sleep(0.02)
            print(it.state.pid, await it.written_to("far"), flush=True)
            it.remove()
            await it.gone()
        nursery.cancel_scope.cancel()

trio.run(main)
"""
STUBBORN = """
import os, signal, socket, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    open("far.tmp", "w").write(str(os.getpid()))
    os.rename("far.tmp", "far")
    time.sleep(600)
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
time.sleep(600)
"""
MPS = """
import os, subprocess, sys
from pathlib import Path
from plugins.gpu_sharing.launching import Identity, as_user
from plugins.gpu_sharing.mps_folder import LOG_BYTES, bound_logs, clear, make_folder
other = Identity(uid=65534, gid=65534, home=Path("/"), is_own=False)
places = {"own": Path(sys.argv[1]) / "own", "run": Path(sys.argv[1]), "instance": "i"}
fill = f"umask 077; mkdir -p a/b; touch a/b/c; truncate -s {LOG_BYTES + 1} control.log"
for _ in range(2):  # the second takes away what is in the way
    folder = make_folder("k", other, **places)
    for path in (folder.pipe, folder.log):
        subprocess.run(["sh", "-c", f"cd {path} && {fill}"], cwd="/", check=True, **as_user(other))
    bound_logs(folder, other)
    print((folder.log / "control.log").stat().st_size)
clear(**places)
print(folder.base.exists())
"""


def said(name: str) -> list[str]:
    """Return the words of all lines of the unit that set something."""
    return [word for line in LINES if line.startswith(f"{name}=") for word in line.partition("=")[2].split()]


def run(script: str, *arguments: str, without: str = "") -> str:
    """Run a script as root with the unit's capabilities alone; return what it says."""
    given = {name.removeprefix("CAP_").lower() for name in said("CapabilityBoundingSet")} - {without}
    bounds = ",".join(["-all", *(f"+{name}" for name in sorted(given))])
    done = subprocess.run(
        ["setpriv", f"--bounding-set={bounds}", "--inh-caps=-all", sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=FILE.parents[1],
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


needs_setpriv = pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv drops the capabilities")


@needs_root
@needs_setpriv
@pytest.mark.parametrize("without", ["", "kill"])
def test_command_of_another_user_runs_and_ends_with_all_that_it_started_under_the_units_rights(without: str) -> None:
    with open_folder() as folder:
        pids = run(WORKS, str(folder), STUBBORN, without=without).splitlines()[-1]
    assert not any(is_alive(int(pid)) for pid in pids.split())
    assert len(pids.split()) == 2


@needs_root
@needs_setpriv
@pytest.mark.parametrize(
    ("without", "words"),
    [
        ("chown", "its command cannot be started: {folder}/homes/w-1.65534: Operation not permitted"),
        ("setuid", "its command cannot run as its user: Operation not permitted"),
    ],
)
def test_right_that_the_unit_would_not_give_is_missed_in_words(without: str, words: str) -> None:
    with open_folder() as folder:
        told = run(WORKS, str(folder), STUBBORN, without=without).splitlines()[-1]
        assert told.startswith(words.format(folder=folder))


@needs_root
@needs_setpriv
def test_folders_of_an_mps_daemon_of_another_user_are_kept_small_and_taken_away_under_the_units_rights() -> None:
    with open_folder() as folder:
        assert run(MPS, str(folder)).splitlines() == ["0", "0", "False"]


def test_folders_that_the_appliance_makes_are_those_that_the_unit_lets_it_write() -> None:
    assert said("ProtectSystem") == ["strict"]
    data, *others = (Path("/var/lib", name) for name in said("StateDirectory"))
    assert others == [homes_beside(data)]
    assert said("RuntimeDirectory") == [PARENT]
    assert said("RuntimeDirectoryMode") == ["0711"], "users of daemons pass through"


def test_workers_can_have_cgroups_under_the_unit() -> None:
    assert said("Delegate") == ["yes"]
    assert not said("ProtectControlGroups")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze judges units")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / FILE.name
    unit.write_text(FILE.read_text().replace("/usr/local/bin/appliance", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"SYSTEMD_LOG_LEVEL": "warning"},
    )
    assert (done.returncode, done.stderr) == (0, "")
