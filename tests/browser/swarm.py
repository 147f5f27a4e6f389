"""What is done by the pages of the build swarm, and drones that speak to the appliance beside them."""

import json
import re
import secrets
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from attrs import define, field
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import serving
from tests.browser.served import Served

CONFIG = """
[plugins.build_swarm]
queue_idle_minutes = 1000
"""

HOSTILE = "<script>document.title='broken-into'</script><img src=x onerror=alert(1)>"
WAIT_SECONDS = 60.0
PAGES = ("", "/drones", "/history", "/payloads", "/releases", "/events")


def call(base: str, path: str, body: Any = None, *, method: str = "") -> Any:
    """Send JSON, or bytes, or nothing, as a program of this host does; return the decoded answer."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
    request = urllib.request.Request(
        base + path, data=data, headers={"Content-Type": kind}, method=method or ("GET" if body is None else "POST")
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


@define(eq=False)
class Drone:
    """A drone that does over HTTP what it is told to."""

    base: str
    name: str
    drone_id: str = field(factory=lambda: secrets.token_hex(16))
    cores: int = 16
    version: str = "0.4.0-alpha"

    def beat(self, current_task: str = "", **metrics: float) -> Any:
        """Send a heartbeat."""
        body = {
            "id": self.drone_id,
            "name": self.name,
            "ip": "10.0.0.175",
            "type": "drone",
            "capabilities": {"cores": self.cores, "ram_gb": 32.0},
            "metrics": {"cpu_percent": 45.2, "ram_percent": 62.1, "load_1m": 2.4} | metrics,
            "current_task": current_task,
            "version": self.version,
        }
        return call(self.base, "/api/v1/register", body)

    def work(self) -> str | None:
        """Ask for a package."""
        found: str | None = call(self.base, f"/api/v1/work?id={self.drone_id}")["package"]
        return found

    def begin(self) -> str:
        """Ask for a package, and say that it is being built."""
        atom = self.work()
        assert atom is not None
        self.beat(atom)
        return atom

    def report(self, atom: str, outcome: str = "success", error: str = "", seconds: float = 61.5) -> Any:
        """Say how it went."""
        body = {
            "id": self.drone_id,
            "package": atom,
            "status": outcome,
            "build_duration_s": seconds,
            "error_detail": error or None,
        }
        return call(self.base, "/api/v1/complete", body)

    def build(self, outcome: str = "success", error: str = "") -> str:
        """Take one package and report it."""
        atom = self.begin()
        self.report(atom, outcome, error)
        self.beat()
        return atom

    def log(self, log_id: str, atom: str, text: str, offset: int = 0, outcome: str = "") -> int:
        """Send a part of a build's log; return where to go on."""
        query = {
            "drone_id": self.drone_id,
            "drone": self.name,
            "package": atom,
            "offset": offset,
            "outcome": outcome,
        }
        path = f"/api/appliance/swarm/logs/{log_id}?{urlencode(query)}"
        return int(call(self.base, path, text.encode(), method="PUT")["next_offset"])


def queued(site: Served, *atoms: str, **more: Any) -> Any:
    """Queue packages as a program does."""
    return call(site.base, "/api/appliance/swarm/packages", {"packages": list(atoms)} | more)


def control(site: Served, action: str, **more: str) -> Any:
    return call(site.base, "/api/appliance/swarm/control", {"action": action} | more)


def found(site: Served, path: str) -> Any:
    """Return what our own API says of the swarm."""
    return call(site.base, f"/api/appliance/swarm{path}")


def emptied(site: Served) -> None:
    """Have all that is queued built by a drone that is gone afterwards."""
    control(site, "resume")
    control(site, "unblock")
    janitor = Drone(site.base, f"janitor-{secrets.token_hex(3)}")
    deadline = time.monotonic() + WAIT_SECONDS
    while (counts := found(site, "/overview")["counts"])["needed"] + counts["delegated"]:
        assert time.monotonic() < deadline, counts
        control(site, "rebalance")  # what others hold and do not build
        janitor.beat()
        while (atom := janitor.work()) is not None:
            janitor.report(atom)
    deleted(site, janitor.name)


def deleted(site: Served, name: str) -> None:
    """Delete a drone, where there is one of this name."""
    if any(each["name"] == name for each in found(site, "/drones")["items"]):
        call(site.base, f"/api/appliance/swarm/drones/{name}", method="DELETE")


def sites(folder: Path, config: str = CONFIG) -> Iterator[Served]:
    """Serve one appliance with one admin, to which drones may come."""
    for served in serving(folder, config):
        served.set_up()
        yield served


def only_drone(site: Served) -> Iterator[Drone]:
    """Lend the only drone that is there; nothing is left for it of what tests before have queued."""
    emptied(site)
    one = Drone(site.base, f"drone-{secrets.token_hex(3)}")
    one.beat()
    yield one
    deleted(site, one.name)


def atom(name: str = "lib") -> str:
    """Return a package that no other test has."""
    return f"=dev-libs/{name}-{secrets.token_hex(3)}-1.0"


def open_page(page: Page, site: Served, rest: str = "") -> None:
    """Open a page of the swarm and wait for what it shows."""
    page.goto(f"{site.base}/ui/swarm{rest}")
    expect(page.get_by_role("banner").get_by_text("live")).to_be_visible()
    expect(page.locator("main .swarm")).to_be_visible()


def open_drone(page: Page, site: Served, name: str) -> None:
    open_page(page, site, f"/drones/{quote(name)}")
    expect(page.get_by_role("region", name="About it")).to_be_visible()


def region(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def row(card: Locator, text: str) -> Locator:
    """Return the row of a card's table that holds a text."""
    return card.locator("tbody tr").filter(has_text=text)


def card_of(page: Page, drone: str) -> Locator:
    """Return the card of a drone."""
    return page.get_by_role("article", name=drone, exact=True)


def said(page: Page, text: str | re.Pattern[str]) -> Locator:
    """Wait for what the page says has come of something, which has the focus."""
    notice = page.get_by_role("status").or_(page.get_by_role("alert")).filter(has_text=text)
    expect(notice).to_be_focused()
    return notice


def agree(page: Page, action: str, typed: str = "") -> None:
    """Go on where a page asks first."""
    dialog = page.get_by_role("dialog")
    if typed:
        expect(dialog.get_by_role("button", name=action, exact=True)).to_be_disabled()
        dialog.get_by_role("textbox").fill(typed)
    dialog.get_by_role("button", name=action, exact=True).click()
