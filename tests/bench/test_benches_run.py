"""Every benchmark runs to its end and prints its figures as one line of JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BENCHES = sorted(path.stem for path in HERE.glob("*.py") if "argparse" in path.read_text() and path != Path(__file__))

pytestmark = pytest.mark.long


@pytest.mark.parametrize("name", BENCHES)
def test_benchmark_prints_its_figures_as_json(name: str, tmp_path: Path) -> None:
    asks_for_less = "--small" in (HERE / f"{name}.py").read_text()
    arguments = ["--small"] if asks_for_less else ["--seconds", "0.1", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", f"tests.bench.{name}", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    assert figures
