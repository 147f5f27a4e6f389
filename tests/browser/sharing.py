"""What is done by the page of GPU sharing, for the tests of it and of short links."""

import json
import re
import socket
import sys
import urllib.error
import urllib.request
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.browser.served import Served
from tests.browser.sharing_agent import SharingAgent

CONFIG = f"""
[plugins.gpu_sharing]
default_command = "web"
[plugins.gpu_sharing.commands.web]
argv = [{json.dumps(sys.executable)}, "-m", "http.server", "{{port}}", "--bind", "127.0.0.1"]
unsafe_same_uid = true
"""
SLOW_MS = 45_000
"""A list whose answer took long is asked for again after ten times as long."""


def open_sharing(page: Page, site: Served, query: str = "") -> None:
    page.goto(f"{site.base}/ui/sharing{query}")
    expect(page.get_by_role("region", name="Workers")).to_be_visible()


def rows(page: Page, card: str) -> Locator:
    """Return all rows of a card."""
    return page.get_by_role("region", name=card, exact=True).locator("tbody tr")


def worker_row(page: Page, name: str) -> Locator:
    return rows(page, "Workers").filter(has=page.get_by_text(name, exact=True))


def asked(page: Page, site: Served, path: str) -> list[dict[str, Any]]:
    """Return the items of a list as the API gives them to whoever looks at the page."""
    items = page.context.request.get(f"{site.base}/api/appliance/sharing/{path}").json()["items"]
    assert isinstance(items, list)
    return items


def share(page: Page, worker: str, **terms: str) -> dict[str, str]:
    """Share a worker by the page; return its link and where it leads."""
    worker_row(page, worker).get_by_role("button", name="Share worker").click()
    dialog = page.get_by_role("dialog", name="Share a worker")
    for label, value in terms.items():
        one = dialog.get_by_label(label.replace("_", " "), exact=True)
        if one.evaluate("(node) => node.tagName") == "SELECT":
            one.select_option(value)
        else:
            one.fill(value)
    dialog.get_by_role("button", name="Share", exact=True).click()
    made = page.get_by_role("status").filter(has_text="is shared")
    expect(made).to_be_focused()
    link = made.get_by_role("group", name="Short link").text_content() or ""
    leads = made.get_by_role("group", name="Connects to").text_content() or ""
    return {"link": link, "code": link.rsplit("/", 1)[1], "url": leads}


def share_row(page: Page, made: dict[str, str]) -> Locator:
    return rows(page, "Shares").filter(has_text=made["code"])


def fetch(made: dict[str, str]) -> int:
    """Open a share's link as a program does; return the status."""
    try:
        with urllib.request.urlopen(made["link"], timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


def joined(page: Page, site: Served, hostname: str) -> SharingAgent:
    """Let a host join with the token of the page's command line, and report its default worker."""
    open_sharing(page, site)
    page.get_by_role("button", name="Add an agent").click()
    shown = page.get_by_role("status").filter(has_text="Run this on the host")
    expect(shown).to_be_focused()
    token = re.search(r"install_[A-Za-z0-9_-]+", shown.get_by_role("group", name="Command line").text_content() or "")
    assert token is not None
    agent = SharingAgent(base=site.base, token=token[0], hostname=hostname)
    agent.register()
    agent.report(agent.running(default_worker(page, site, agent), "198.51.100.9"))
    return agent


def default_worker(page: Page, site: Served, agent: SharingAgent) -> str:
    (found,) = asked(page, site, f"workers?agent_id={agent.agent_id}")
    return str(found["worker_id"])


def cut(connection: socket.socket) -> bool:
    """Return whether a connection is ended from the other side."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def local_worker(page: Page, site: Served, name: str) -> str:
    """Make a worker of this host by the page, on the first GPU, and wait until it runs."""
    open_sharing(page, site)
    page.get_by_role("button", name="Add a worker").click()
    dialog = page.get_by_role("dialog", name="Add a worker")
    local = dialog.get_by_label("Agent").locator("option", has_text="this host").get_attribute("value") or ""
    dialog.get_by_label("Agent").select_option(local)
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_role("checkbox", name=re.compile("GPU 0 ")).check()
    dialog.get_by_role("button", name="Add worker").click()
    expect(page.get_by_role("status").filter(has_text=f"Worker {name} is added")).to_be_focused()
    expect(worker_row(page, name)).to_contain_text("running", timeout=SLOW_MS)
    return name


def share_somewhere(page: Page, site: Served) -> dict[str, str]:
    """Share a worker of this host, the same at every call."""
    open_sharing(page, site)
    expect(rows(page, "Workers").first).to_be_visible()
    name = "somewhere"
    if worker_row(page, name).count() == 0:
        local_worker(page, site, name)
    return share(page, name)
