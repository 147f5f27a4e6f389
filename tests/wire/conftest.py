"""One running product that the tests of a file share, with an admin and ways to register servers and machines."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.product.served import Product, built_file, product
from tests.wire.machines import CONFIG, Registry, registry_of
from tests.wire.metrics import Server, registered
from tests.wire.sharing import CONFIG as SHARING_CONFIG
from tests.wire.sharing import Sharing, sharing_of
from tests.wire.swarm import CONFIG as SWARM_CONFIG
from tests.wire.swarm import KEY as SWARM_KEY
from tests.wire.swarm import Swarm
from tests.wire.tasks import CONFIG as TASKS_CONFIG
from tests.wire.tasks import TaskApi


@pytest.fixture(scope="session")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built file of this tree."""
    return built_file(tmp_path_factory.mktemp("wire"))


@pytest.fixture(scope="module")
def shared(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A running product."""
    with product(pyz, tmp_path_factory.mktemp("shared")) as one:
        one.start()
        yield one


@pytest.fixture(scope="module")
def browser(shared: Product) -> Iterator[httpx.Client]:
    """A client that is logged in as admin by its cookie."""
    with closing(shared.set_up()) as client:
        yield client


@pytest.fixture
def box(shared: Product, browser: httpx.Client, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server registered for this test alone."""
    with closing(registered(shared, browser, request.node.originalname)) as made:
        yield made


@pytest.fixture
def fresh(pyz: Path, tmp_path: Path) -> Iterator[Product]:
    """A running product of this test's own."""
    with product(pyz, tmp_path) as one:
        one.start()
        yield one


@pytest.fixture(scope="module")
def registry(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A running product with pools of machines, and their tokens."""
    with product(pyz, tmp_path_factory.mktemp("registry")) as one:
        one.config.write_text(CONFIG)
        one.start()
        with closing(one.set_up()) as browser:
            yield registry_of(one, browser)


@pytest.fixture(scope="module")
def sharing(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sharing]:
    """A running product with two people who share GPUs."""
    with product(pyz, tmp_path_factory.mktemp("sharing")) as one:
        one.config.write_text(SHARING_CONFIG)
        one.start()
        with closing(one.set_up()) as browser:
            yield sharing_of(one, browser)


@pytest.fixture(scope="module")
def tasks(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaskApi]:
    """A running product whose tasks run in sandboxes, called by a local program of its own user."""
    with product(pyz, tmp_path_factory.mktemp("tasks")) as one:
        one.config.write_text(TASKS_CONFIG)
        one.start()
        with httpx.Client(base_url=one.base, timeout=60) as client:
            yield TaskApi(one, client)


@pytest.fixture(scope="module")
def shared_swarm(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    """A running product whose swarm has no drone, called by a local program of its own user."""
    with product(pyz, tmp_path_factory.mktemp("swarm"), environment={"ADMIN_SECRET": SWARM_KEY}) as one:
        one.config.write_text(SWARM_CONFIG)
        one.start()
        with httpx.Client(base_url=one.base, timeout=60) as client:
            yield Swarm(one, client)


@pytest.fixture
def brief_swarm(pyz: Path, tmp_path: Path) -> Iterator[Swarm]:
    """The same for one test, with drones that are offline after three seconds of silence."""
    with product(pyz, tmp_path) as one:
        one.config.write_text("[plugins.build_swarm]\nqueue_offline_seconds = 3\n")
        one.start()
        with httpx.Client(base_url=one.base, timeout=60) as client:
            yield Swarm(one, client)
