"""Drones that are entered from the pages: approved, pinged, read, deployed to, and worked on in a terminal."""

import re
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import FilePayload, Locator, Page, WebSocket, expect

from tests.browser.conftest import Screen, Watched, log_in, serving, shoot
from tests.browser.served import Served
from tests.browser.swarm import Drone, agree, call, card_of, found, open_drone, open_page, region, row, said
from tests.wire.sshd import Sshd, running_sshd

CONTRAST = Path(__file__).with_name("contrast.js").read_text()
CONFIG = """
[plugins.build_swarm]
queue_idle_minutes = 1000
payload_folder = "{}"
"""
"""With the folder into which payloads go on drones, all of which are this host."""
ROWS = ".xterm-rows"
SLOW_MS = 60_000


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """The ssh of every drone here."""
    with running_sshd(tmp_path_factory.mktemp("sshd") / "drone") as one:
        yield one


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where payloads go on every drone here."""
    return tmp_path_factory.mktemp("payloads")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, sshd: Sshd, placed: Path) -> Iterator[Served]:
    """An appliance with one admin, whose key the drones' sshd knows."""
    for served in serving(tmp_path_factory.mktemp("site"), CONFIG.format(placed)):
        served.set_up()
        sshd.authorize(call(served.base, "/api/appliance/swarm/approvals")["public_key"])
        yield served


@pytest.fixture
def drone(site: Served) -> Drone:
    """A drone that no other test has, and that nobody has approved."""
    one = Drone(site.base, f"drone-{secrets.token_hex(3)}")
    one.beat()
    return one


@pytest.fixture
def approved(site: Served, sshd: Sshd, drone: Drone) -> Drone:
    """A drone that is approved."""
    body = {"address": sshd.address, "port": sshd.port, "user": sshd.user, "host_key": sshd.host_key}
    call(site.base, f"/api/appliance/swarm/drones/{drone.name}/approve", body)
    return drone


def test_drone_is_approved_once_its_host_key_was_compared_and_then_pinged(
    logged_in: Page, site: Served, sshd: Sshd, drone: Drone
) -> None:
    open_page(logged_in, site, "/drones")
    card = card_of(logged_in, drone.name)
    card.get_by_role("button", name=f"Approve {drone.name}").click()
    dialog = logged_in.get_by_role("dialog", name=f"Approve {drone.name}")
    expect(dialog.get_by_label("Address")).to_have_value("127.0.0.1")
    dialog.get_by_text("The same on the command line").click()
    expect(dialog.get_by_role("group", name="Command")).to_have_text(f"appliance swarm approve {drone.name}")
    dialog.get_by_label("Port").fill("1")
    dialog.get_by_role("button", name="Look at its host key").click()
    expect(dialog.get_by_text(re.compile("port 1 shows no host key"))).to_be_visible(timeout=SLOW_MS)
    dialog.get_by_label("Port").fill(str(sshd.port))
    dialog.get_by_label("User").fill(sshd.user)
    dialog.get_by_label("It is").select_option("lxc")
    dialog.get_by_role("button", name="Look at its host key").click()
    asking = logged_in.get_by_role("dialog", name=f"Is this {drone.name}?")
    expect(asking.locator("code").first).to_have_text(re.compile(r"^SHA256:\S{43}$"))
    fingerprint = asking.locator("code").first.text_content()
    shoot(logged_in, "swarm-approve-1280-light")
    assert found(site, f"/drones/{drone.name}")["approval"] is None
    asking.get_by_role("button", name="Approve", exact=True).click()
    said(logged_in, f"{drone.name} is approved: {sshd.user}@127.0.0.1, host key {fingerprint}.")
    expect(card).to_contain_text(f"Approved for ssh: {sshd.user}@127.0.0.1, port {sshd.port}")
    card.get_by_role("button", name=f"Ping {drone.name}").click()
    said(logged_in, re.compile(rf"{drone.name}: answered in \d+ ms, load"))
    logged_in.get_by_label("Show").select_option("unapproved")
    expect(card).to_have_count(0)
    logged_in.get_by_label("Show").select_option("")
    card.get_by_role("button", name=f"Withdraw approval of {drone.name}").click()
    agree(logged_in, "Withdraw")
    said(logged_in, f"{drone.name} is not approved any more.")
    expect(card.locator("code")).to_have_text(f"appliance swarm approve {drone.name}")
    assert found(site, f"/drones/{drone.name}")["drone_type"] == "lxc"


def test_system_log_of_a_drone_is_fetched(logged_in: Page, site: Served, sshd: Sshd, approved: Drone) -> None:
    sshd.stub("dmesg", "echo 'oops <b>one</b>'; echo 'oops two'")
    open_drone(logged_in, site, approved.name)
    card = region(logged_in, "System log")
    card.get_by_label("Which").select_option("dmesg")
    card.get_by_role("button", name="Fetch").click()
    out = logged_in.get_by_role("region", name=f"System log of {approved.name}")
    expect(out).to_contain_text("oops <b>one</b>", timeout=SLOW_MS)
    expect(out).to_contain_text("oops two")


# ---------------------------------------------------------------- the terminal


def open_terminal(page: Page, site: Served, drone: Drone) -> Locator:
    """Open a terminal and wait for its prompt; return its lines."""
    page.goto(f"{site.base}/ui/swarm/drones/{drone.name}/terminal")
    expect(page.get_by_text("connected", exact=True)).to_be_visible(timeout=SLOW_MS)
    rows = page.locator(ROWS)
    expect(rows).to_contain_text("$")
    return rows


def typed(page: Page, line: str) -> None:
    page.keyboard.type(line)
    page.keyboard.press("Enter")


def test_terminal_runs_what_is_typed_and_knows_its_size(logged_in: Page, site: Served, approved: Drone) -> None:
    open_drone(logged_in, site, approved.name)
    logged_in.get_by_role("link", name=f"Terminal of {approved.name}").click()
    expect(logged_in.get_by_text("connected", exact=True)).to_be_visible(timeout=SLOW_MS)
    rows = logged_in.locator(ROWS)
    expect(rows).to_contain_text("$")
    # Typed at once: the terminal has the focus as soon as it is connected.
    typed(logged_in, "echo $((6 * 7)) äö€; stty size")
    expect(rows).to_contain_text("42 äö€")
    before = size(logged_in, rows)
    typed(logged_in, r"printf '\033[38;2;10;120;60mgreen\033[0m \033[7minverse\033[0m \033[1;31mred\033[0m\n'")
    expect(rows.get_by_text("green", exact=True)).to_be_visible()
    shoot(logged_in, "swarm-terminal-1280-light")
    assert logged_in.evaluate(CONTRAST)["poor"] == []
    logged_in.set_viewport_size({"width": 700, "height": 600})
    expect(logged_in.locator(".facts")).not_to_contain_text(f"{before[0]} columns")
    typed(logged_in, "clear; stty size")
    expect(rows).to_contain_text(re.compile(r"^\d+ \d+"))
    after = size(logged_in, rows)
    assert after < before
    expect(logged_in.locator(".facts")).to_contain_text(f"{after[0]} columns, {after[1]} lines")


def size(page: Page, rows: Locator) -> tuple[int, int]:
    """Return columns and lines that ``stty size`` has printed last."""
    expect(rows.get_by_text(re.compile(r"^\d+ \d+\s*$")).last).to_be_visible()
    lines, columns = (rows.get_by_text(re.compile(r"^\d+ \d+\s*$")).last.text_content() or "").split()
    return int(columns), int(lines)


def test_terminal_says_why_it_has_ended_and_connects_again(
    logged_in: Page, site: Served, sshd: Sshd, approved: Drone
) -> None:
    rows = open_terminal(logged_in, site, approved)
    typed(logged_in, "exit")
    expect(rows).to_contain_text("[the shell has ended]")
    reconnect = logged_in.get_by_role("button", name="Reconnect")
    expect(reconnect).to_be_focused()
    logged_in.keyboard.press("Enter")
    expect(logged_in.get_by_text("connected", exact=True)).to_be_visible(timeout=SLOW_MS)
    typed(logged_in, "echo again-$((1 + 1))")
    expect(rows).to_contain_text("again-2")
    call(site.base, f"/api/appliance/swarm/drones/{approved.name}/unapprove", {})
    expect(rows).to_contain_text("[the drone is no longer approved]")
    reconnect.click()
    expect(logged_in.get_by_text(f"{approved.name} is not approved for ssh.")).to_be_visible()
    expect(logged_in.get_by_role("group", name="Command")).to_have_text(f"appliance swarm approve {approved.name}")


def test_terminal_is_left_by_keyboard_and_pasted_into(logged_in: Page, site: Served, approved: Drone) -> None:
    rows = open_terminal(logged_in, site, approved)
    logged_in.keyboard.press("Tab")
    expect(logged_in.locator(".xterm-helper-textarea")).to_be_focused()
    logged_in.keyboard.press("Control+.")
    expect(logged_in.get_by_role("link", name="Drone", exact=True)).to_be_focused()
    logged_in.locator(".xterm-helper-textarea").focus()
    # More than fits into one message; the end of what is read is typed as in any terminal.
    paste(logged_in, "stty -echo; wc -c\n" + ("x" * 79 + "\n") * 500 + "\x04")
    expect(rows).to_contain_text("40000", timeout=SLOW_MS)
    logged_in.get_by_label("Read aloud to screen readers").check()
    expect(logged_in.locator(".xterm-accessibility")).to_have_count(1)


PASTE = """(words) => {
  const data = new DataTransfer();
  data.setData('text/plain', words);
  const pasted = new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true });
  document.querySelector('.xterm-helper-textarea').dispatchEvent(pasted);
}"""


def paste(page: Page, words: str) -> None:
    page.evaluate(PASTE, words)


def test_terminal_takes_each_ticket_once_and_tells_of_a_drone_that_is_away(
    logged_in: Page, site: Served, sshd: Sshd, approved: Drone
) -> None:
    sockets: list[WebSocket] = []
    logged_in.on("websocket", lambda one: sockets.append(one))  # noqa: PLW0108 (playwright wraps it)
    sshd.down()
    try:
        logged_in.goto(f"{site.base}/ui/swarm/drones/{approved.name}/terminal")
        expect(logged_in.get_by_text("closed", exact=True)).to_be_visible(timeout=SLOW_MS)
        expect(logged_in.locator(ROWS)).to_contain_text("[")
    finally:
        sshd.up()
    logged_in.get_by_role("button", name="Reconnect").click()
    expect(logged_in.get_by_text("connected", exact=True)).to_be_visible(timeout=SLOW_MS)
    tickets = [re.search(r"ticket=([^&]+)", one.url) for one in sockets]
    assert len({one[1] for one in tickets if one}) == len(sockets) == 2


@pytest.mark.parametrize("scheme", [pytest.param("light", marks=pytest.mark.long), "dark"])
def test_terminal_fits_a_narrow_screen(screen: Screen, site: Served, approved: Drone, scheme: str) -> None:
    page = screen(360, scheme)
    watched = Watched(page)
    log_in(page, site)
    rows = open_terminal(page, site, approved)
    typed(page, r"printf '\033[3%dm%s\033[0m ' 1 red 2 green 3 yellow 4 blue 5 magenta 6 cyan 7 white 0 black; echo")
    expect(rows.get_by_text("black", exact=True)).to_be_visible()
    shoot(page, f"swarm-terminal-360-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(CONTRAST)["poor"] == []
    assert [url for url in watched.requests if not url.startswith((f"{site.base}/", "data:"))] == []
    assert watched.problems == []


# ---------------------------------------------------------------- payloads


def file(content: bytes) -> FilePayload:
    return {"name": "payload", "mimeType": "application/octet-stream", "buffer": content}


def upload(page: Page, site: Served, kind: str, version: str, content: bytes) -> None:
    """Upload a version by the form."""
    open_page(page, site, "/payloads")
    page.get_by_role("button", name="Upload a version").click()
    dialog = page.get_by_role("dialog", name="Upload a version")
    dialog.get_by_label("Type").fill(kind)
    dialog.get_by_label("Version").fill(version)
    dialog.get_by_label("File").set_input_files(file(content))
    dialog.get_by_label("Notes").fill("<b>note</b>")
    dialog.get_by_role("button", name="Upload", exact=True).click()
    said(page, f"{kind} {version} is stored.")


@pytest.fixture
def kind() -> str:
    """A type of payload that no other test has."""
    return f"pages_{secrets.token_hex(4)}"


def test_payload_is_uploaded_deployed_verified_and_rolled_out(
    logged_in: Page, site: Served, approved: Drone, placed: Path, kind: str
) -> None:
    open_page(logged_in, site, "/payloads")
    logged_in.get_by_role("button", name="Upload a version").click()
    dialog = logged_in.get_by_role("dialog", name="Upload a version")
    dialog.get_by_label("Type").fill("Not A Type")
    dialog.get_by_role("button", name="Upload", exact=True).click()
    expect(dialog.get_by_text("Lower-case letters, digits and _, at most 32.")).to_be_visible()
    expect(dialog.get_by_text("Choose a file.")).to_be_visible()
    dialog.get_by_role("button", name="Cancel").click()
    upload(logged_in, site, kind, "1.0", b"first\n")
    matrix = region(logged_in, "On drones")
    cell = row(matrix, approved.name)
    cell.get_by_role("button", name=f"Deploy {kind} on {approved.name}").click()
    logged_in.get_by_role("dialog").get_by_role("button", name="Deploy", exact=True).click()
    expect(logged_in.get_by_role("dialog")).to_have_count(0, timeout=SLOW_MS)
    assert (placed / kind).read_bytes() == b"first\n"
    expect(cell.get_by_text("1.0", exact=True)).to_be_visible()
    cell.get_by_role("button", name=f"Verify {kind} on {approved.name}").click()
    said(logged_in, f"{approved.name}, {kind}: what is there is what was sent.")
    (placed / kind).write_bytes(b"changed\n")
    cell.get_by_role("button", name=f"Verify {kind} on {approved.name}").click()
    said(logged_in, f"{approved.name}, {kind}: it is not what was sent")
    upload(logged_in, site, kind, "1.1", b"second\n")
    expect(cell).to_contain_text("newest is 1.1")
    shoot(logged_in, "swarm-payloads-1280-light")
    region(logged_in, "Versions").get_by_role("button", name=f"Roll out {kind} 1.1").click()
    rolling = logged_in.get_by_role("dialog", name=f"Roll out {kind} 1.1")
    rolling.get_by_label("Every drone that has another version").uncheck()
    rolling.get_by_role("button", name="Roll out", exact=True).click()
    expect(rolling.get_by_text("Tick at least one drone.")).to_be_visible()
    rolling.get_by_label(approved.name).check()
    rolling.get_by_role("button", name="Roll out", exact=True).click()
    done = logged_in.get_by_role("status").filter(has_text=f"{kind} 1.1: 1 of 1 drone done.")
    expect(done).to_be_visible(timeout=SLOW_MS)
    assert (placed / kind).read_bytes() == b"second\n"
    log = region(logged_in, "Deployments")
    log.get_by_label("Type").select_option(kind)
    expect(log.locator("tbody tr")).to_have_count(2)
    expect(log.locator("tbody tr").first).to_contain_text(
        re.compile(f"{kind} 1.1.*{approved.name}.*success", re.DOTALL)
    )


def test_deployment_that_fails_says_why_where_it_was_asked_for(
    logged_in: Page, site: Served, sshd: Sshd, approved: Drone, kind: str
) -> None:
    upload(logged_in, site, kind, "1.0", b"first\n")
    sshd.down()
    try:
        region(logged_in, "Versions").get_by_role("button", name=f"Deploy {kind} 1.0").click()
        dialog = logged_in.get_by_role("dialog")
        dialog.get_by_label("Drone").select_option(approved.name)
        dialog.get_by_role("button", name="Deploy", exact=True).click()
        expect(dialog.get_by_role("alert").filter(has_text=re.compile(r"\w"))).to_be_visible(timeout=SLOW_MS)
    finally:
        sshd.up()
    dialog.get_by_role("button", name="Cancel").click()
    expect(row(region(logged_in, "On drones"), approved.name)).to_contain_text("failed")
