"""A tiny tree, three drones with Portage itself, and a client that installs what they built: from queue to emerge."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from plugins.build_swarm.drone.building import PATHS
from tests.plugins.build_swarm.gentoo import Prefix, make_prefix, make_tree, portage
from tests.product.drones import DroneProcess, end_all
from tests.product.served import Product, until

pytestmark = pytest.mark.zipapp
STAGING, CURRENT = "/api/appliance/binhost/staging", "/api/appliance/binhost/current"
PATIENCE_SECONDS = 240.0
CONFIG = """
[plugins.build_swarm]
tree_path = "{tree}"
tree_keywords = ["amd64"]
require_binary = true
"""
Swarm = Callable[..., tuple[list[DroneProcess], list[Prefix]]]


@pytest.fixture
def swarm(fresh: Product, tmp_path: Path) -> Iterator[Swarm]:
    """Start a server beside a tree, and so many drones; all is stopped in the end."""
    drones: list[DroneProcess] = []

    def start(packages: dict[str, str], *, count: int) -> tuple[list[DroneProcess], list[Prefix]]:
        portage()
        tree = make_tree(tmp_path / "tree", packages)
        fresh.config.write_text(CONFIG.format(tree=tree))
        fresh.start()
        prefixes = []
        with closing(fresh.set_up()) as admin:
            body = [{"kind": "drone", "name": f"gentoo-{number}"} for number in range(count)]
            tokens = [admin.post("/api/appliance/tokens", json=one).json()["token"] for one in body]
        for number in range(count):
            name = f"gentoo-{number}"
            prefix = make_prefix(tmp_path / f"prefix-{number}", tree, binhost=fresh.base + STAGING)
            one = DroneProcess(
                fresh,
                name,
                tmp_path / name,
                "",
                more=("--env", f"PATH={prefix.venv / 'bin'}:{PATHS}", *prefix.options),
                token=tokens[number],
            )
            one.start()
            drones.append(one)
            prefixes.append(prefix)
        return drones, prefixes

    yield start
    end_all(drones)


def post(one: Product, path: str, body: Any) -> Any:
    answer = httpx.post(one.base + path, json=body, timeout=60)
    assert answer.status_code < 400, answer.text
    return answer.json()


def builds(one: Product) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = one.get("/api/v1/history?limit=1000").json()["builds"]
    return found


def install(one: Product, folder: Path, tree: Path, *atoms: str) -> Prefix:
    """Release what is staged, and install from the release alone, as a host does that cannot build."""
    post(one, "/api/appliance/swarm/releases", {"version": "2026.1", "promote": True})
    client = make_prefix(folder, tree, binhost=one.base + CURRENT)
    done = client.run("--getbinpkgonly", *atoms)
    assert done.returncode == 0, done.stdout + done.stderr
    return client


def test_three_drones_build_a_tree_in_its_order_and_a_client_installs_all_of_it(
    fresh: Product, swarm: Swarm, tmp_path: Path
) -> None:
    needs_base = 'DEPEND=">=app-swarm/base-1"\nRDEPEND="app-swarm/base"'
    tree = {
        "app-swarm/base-1.0": "",
        "app-swarm/tool-1.9": needs_base,
        "app-swarm/tool-1.10-r1": needs_base,
    }
    drones, _ = swarm(tree, count=3)
    wanted = ["app-swarm/tool", "app-swarm/base"]
    queued = post(fresh, "/api/v1/queue", {"packages": wanted, "session_name": "tiny world"})
    atoms = ["=app-swarm/tool-1.10-r1", "=app-swarm/base-1.0"]
    assert queued["packages"] == atoms

    until(lambda: len(builds(fresh)) >= len(atoms), seconds=PATIENCE_SECONDS)
    found = builds(fresh)
    expected = sorted((atom, "success") for atom in atoms)
    assert sorted((each["package"], each["status"]) for each in found) == expected, [one.said for one in drones]
    order = [each["package"] for each in sorted(found, key=lambda each: each["id"])]
    assert order.index("=app-swarm/base-1.0") < order.index("=app-swarm/tool-1.10-r1")
    logs = fresh.get("/api/appliance/swarm/logs").json()["items"]
    assert {each["atom"] for each in logs if each["status"] == "success"} == set(atoms)
    assert "Emerging" in fresh.get(f"/api/appliance/swarm/logs/{logs[0]['log_id']}").text

    client = install(fresh, tmp_path / "client", tmp_path / "tree", "app-swarm/tool")
    installed = {name: client.installed(name) for name in ("tool", "base")}
    assert installed == {"tool": "built tool-1.10-r1\n", "base": "built base-1.0\n"}


@pytest.mark.long
def test_package_that_portage_will_not_have_is_blocked_as_masked(fresh: Product, swarm: Swarm, tmp_path: Path) -> None:
    _, (prefix,) = swarm({"app-swarm/base-1.0": ""}, count=1)
    (prefix.folder / "etc" / "portage" / "package.mask").write_text("app-swarm/base\n")
    post(fresh, "/api/v1/queue", {"packages": ["app-swarm/base"]})
    until(lambda: builds(fresh), seconds=PATIENCE_SECONDS)
    (build,) = builds(fresh)
    assert build["status"] == "masked"
    assert "have been masked" in build["error_message"]
    (queued,) = fresh.get("/api/v1/queue").json()
    assert queued["status"] == "blocked"
