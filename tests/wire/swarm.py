"""The build swarm as drones, its command line and its pages speak it, on one running product."""

import itertools
import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx2 as httpx
from attrs import define, field

from tests.product.served import Product

KEY = "swarm-key-of-the-environment"
STRANGER = {"X-Forwarded-For": "192.0.2.7"}
"""Makes a request of our own user one that a proxy passed on: nothing is trusted about it."""
WITH_KEY = STRANGER | {"X-Admin-Key": KEY}
ORIGIN = "https://swarm.example.net"
VERSION = "0.4.0-alpha"
PATIENCE_SECONDS = 60.0
CONFIG = f"""
[server]
allowed_origins = ["{ORIGIN}"]
[plugins.build_swarm]
queue_idle_minutes = 1000
healing_probe_seconds = 3600
[plugins.build_swarm.portage_config]
"make.conf" = 'MAKEOPTS="-j16"'
"""
_NUMBERS = itertools.count(1)

T = TypeVar("T")


def atom(name: str = "pkg") -> str:
    """Return a package that no other test has, as people write it."""
    return f"dev-test/{name}{next(_NUMBERS)}-1.0"


def wire(package: str) -> str:
    """Return a package as the swarm writes it."""
    return package if package.startswith("=") else f"={package}"


def until(check: Callable[[], T], seconds: float = PATIENCE_SECONDS) -> T:
    """Look again and again until a check returns something true."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"not true within {seconds} s"
        time.sleep(0.02)
    return found


@define(eq=False)
class Drone:
    """One drone, of the generation that names itself by an id."""

    swarm: "Swarm"
    name: str
    id: str
    cores: int = 4
    """So many that it holds one package at a time."""

    def register(self, **changes: Any) -> Any:
        """Beat, and return the answer."""
        body = {
            "id": self.id,
            "name": self.name,
            "ip": "10.0.0.175",
            "type": "drone",
            "capabilities": {
                "cores": self.cores,
                "ram_gb": 32.0,
                "auto_reboot": True,
                "portage_timestamp": "2026-02-12",
            },
            "metrics": {"cpu_percent": 45.2, "ram_percent": 62.1, "load_1m": 2.4},
            "current_task": None,
            "version": VERSION,
        }
        return self.swarm.post("/api/v1/register", body | changes)

    def work(self) -> Any:
        """Ask for work, and return the answer."""
        return self.swarm.read(f"/api/v1/work?id={self.id}&cores={self.cores}")

    def take(self, *packages: str) -> None:
        """Ask until these packages are held, one after another: what is held is completed but for the wanted."""
        for package in packages:
            got = self.work()["package"]
            assert got == wire(package), got

    def complete(self, package: str, status: str = "success", **changes: Any) -> Any:
        """Report a package, and return the answer."""
        body = {
            "id": self.id,
            "package": package,
            "status": status,
            "build_duration_s": 323.5,
            "error_detail": None,
        }
        return self.swarm.post("/api/v1/complete", body | changes)

    def build(self, package: str, status: str = "success", **changes: Any) -> Any:
        """Take a package and report it."""
        self.take(package)
        return self.complete(package, status, **changes)

    @property
    def node(self) -> Any:
        """The drone in the list."""
        return next(each for each in self.swarm.read("/api/v1/nodes?all=true") if each["name"] == self.name)


@define(eq=False)
class Swarm:
    """One running product, called by a local program of its own user unless headers say otherwise."""

    product: Product
    client: httpx.Client
    headers: dict[str, str] = field(factory=dict)

    def send(self, method: str, path: str, body: Any = None, **options: Any) -> httpx.Response:
        """Send a request; bytes go as they are, other bodies as JSON."""
        headers = {**self.headers, **options.pop("headers", {})}
        if isinstance(body, bytes):
            return self.client.request(method, path, content=body, headers=headers, **options)
        if body is not None:
            return self.client.request(method, path, json=body, headers=headers, **options)
        return self.client.request(method, path, headers=headers, **options)

    def read(self, path: str) -> Any:
        """GET what must be there."""
        answer = self.send("GET", path)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        return answer.json()

    def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        """POST what must succeed."""
        answer = self.send("POST", path, body)
        assert answer.status_code == status, answer.text
        return answer.json()

    def refused(self, method: str, path: str, body: Any = None, *, status: int, **options: Any) -> str:
        """Require a status and the documented error; return its words."""
        answer = self.send(method, path, body, **options)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/json"
        found = answer.json()
        assert set(found) <= {"error", "hint", "field"}
        assert found["error"]
        assert found["hint"]
        return str(found["error"])

    def drone(self, name: str = "", **changes: Any) -> Drone:
        """Register a drone that no other test has."""
        number = next(_NUMBERS)
        cores = changes.pop("cores", 4)
        made = Drone(self, name or f"drone-{number}", f"{number:032x}", cores)
        made.register(**changes)
        return made

    def queue(self, *packages: str, **more: Any) -> Any:
        """Queue packages, and return the answer."""
        return self.post("/api/v1/queue", {"packages": list(packages), **more})

    def control(self, action: str, **more: Any) -> Any:
        """Do a control action, and return the answer."""
        return self.post("/api/v1/control", {"action": action, **more})

    def status_of(self, package: str) -> str | None:
        """Return the status of a package of the queue; ``None`` when it is not listed."""
        return next((each["status"] for each in self.read("/api/v1/queue") if each["package"] == wire(package)), None)

    def events(self, kind: str = "", after: int = 0) -> list[Any]:
        """Return events after one, of one type or all."""
        query = f"?since={after}" + (f"&type={kind}" if kind else "")
        return list(self.read(f"/api/v1/events{query}")["events"])

    @property
    def latest_event(self) -> int:
        """Id of the newest event."""
        return int(self.read("/api/v1/events?limit=1")["latest_id"])

    def clear(self) -> None:
        """Bring the swarm to rest: nothing queued, no drone known, not paused."""
        self.control("resume")
        for node in self.read("/api/v1/nodes?all=true"):
            self.send("DELETE", f"/api/v1/nodes/{node['id']}")
        self.control("clear_failures")
        if not self.read("/api/v1/status")["queue_depth"]:
            return
        last = self.drone("last-one", cores=4096, capabilities={"cores": 4096, "portage_timestamp": "2026-02-12"})
        while (package := last.work().get("package")) is not None:
            assert last.complete(package)["accepted"]
        assert self.read("/api/v1/status")["queue_depth"] == 0
        self.send("DELETE", f"/api/v1/nodes/{last.id}")


def raw(value: str) -> bytes:
    """Return the text of a JSON value as bytes, with what JSON itself would refuse."""
    return value.encode("utf-8", "surrogatepass")


def with_text(body: dict[str, Any], name: str, text: str) -> bytes:
    """Return a body as JSON with the raw text of one value; ``a.b`` is a value of an object in it."""
    place = "@here@"
    outer, _, inner = name.partition(".")
    changed = {**body, outer: {**body.get(outer, {}), inner: place} if inner else place}
    return raw(json.dumps(changed).replace(f'"{place}"', text))
