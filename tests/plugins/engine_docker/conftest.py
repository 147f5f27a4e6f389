"""Docker and Podman, started once for all tests."""

from collections.abc import AsyncIterator, Iterator

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


@pytest.fixture(scope="session")
def shared(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> DockerEngine:
    """What the appliance makes of it."""
    folder = tmp_path_factory.mktemp("notes")
    return DockerEngine(DockerSettings(host=daemon.url, pull="never"), Host(), folder, APPLIANCE_ID)


@pytest.fixture
async def engine(daemon: Daemon, shared: DockerEngine) -> AsyncIterator[DockerEngine]:
    """The same, and nothing is left behind."""
    yield shared
    for one in await shared.found():
        await shared.remove(one.attempt_id)
    daemon.clear()
