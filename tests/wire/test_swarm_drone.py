"""Drones of the built file against a server of it: through kills of either, and of both, nothing is lost or twice."""

import random
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from tests.product.drones import FAKE_BUILD, DroneProcess, end_all
from tests.product.served import Product, product, until

pytestmark = pytest.mark.zipapp
CONFIG = """
[plugins.build_swarm]
queue_offline_seconds = 3
"""
PATIENCE_SECONDS = 120.0
Fleet = Callable[..., list[DroneProcess]]


@pytest.fixture(scope="module")
def server(pyz: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A running server whose port stays the same through its restarts."""
    with product(pyz, tmp_path_factory.mktemp("drones")) as one:
        one.config.write_text(CONFIG)
        one.start()
        yield one


@pytest.fixture
def fleet(server: Product, tmp_path: Path) -> Iterator[Fleet]:
    """Make drones that take so many seconds for each package; they are stopped in the end."""
    drones: list[DroneProcess] = []

    def make(*names: str, seconds: float, **more: Any) -> list[DroneProcess]:
        script = tmp_path / "build.py"
        script.write_text(FAKE_BUILD)
        command = f"{sys.executable} -I {script} {{atom}} {tmp_path} {seconds}"
        made = [DroneProcess(server, name, tmp_path / name, command, **more) for name in names]
        drones.extend(made)
        for one in made:
            one.start()
        return made

    yield make
    end_all(drones)


def queue(one: Product, *atoms: str) -> None:
    answer = httpx.post(f"{one.base}/api/v1/queue", json={"packages": list(atoms)}, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.json()["queued"] == len(atoms)


def states(one: Product, prefix: str) -> dict[str, str]:
    """Return the state of each package of a test."""
    items = one.get("/api/v1/queue").json()
    return {each["package"]: each["status"] for each in items if prefix in each["package"]}


def builds(one: Product, prefix: str) -> list[dict[str, Any]]:
    """Return every counted report about the packages of a test."""
    return [each for each in one.get("/api/v1/history?limit=1000").json()["builds"] if prefix in each["package"]]


def successes(one: Product, prefix: str) -> Counter[str]:
    return Counter(each["package"] for each in builds(one, prefix) if each["status"] == "success")


def restart(one: Product) -> None:
    """Kill the server, and start it again where its drones look for it."""
    address = one.base.partition("://")[2]
    one.end()
    one.start(address)


def busy(drones: list[DroneProcess]) -> list[DroneProcess]:
    return [one for one in drones if (owed := one.owed) is not None and owed["state"] == "building"]


def test_packages_are_built_once_each_through_kills_of_drones_server_and_both(server: Product, fleet: Fleet) -> None:
    atoms = {f"=kill-test/p{number}-1.0" for number in range(6)}
    drones = fleet("killed-1", "killed-2", "killed-3", seconds=0.7)
    queue(server, *sorted(atoms))

    until(lambda: busy(drones), seconds=PATIENCE_SECONDS)
    victim = busy(drones)[0]
    victim.end()
    victim.start()

    until(lambda: len(busy(drones)) >= 2, seconds=PATIENCE_SECONDS)
    restart(server)

    until(lambda: busy(drones), seconds=PATIENCE_SECONDS)
    both = busy(drones)[0]
    both.end()
    restart(server)
    both.start()

    until(lambda: sum(successes(server, "kill-test").values()) >= len(atoms), seconds=PATIENCE_SECONDS)
    until(lambda: not any(one.owed for one in drones), seconds=PATIENCE_SECONDS)
    assert successes(server, "kill-test") == Counter(dict.fromkeys(atoms, 1))
    # One that was killed has returned its package, which is no failure: nothing else is told.
    assert {each["status"] for each in builds(server, "kill-test")} <= {"success", "returned"}
    logs = server.get("/api/appliance/swarm/logs?limit=1000").json()["items"]
    whole = {
        each["atom"]: each["log_id"] for each in logs if each["status"] == "success" and "kill-test" in each["atom"]
    }
    assert set(whole) == atoms
    for atom, log_id in whole.items():
        assert server.get(f"/api/appliance/swarm/logs/{log_id}").text == f"building {atom}\nbuilt {atom}\n"
    session = server.get("/api/v1/sessions").json()["sessions"][0]
    until(lambda: server.get("/api/v1/sessions").json()["sessions"][0]["status"] == "completed")
    assert session["total_packages"] == len(atoms)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_packages_are_built_once_each_through_many_kills(server: Product, fleet: Fleet, seed: int) -> None:
    chance = random.Random(seed)
    prefix = f"chaos-{seed}"
    atoms = {f"={prefix}/p{number}-1.0" for number in range(24)}
    drones = fleet(*(f"{prefix}-{number}" for number in range(3)), seconds=0.4)
    queue(server, *sorted(atoms))
    for _ in range(8):
        until(lambda: busy(drones) or not any(state == "needed" for state in states(server, prefix).values()))
        victims = chance.sample(drones, chance.choice([0, 1, 1, 2, 3]))
        for one in victims:
            one.end()
        if not victims or chance.random() < 0.4:
            restart(server)
        for one in victims:
            one.start()
    until(lambda: sum(successes(server, prefix).values()) >= len(atoms), seconds=PATIENCE_SECONDS)
    until(lambda: not any(one.owed for one in drones), seconds=PATIENCE_SECONDS)
    assert successes(server, prefix) == Counter(dict.fromkeys(atoms, 1))
    assert {each["status"] for each in builds(server, prefix)} <= {"success", "returned"}


@pytest.mark.long
def test_drone_that_is_stopped_returns_its_package_and_another_builds_it(server: Product, fleet: Fleet) -> None:
    (one,) = fleet("stopped-1", seconds=600)
    queue(server, "=stop-test/p-1.0")
    until(lambda: busy([one]), seconds=PATIENCE_SECONDS)
    assert one.end(signal.SIGTERM) == 0
    assert one.owed is None
    assert [each["status"] for each in builds(server, "stop-test")] == ["returned"]
    fleet("stopped-2", seconds=0)
    until(lambda: successes(server, "stop-test"), seconds=PATIENCE_SECONDS)


@pytest.mark.long
def test_result_of_an_outage_is_told_when_the_server_is_back(server: Product, fleet: Fleet) -> None:
    (one,) = fleet("outage-1", seconds=0.5)
    queue(server, "=outage-test/p-1.0")
    until(lambda: busy([one]), seconds=PATIENCE_SECONDS)
    address = server.base.partition("://")[2]
    server.end()
    until(lambda: one.owed["state"] == "done", seconds=PATIENCE_SECONDS)
    one.end()
    server.start(address)
    one.start()
    until(lambda: successes(server, "outage-test"), seconds=PATIENCE_SECONDS)
    assert successes(server, "outage-test") == {"=outage-test/p-1.0": 1}
    until(lambda: one.owed is None, seconds=PATIENCE_SECONDS)


@pytest.mark.long
def test_package_that_is_taken_away_by_an_operator_is_not_built_on(server: Product, fleet: Fleet) -> None:
    (one,) = fleet("revoked-1", seconds=600)
    queue(server, "=revoke-test/p-1.0")
    until(lambda: busy([one]), seconds=PATIENCE_SECONDS)
    body = {"action": "block", "package": "=revoke-test/p-1.0"}
    answer = httpx.post(f"{server.base}/api/v1/control", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    until(lambda: one.owed is None, seconds=PATIENCE_SECONDS)
    assert "dropped" in one.said
    assert builds(server, "revoke-test") == []
