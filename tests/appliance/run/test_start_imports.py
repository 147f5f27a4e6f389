"""What a start does without: libraries that cost memory for months are brought in by the first who needs them."""

import json
import subprocess
import sys

import pytest

START = """
import json, sys
from pathlib import Path
import trio
from appliance.testing import running, until

async def main():
    async with running(Path(sys.argv[1]), backends=None, engines=None) as one:
        await until(lambda: one.running.state.licenses.active_kid)
    print(json.dumps(sorted(sys.modules)))

trio.run(main)
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """Every module of an appliance that runs for the first time, with all plugins, and has made its licence keys."""
    folder = tmp_path_factory.mktemp("start")
    command = [sys.executable, "-c", START, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    return frozenset(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "name",
    [
        "appliance.http.tls",
        "argparse",
        "backports.zstd",
        "cryptography.hazmat.bindings._rust",
        "plugins.build_swarm.drone.command",
        "pygments",
        "rich",
        "segno",
        "urllib.request",
        "xml.etree.ElementTree",
        "zoneinfo",
    ],
)
def test_start_does_without(name: str, imported: frozenset[str]) -> None:
    assert "plugins.build_swarm.setup" in imported
    assert name not in imported
