"""Docker and Podman, started once for all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.host import Host
from plugins.engine_docker.engine import DockerEngine
from plugins.engine_docker.settings import DockerSettings
from tests.plugins.engine_docker.daemons import Daemon, start

APPLIANCE_ID = "0b5e7a51-6b0c-4f0e-9d55-7f6f3f6c1a10"


@pytest.fixture(scope="session", params=["docker", "podman"])
def daemon(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One engine after the other."""
    daemon = start(request.param, tmp_path_factory.mktemp("engine"))
    yield daemon
    daemon.stop()


@pytest.fixture
def engine(daemon: Daemon, tmp_path: Path) -> Iterator[DockerEngine]:
    """What the appliance makes of it; containers are removed after each test."""
    yield DockerEngine(DockerSettings(host=daemon.url, pull="never"), Host(), tmp_path, APPLIANCE_ID)
    for row in daemon.request("GET", "/containers/json?all=1").json():
        daemon.request("DELETE", f"/containers/{row['Id']}?force=1&v=1")
