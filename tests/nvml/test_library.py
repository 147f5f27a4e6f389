"""The scripted library itself: what it says of a broken script, and what it does through nvidia-ml-py elsewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.nvml import scripted
from tests.nvml.__main__ import busy

ROOT = Path(__file__).parent.parent.parent
SHOW = """
import pynvml
pynvml.nvmlInit()
for index in range(pynvml.nvmlDeviceGetCount()):
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    print(pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
"""

pytestmark = pytest.mark.skipif(scripted.compiler() is None, reason="the scripted NVML needs a C compiler")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the library where `LD_LIBRARY_PATH` can find it."""
    made = tmp_path_factory.mktemp("library")
    scripted.build(made)
    return made


def show(folder: Path, script: Path) -> subprocess.CompletedProcess[str]:
    """Print what a fresh process sees."""
    environment = os.environ | {"LD_LIBRARY_PATH": str(folder), scripted.VARIABLE: str(script)}
    return subprocess.run(
        [sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True, check=False, timeout=30
    )


def test_fresh_process_finds_the_library_by_its_search_path(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "s").write_text("driver 1\nlibrary 2\ngpu GPU-x\n utilization 12\n")
    assert show(folder, tmp_path / "s").stdout == "GPU-x 12\n"


def test_script_of_busy_gpus_is_understood(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "s").write_text(busy(8))
    done = show(folder, tmp_path / "s")
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 8


@pytest.mark.parametrize(
    "line",
    [
        "nonsense 1",
        "utilization 12",
        "gpu",
        "fault nvmlInit no_such_code",
        "delay nvmlInit soon",
        "gpu g\nutilization much",
        "gpu g\nutilization 1..",
        "gpu g\nenergy 1+x/s",
        "gpu g\nprocess x compute 1",
        "gpu g\nprocess 1 dance 1",
        "event 1 0 flood",
        "event 1 99 xid 1",
        "instance MIG-without-a-gpu",
        "gpu " + "x" * 200,
        "\n".join(f"gpu g{number}" for number in range(17)),
    ],
)
def test_script_that_cannot_be_understood_is_told_with_its_line(folder: Path, tmp_path: Path, line: str) -> None:
    (tmp_path / "s").write_text(line + "\n")
    done = show(folder, tmp_path / "s")
    assert f"{tmp_path / 's'}:{line.count(chr(10)) + 1}: cannot understand" in done.stderr
    assert "Unknown Error" in done.stderr, "nothing is in force before the first good script"


def plain(name: str) -> str:
    """Return a function's name without its version."""
    return re.sub(r"_v\d$", "", name)


def test_every_symbol_that_the_plugin_calls_is_exported(folder: Path) -> None:
    names = set()
    for path in (ROOT / "plugins/gpu_nvidia").glob("*.py"):
        names |= set(re.findall(r"pynvml\.(nvml(?:Device|System|Event)\w+)\b", path.read_text()))
    called = {plain(name) for name in names if not name.startswith("nvmlEventType")}
    library = str(folder / "libnvidia-ml.so.1")
    done = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True)
    exported = {plain(line.split()[-1]) for line in done.stdout.splitlines()}
    assert len(called) > 25
    assert called <= exported
