"""What is done by the pages of tasks, for the tests of them."""

import re
import shutil
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import csrf
from tests.browser.served import Served

HOSTILE = "<script>document.title='broken-into'</script><img src=x onerror=alert(1)>"
WAIT_SECONDS = 60.0


def add_engine(served: Served) -> None:
    """Drop the engine for tests into an appliance that is not started yet."""
    target = served.plugins / "task_engine.py"
    shutil.copy(Path(__file__).with_name("task_engine.py"), target)
    target.chmod(0o600)


def open_tasks(page: Page, site: Served, query: str = "") -> None:
    page.goto(f"{site.base}/ui/tasks{query}")
    expect(page.get_by_role("region", name="Tasks", exact=True)).to_be_visible()


def row(page: Page, name: str) -> Locator:
    """Return the row of a task in the list."""
    rows = page.get_by_role("region", name="Tasks", exact=True).locator("tbody tr")
    return rows.filter(has=page.get_by_role("link", name=name, exact=True))


def fill(dialog: Locator, **fields: str) -> None:
    """Fill fields of the form by their labels, opening the parts that they are in."""
    for label, value in fields.items():
        words = label.replace("_", " ")
        one = dialog.get_by_label(words, exact=True)
        part = dialog.locator("details:not([open])").filter(has=dialog.page.get_by_label(words, exact=True))
        if part.count():
            part.locator("summary").click()
        if one.evaluate("(node) => node.tagName") == "SELECT":
            one.select_option(value)
        else:
            one.fill(value)


def open_form(page: Page, site: Served) -> Locator:
    open_tasks(page, site)
    page.get_by_role("button", name="Submit a task").click()
    return page.get_by_role("dialog", name="Submit a task")


def submitted(page: Page, site: Served, name: str, **fields: str) -> str:
    """Submit a task by the page's form, on the engine ``plain`` unless it names one; return its id."""
    dialog = open_form(page, site)
    small = {"CPU_cores": "0.1", "Memory_in_GiB": "0.03", "Storage_in_GiB": "0.02"}
    fill(dialog, **({"Image": "host", "Name": name, "Engine": "plain"} | small | fields))
    dialog.get_by_role("button", name="Submit").click()
    said = page.get_by_role("status").filter(has_text="Submitted")
    expect(said).to_be_focused()
    link = said.get_by_role("link").get_attribute("href") or ""
    return link.rsplit("/", 1)[1]


def sent(page: Page, site: Served, path: str, body: Any) -> Any:
    """Send to our own API as whoever looks at the page; return what it answers."""
    answer = page.context.request.post(f"{site.base}/api/appliance/tasks{path}", data=body, headers=csrf(page))
    assert answer.ok, answer.text()
    return answer.json()


def made(page: Page, site: Served, name: str, command: str, **more: Any) -> str:
    """Submit a task without the form; return its id."""
    task = {"image": "host", "name": name, "command": command, "engine": "plain"}
    small = {"cpu_millicores": 10, "memory_mib": 8, "storage_mib": 8}
    return str(sent(page, site, "", task | small | more)["items"][0]["id"])


def asked(page: Page, site: Served, path: str) -> Any:
    """Return what our own API says to whoever looks at the page."""
    answer = page.context.request.get(f"{site.base}/api/appliance/tasks{path}")
    assert answer.ok, answer.text()
    return answer.json()


def until(page: Page, site: Served, task_id: str, state: str) -> None:
    """Wait until a task is in a state."""
    deadline = time.monotonic() + WAIT_SECONDS
    while (found := asked(page, site, f"/{task_id}"))["state"] != state:
        assert time.monotonic() < deadline, found
        page.wait_for_timeout(50)


def open_task(page: Page, site: Served, task_id: str) -> None:
    page.goto(f"{site.base}/ui/tasks/{task_id}")
    expect(page.get_by_role("region", name="Log", exact=True)).to_be_visible()


def log(page: Page) -> Locator:
    return page.get_by_role("region", name="Log of the task")


def lines(page: Page, stream: str = "stdout") -> list[str]:
    """Return the lines of one stream that the page shows."""
    return log(page).locator(f".{stream}").all_text_contents()


def log_ends(page: Page) -> None:
    """Wait until the page has all of the log."""
    card = page.get_by_role("region", name="Log", exact=True)
    expect(card.get_by_role("status")).to_contain_text(
        re.compile("^(complete|nothing was written): the task"), timeout=60_000
    )
