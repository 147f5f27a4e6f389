"""Real devices: read in a process of their own, where no scripted library is loaded."""

import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

READ = """
import json, sys
from appliance.local_agent.service import sample_now
from appliance.plugin import Host
from plugins.gpu_nvidia.backend import Nvml
look = sample_now([Nvml(Host())])
view = look.view()
json.dump({"devices": view.devices(), "backends": view.backend_items(), "processes": view.processes()}, sys.stdout)
"""


@pytest.fixture(scope="session")
def smi() -> ElementTree.Element:
    """Give what ``nvidia-smi -q -x`` says."""
    program = shutil.which("nvidia-smi")
    if program is None:
        pytest.skip("no nvidia-smi on this machine")
    done = subprocess.run([program, "-q", "-x"], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        pytest.skip(f"nvidia-smi sees no device: {done.stdout.strip()[:200]}")
    return ElementTree.fromstring(done.stdout)


@pytest.fixture(scope="session")
def seen(smi: ElementTree.Element) -> Any:
    """Give what we read, right after nvidia-smi."""
    done = subprocess.run([sys.executable, "-c", READ], capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)
