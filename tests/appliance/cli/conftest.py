"""The command line against a whole appliance, as a person at a terminal meets it."""

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio
from attrs import frozen

from appliance.testing import RunningAppliance, running, scripted_gpus
from tests import forked

ROOT = Path(__file__).resolve().parents[3]


@frozen
class Said:
    """How one command ended."""

    status: int
    out: str
    err: str


def command(data_dir: Path, *words: str, stdin: str = "", python: str = sys.executable, **environment: str) -> Said:
    """Run one command in a process of its own, with nothing of the caller's environment.

    It is a start of Python where a test chooses which, or tells Python something; else it has its imports already.
    """
    surroundings = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "HOME": str(data_dir.parent),
        "XDG_CONFIG_HOME": str(data_dir.parent / "config"),
        "APPLIANCE_DATA_DIR": str(data_dir),
    }
    surroundings |= environment
    if python == sys.executable and not any(name.startswith("PYTHON") for name in environment):
        done = forked.run(list(words), cwd=Path.cwd(), env=surroundings, stdin=stdin.encode())
    else:
        whole = [python, "-m", "appliance", *words]
        done = subprocess.run(
            whole, check=False, input=stdin.encode(), capture_output=True, timeout=60, env=surroundings
        )
    said = Said(done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in said.err, said.err
    return said


@frozen
class Terminal:
    """A shell on the host of a running appliance."""

    appliance: RunningAppliance

    async def __call__(self, *words: str, stdin: str = "", **environment: str) -> Said:
        """Run one command beside the appliance."""

        def run() -> Said:
            return command(self.appliance.data_dir, *words, stdin=stdin, **environment)

        return await trio.to_thread.run_sync(run)


@pytest.fixture
async def terminal(tmp_path: Path) -> AsyncIterator[Terminal]:
    """A shell beside an appliance with two scripted GPUs."""
    async with running(tmp_path, backends=[scripted_gpus(2)]) as appliance:
        yield Terminal(appliance)


@pytest.fixture
def alone(tmp_path: Path) -> Callable[..., Said]:
    """A shell on a host where no appliance runs."""

    def run(*words: str, stdin: str = "", **environment: str) -> Said:
        return command(tmp_path / "data", *words, stdin=stdin, **environment)

    return run
