"""GPU sharing by its page: hosts join, workers are made, shared, used, cut and withdrawn."""

import json
import re
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import ARTIFACTS, SCREENS, SeenBy, Watched, log_in, serving, shoot
from tests.browser.served import Served
from tests.browser.sharing import (
    CONFIG,
    SLOW_MS,
    asked,
    cut,
    fetch,
    joined,
    local_worker,
    open_sharing,
    rows,
    share,
    share_row,
    share_somewhere,
    worker_row,
)
from tests.browser.sharing_agent import HOSTILE, SharingAgent

CONTRAST = Path(__file__).with_name("contrast.js").read_text()
UNNAMED = """[...document.querySelectorAll('a, button, input, select, summary, img')]
  .filter((node) => node.checkVisibility())
  .filter((node) => !(node.textContent.trim() || node.ariaLabel || node.labels?.length || node.hasAttribute('alt')))
  .map(node => node.outerHTML)"""
OFF = "[plugins.gpu_sharing]\nenabled = false\n"
WRITTEN_MS = 120_000
"""What was used is written once a minute, and shown with the next look."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An appliance whose workers serve files, with one admin and the scripted GPUs."""
    for served in serving(tmp_path_factory.mktemp("site"), CONFIG):
        served.set_up()
        yield served


@pytest.fixture(scope="module")
def box(browser: Browser, site: Served) -> SharingAgent:
    """Another host with two GPUs, joined by the page's command line, whose default worker runs."""
    context = browser.new_context()
    page = context.new_page()
    log_in(page, site)
    agent = joined(page, site, f"box {HOSTILE}")
    context.close()
    return agent


# ---------------------------------------------------------------- the page


def test_first_visit_shows_this_host_and_says_how_another_one_joins(page: Page, fresh: Served) -> None:
    fresh.set_up()
    log_in(page, fresh)
    page.get_by_role("link", name="Sharing").click()
    expect(page.get_by_role("region", name="Share the GPUs of another host")).to_contain_text("good for half an hour")
    expect(page.get_by_role("region", name="Shares")).to_contain_text("Nothing is shared. Press “Share a worker”")
    expect(page.get_by_role("region", name="Usage")).to_contain_text("Nothing was used in this time.")
    local = rows(page, "Agents").filter(has_text="this host")
    expect(local).to_contain_text(re.compile(r"online.*GPU 0 Scripted H200, 141 GiB used by default", re.DOTALL))
    expect(local.get_by_role("button")).to_have_count(0)  # it cannot be deleted
    expect(worker_row(page, "default")).to_contain_text(re.compile("stopped.*no command", re.DOTALL))
    shoot(page, "sharing-first-1280-light")


def test_command_line_lets_one_host_join_and_is_shown_once(logged_in: Page, site: Served) -> None:
    logged_in.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site.base)
    open_sharing(logged_in, site)
    logged_in.get_by_role("button", name="Add an agent").click()
    shown = logged_in.get_by_role("status").filter(has_text="Run this on the host")
    expect(shown).to_contain_text("30 minutes")
    expect(shown).to_contain_text("The release mirror of this appliance has no agent")
    shoot(logged_in, "sharing-install-1280-light")
    logged_in.get_by_role("button", name="Copy: Command line").click()
    expect(logged_in.get_by_role("button", name="Copy: Command line")).to_have_text("Copied")
    line = logged_in.evaluate("navigator.clipboard.readText()")
    assert line == shown.get_by_role("group", name="Command line").text_content()
    token = re.search(r"install_[A-Za-z0-9_-]+", line)
    assert token is not None
    agent = SharingAgent(base=site.base, token=token[0], hostname="Größe 7")
    agent.register()
    row = rows(logged_in, "Agents").filter(has_text="Größe 7")
    expect(row).to_contain_text(re.compile("pending.*has not reported yet.*never", re.DOTALL), timeout=SLOW_MS)
    expect(logged_in.get_by_role("region", name="Share the GPUs of another host")).to_be_hidden()
    agent.report()
    expect(row).to_contain_text(re.compile(r"online.*\d s ago.*GPU 0 H100, 79.6 GiB", re.DOTALL), timeout=SLOW_MS)
    logged_in.get_by_role("button", name="I have kept it").click()
    assert token[0] not in logged_in.content()
    agent.report(event="shutdown")
    expect(row).to_contain_text("offline", timeout=SLOW_MS)
    row.get_by_role("button", name="Delete agent Größe 7").click()
    dialog = logged_in.get_by_role("dialog", name="Delete agent Größe 7?")
    expect(dialog).to_contain_text("its 1 worker go with it")
    dialog.get_by_role("button", name="Cancel").click()
    expect(row.get_by_role("button")).to_be_focused()
    row.get_by_role("button").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(logged_in.get_by_role("status").filter(has_text="Agent Größe 7 is deleted.")).to_be_focused()
    expect(row).to_have_count(0)
    with pytest.raises(urllib.error.HTTPError):
        agent.report()


def test_share_of_this_host_is_made_used_counted_and_revoked_with_its_live_connection(
    logged_in: Page, site: Served
) -> None:
    open_sharing(logged_in, site)
    expect(worker_row(logged_in, "default").filter(has_text="this host")).to_have_count(0)
    name = local_worker(logged_in, site, "files")
    made = share(
        logged_in,
        name,
        Ends="in 1 hour",
        Times_that_the_link_can_be_opened="3",
        Address_that_guests_connect_to="127.0.0.1",
        Connections_at_once="4",
    )
    assert made["link"].startswith(f"{site.base}/s/")
    code = logged_in.get_by_role("img", name=f"QR code of {made['link']}")
    expect(code).to_be_visible()
    expect(code).to_have_js_property("complete", value=True)
    assert code.evaluate("(image) => image.naturalWidth") > 100
    row = share_row(logged_in, made)
    expect(row).to_contain_text(
        re.compile(r"live.*whoever opened the link.*0 of 3.*in (1 h|59 min).*0 of 4 live.*0 B", re.DOTALL)
    )
    shoot(logged_in, "sharing-made-1280-light")
    assert fetch(made) == 200
    expect(row).to_contain_text("1 of 3", timeout=SLOW_MS)
    place = urlsplit(made["url"])
    assert place.hostname is not None
    with socket.create_connection((place.hostname, place.port or 0), timeout=30) as guest:
        guest.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert guest.recv(12).startswith(b"HTTP/1.")
        guest.sendall(b"")
        with socket.create_connection((place.hostname, place.port or 0), timeout=30) as idle:
            expect(row).to_contain_text(
                re.compile(r"[12] of 4 live.*[1-9]\d* B|[12] of 4 live.*[\d.]+ KiB"), timeout=SLOW_MS
            )
            expect(worker_row(logged_in, name)).to_contain_text("127.0.0.1, since", timeout=SLOW_MS)
            row.get_by_role("button", name=f"Revoke share {made['code']}").click()
            dialog = logged_in.get_by_role("dialog", name=f"Revoke share {made['code']}?")
            expect(dialog).to_contain_text(re.compile("live connections? (is|are) cut"))
            dialog.get_by_role("button", name="Revoke").click()
            idle.settimeout(30)
            assert cut(idle)
    expect(logged_in.get_by_role("status").filter(has_text="is revoked")).to_be_focused()
    expect(row).to_have_count(0)
    assert fetch(made) == 404


def test_copy_button_and_qr_code_of_a_row_give_its_link(logged_in: Page, site: Served, box: SharingAgent) -> None:
    logged_in.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=site.base)
    open_sharing(logged_in, site)
    made = share(logged_in, local_worker(logged_in, site, "copied"))
    row = share_row(logged_in, made)
    row.get_by_role("button", name="Copy the link").click()
    expect(row.get_by_role("button", name="Copy the link")).to_have_text("Copied")
    assert logged_in.evaluate("navigator.clipboard.readText()") == made["link"]
    row.get_by_role("button", name="QR code").click()
    dialog = logged_in.get_by_role("dialog", name=f"Share {made['code']}")
    expect(dialog.get_by_role("img", name=f"QR code of {made['link']}")).to_be_visible()
    expect(dialog.get_by_role("group", name="Connects to")).to_have_text(made["url"])
    shoot(logged_in, "sharing-qr-1280-light")
    logged_in.keyboard.press("Escape")
    expect(row.get_by_role("button", name="QR code")).to_be_focused()


def test_share_of_another_host_says_that_only_its_code_can_be_withdrawn(
    logged_in: Page, site: Served, box: SharingAgent
) -> None:
    open_sharing(logged_in, site)
    remote = worker_row(logged_in, "default").filter(has_text="box")
    expect(remote).to_contain_text(re.compile("running.*198.51.100.9, since", re.DOTALL))
    remote.get_by_role("button", name="Share worker").click()
    dialog = logged_in.get_by_role("dialog", name="Share a worker")
    expect(dialog.get_by_text("only the code can be withdrawn from here")).to_be_visible()
    for label in ("Who may connect", "Networks", "Connections at once"):
        expect(dialog.get_by_label(label)).to_be_hidden()
    shoot(logged_in, "sharing-remote-1280-light")
    with logged_in.expect_request(lambda one: one.method == "POST") as sent:
        dialog.get_by_role("button", name="Share", exact=True).click()
    assert set(sent.value.post_data_json or {}) == {"worker_id", "expires_in_seconds"}
    row = rows(logged_in, "Shares").filter(has_text="192.0.2.77")
    expect(row).to_contain_text(re.compile("whoever reaches its host.*not seen from here", re.DOTALL))
    row.get_by_role("button", name="Revoke").click()
    expect(logged_in.get_by_role("dialog")).to_contain_text("only its code can be withdrawn from here")
    logged_in.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(row).to_have_count(0)


def test_wrong_terms_of_a_share_say_why_at_their_field(logged_in: Page, site: Served) -> None:
    name = local_worker(logged_in, site, "terms")
    opener = worker_row(logged_in, name).get_by_role("button", name="Share worker")
    opener.click()
    dialog = logged_in.get_by_role("dialog", name="Share a worker")
    go = dialog.get_by_role("button", name="Share", exact=True)
    dialog.get_by_label("Times that the link can be opened").fill("0")
    dialog.get_by_label("Ends", exact=True).select_option("at a time of its own")
    dialog.get_by_label("Ends at").fill("2020-01-01T00:00")
    go.click()
    told = dialog.get_by_role("alert").filter(has_text=re.compile("."))
    expect(told).to_have_text(["Enter a time to come.", re.compile("whole number from 1")])
    expect(dialog.get_by_label("Ends at")).to_be_focused()
    dialog.get_by_label("Ends", exact=True).select_option("never")
    dialog.get_by_label("Times that the link can be opened").fill("")
    dialog.get_by_label("Who may connect").select_option("networks, which are named here")
    go.click()
    expect(dialog.get_by_label("Networks")).to_be_focused()
    expect(told).to_contain_text("needs the networks that may connect")
    dialog.get_by_label("Networks").fill("10.0.0.0/8 nowhere")
    go.click()
    expect(told).to_contain_text("expected a network such as 10.1.0.0/16")
    dialog.get_by_label("Networks").fill("10.0.0.0/8, 192.0.2.7")
    dialog.get_by_label("Address that guests connect to").fill("; rm -rf /")
    go.click()
    expect(dialog.get_by_label("Address that guests connect to")).to_be_focused()
    shoot(logged_in, "sharing-refused-1280-light")
    logged_in.keyboard.press("Escape")
    expect(opener).to_be_focused()
    made = share(logged_in, name, Who_may_connect="networks, which are named here", Networks="10.0.0.0/8, 192.0.2.7")
    expect(share_row(logged_in, made)).to_contain_text("10.0.0.0/8, 192.0.2.7/32")


def test_worker_is_edited_disabled_enabled_and_deleted(logged_in: Page, site: Served) -> None:
    name = local_worker(logged_in, site, "edited")
    row = worker_row(logged_in, name)
    expect(row).to_contain_text("no limits")
    row.get_by_role("button", name="Edit worker edited").click()
    dialog = logged_in.get_by_role("dialog", name="Edit worker edited")
    expect(dialog.get_by_role("checkbox", name=re.compile("GPU 0 "))).to_be_checked()
    dialog.get_by_role("checkbox", name=re.compile("GPU 0 ")).uncheck()
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert").filter(has_text="at least one GPU")).to_be_visible()
    dialog.get_by_role("checkbox", name=re.compile("GPU 0 ")).check()
    dialog.get_by_label("GPU memory in MiB").fill("20480")
    dialog.get_by_label("Compute in percent").fill("101")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_label("Compute in percent")).to_be_focused()
    dialog.get_by_label("Compute in percent").fill("25")
    shoot(logged_in, "sharing-edit-1280-light")
    with logged_in.expect_request(lambda one: one.method == "PATCH") as sent:
        dialog.get_by_role("button", name="Save").click()
    assert sent.value.post_data_json == {"vram_mb": 20480, "compute_percent": 25}
    expect(row).to_contain_text(re.compile("20.0 GiB of GPU memory, 25 % of compute.*advisory", re.DOTALL))
    (limited,) = (one for one in asked(logged_in, site, "workers") if one["name"] == name)
    assert limited["limits_reason"]
    expect(row).to_contain_text(limited["limits_reason"])
    row.get_by_role("button", name="Edit worker edited").click()
    dialog.get_by_label("GPU memory in MiB").fill("")
    with logged_in.expect_request(lambda one: one.method == "PATCH") as sent:
        dialog.get_by_role("button", name="Save").click()
    assert sent.value.post_data_json == {"vram_mb": None}
    row.get_by_role("button", name="Disable worker edited").click()
    expect(row).to_contain_text(re.compile("(stopping|stopped).*disabled", re.DOTALL), timeout=SLOW_MS)
    row.get_by_role("button", name="Enable worker edited").click()
    expect(row).to_contain_text("running", timeout=SLOW_MS)
    share(logged_in, name)
    expect(row.locator("td").nth(5)).to_have_text("1")
    row.get_by_role("button", name="Delete worker edited").click()
    dialog = logged_in.get_by_role("dialog", name="Delete worker edited?")
    expect(dialog).to_contain_text("1 share of it ends")
    dialog.get_by_role("button", name="Delete").click()
    expect(row).to_have_count(0)
    expect(rows(logged_in, "Shares").filter(has_text="edited on")).to_have_count(0)


def test_new_worker_that_does_not_fit_says_why(logged_in: Page, site: Served) -> None:
    local_worker(logged_in, site, "first")
    logged_in.get_by_role("button", name="Add a worker").click()
    dialog = logged_in.get_by_role("dialog", name="Add a worker")
    go = dialog.get_by_role("button", name="Add worker")
    free = int(dialog.get_by_label("Port").input_value())
    go.click()
    expect(dialog.get_by_role("alert").filter(has_text="Enter a name.")).to_be_visible()
    expect(dialog.get_by_label("Name")).to_be_focused()
    dialog.get_by_label("Name").fill("second")
    dialog.get_by_label("Port").fill(str(free - 1))
    go.click()
    expect(dialog.get_by_role("alert").filter(has_text=f"port {free - 1} is taken")).to_be_visible()
    expect(dialog).to_contain_text(f"take another listen_port, such as {free}")


def test_viewer_is_offered_nothing_that_would_be_refused(
    logged_in: Page, site: Served, box: SharingAgent, seen_by: SeenBy
) -> None:
    page = seen_by(logged_in, "vera", "viewer")
    open_sharing(page, site)
    expect(page.get_by_role("region", name="Agents")).to_contain_text("No agents of yours.")
    expect(page.get_by_role("region", name="Shares")).to_contain_text("Your role, viewer, only reads.")
    expect(page.locator("main").get_by_role("button")).to_have_count(0)
    expect(page.get_by_role("checkbox", name="Everybody's")).to_have_count(0)


def test_user_sees_their_own_alone_and_an_operator_everybodys_when_asked(
    logged_in: Page, site: Served, box: SharingAgent, seen_by: SeenBy
) -> None:
    uwe = seen_by(logged_in, "uwe", "user")
    open_sharing(uwe, site)
    expect(uwe.get_by_role("region", name="Agents")).to_contain_text("Press “Add an agent”")
    expect(uwe.get_by_role("region", name="Shares")).to_contain_text("no worker yet that could be")
    expect(uwe.get_by_role("region", name="Workers")).to_contain_text("add an agent first")
    expect(uwe.get_by_role("button", name="Add a worker")).to_be_disabled()
    expect(uwe.get_by_role("button", name="Share a worker")).to_be_disabled()
    expect(uwe.get_by_role("checkbox", name="Everybody's")).to_have_count(0)
    shoot(uwe, "sharing-user-1280-light")
    joined(uwe, site, "uwes-box")
    expect(rows(uwe, "Agents")).to_have_count(1, timeout=SLOW_MS)
    share(uwe, "default")
    olga = seen_by(logged_in, "olga", "operator")
    open_sharing(olga, site)
    expect(rows(olga, "Agents").filter(has_text="this host")).to_be_visible()
    expect(rows(olga, "Agents").filter(has_text="uwes-box")).to_have_count(0)
    olga.get_by_role("checkbox", name="Everybody's").check()
    expect(rows(olga, "Agents").filter(has_text="uwes-box")).to_contain_text("of uwe")
    assert olga.url.endswith("?all=true")
    olga.reload()
    expect(olga.get_by_role("checkbox", name="Everybody's")).to_be_checked()
    row = rows(olga, "Shares").filter(has_text="by uwe")
    row.get_by_role("button", name="Revoke").click()
    olga.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(row).to_have_count(0)
    olga.get_by_role("checkbox", name="Everybody's").uncheck()
    expect(rows(olga, "Agents").filter(has_text="uwes-box")).to_have_count(0)
    assert olga.url.endswith("/ui/sharing")


def used(route: Route) -> None:
    """Answer with usage, made up of all that can be told."""
    names = [
        item["share_id"]
        for item in route.request.frame.page.context.request.get(route.request.url.split("usage")[0] + "shares").json()[
            "items"
        ]
    ]
    by = "person" if "by=person" in route.request.url else "share"
    known = ["ana", ""] if by == "person" else [*names[:1], "gone-1", ""]
    items = [
        {
            "name": name,
            "gpu_seconds": 5400.0,
            "vram_gib_seconds": 360_000.0,
            "energy_joules": 4_500_000.0,
            "bytes": 2**31,
        }
        for name in known
    ]
    route.fulfill(json={"items": items, "next": None})


def test_usage_is_summed_by_share_worker_or_person_and_given_as_csv(
    logged_in: Page, site: Served, box: SharingAgent
) -> None:
    share_somewhere(logged_in, site)
    logged_in.route("**/api/appliance/sharing/usage?*", used)
    open_sharing(logged_in, site)
    card = logged_in.get_by_role("region", name="Usage")
    expect(rows(logged_in, "Usage").first).to_contain_text(re.compile(r"1\.50.*100.*1\.25 kWh.*2\.0 GiB", re.DOTALL))
    expect(rows(logged_in, "Usage").filter(has_text="gone-1, which is gone")).to_be_visible()
    expect(rows(logged_in, "Usage").filter(has_text="used by no share")).to_be_visible()
    expect(rows(logged_in, "Usage").last).to_contain_text(
        re.compile(r"All.*4\.50.*300.*3\.75 kWh.*6\.0 GiB", re.DOTALL)
    )
    with logged_in.expect_request(lambda one: "by=person" in one.url) as sent:
        card.get_by_role("radio", name="Person").check()
    assert re.search(r"from_unix_s=\d+", sent.value.url)
    expect(rows(logged_in, "Usage").first).to_contain_text("ana")
    with logged_in.expect_request(lambda one: "by=person" in one.url and "from_unix_s" not in one.url):
        card.get_by_role("radio", name="all", exact=True).check()
    logged_in.unroute_all(behavior="wait")
    with logged_in.expect_download() as download:
        card.get_by_role("link", name="usage.csv").click()
    assert download.value.suggested_filename == "usage.csv"
    assert "gpu_seconds" in download.value.path().read_text().partition("\n")[0]
    card.get_by_role("radio", name="Worker").check()
    real = rows(logged_in, "Usage").filter(has_text=re.compile(r"^(default|somewhere) on "))
    expect(real.first).to_contain_text(re.compile(r"\d\.\d+"), timeout=WRITTEN_MS)


def test_link_and_page_are_gone_while_the_plugin_is_off(page: Page, fresh: Served) -> None:
    fresh.set_up()
    log_in(page, fresh)
    expect(page.get_by_role("navigation", name="Main").get_by_role("link", name="Sharing")).to_be_visible()
    fresh.stop()
    fresh.config += OFF
    fresh.start()
    page.goto(fresh.base)
    expect(page.get_by_role("navigation", name="Main").get_by_role("link", name="Sharing")).to_be_hidden()
    expect(page.get_by_role("navigation", name="Main").get_by_role("link", name="Machines")).to_be_visible()
    page.goto(f"{fresh.base}/ui/sharing")
    expect(page.get_by_text("The plugin gpu_sharing, which shares GPUs, is not running")).to_be_visible()


@pytest.mark.long
def test_lost_connection_is_told_and_ends(page: Page, fresh: Served) -> None:
    fresh.set_up()
    log_in(page, fresh)
    open_sharing(page, fresh)
    fresh.stop()
    expect(page.get_by_text("not connected")).to_be_visible(timeout=SLOW_MS)
    fresh.start()
    expect(page.get_by_text("live", exact=True)).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_role("alert")).to_have_count(0)


def many(route: Route) -> None:
    """Answer with a share of every state, hostile and long words, and a long list of others, made from a real one."""
    answer = route.fetch()
    said = answer.json()
    real = next(one for one in said["items"] if one["is_relayed"])
    long = {"worker_name": "w" * 100, "hostname": "h" * 255, "connection_url": f"tcp://{'h' * 200}:20001"}
    said["items"] = [
        real,
        real | {"share_id": "a", "state": "expired", "expires_unix_s": real["created_unix_s"] - 5000, **long},
        real | {"share_id": "b", "state": "used_up", "used_count": 3, "max_uses": 3, "worker_name": HOSTILE},
        real
        | {"share_id": "c", "problem": "no free port in 20000-29999", "access": "cidr", "networks": ["10.0.0.0/8"] * 9},
        *(real | {"share_id": f"s{number}", "short_code": f"{number:016}"} for number in range(400)),
    ]
    route.fulfill(response=answer, body=json.dumps(said))


def test_long_list_is_shown_in_parts(logged_in: Page, site: Served) -> None:
    share_somewhere(logged_in, site)
    logged_in.route("**/api/appliance/sharing/shares*", many)
    open_sharing(logged_in, site)
    expect(rows(logged_in, "Shares")).to_have_count(200)
    expect(logged_in.get_by_text("The first 200 of 404 are shown.")).to_be_visible()
    logged_in.get_by_role("button", name="Show 200 more").click()
    logged_in.get_by_role("button", name="Show 200 more").click()
    expect(rows(logged_in, "Shares")).to_have_count(404)
    expect(logged_in.get_by_role("button", name="Show 200 more")).to_be_hidden()
    expect(rows(logged_in, "Shares").nth(1)).to_contain_text(re.compile(r"expired.*1 h ago", re.DOTALL))
    expect(rows(logged_in, "Shares").nth(2)).to_contain_text(re.compile(r"used up.*3 of 3", re.DOTALL))
    expect(rows(logged_in, "Shares").nth(3)).to_contain_text("not reachable")
    expect(rows(logged_in, "Shares").nth(3)).to_contain_text("no free port in 20000-29999")


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_page_fits_its_screen_with_readable_text(
    browser: Browser, site: Served, box: SharingAgent, scheme: str, width: int
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page = context.new_page()
    watched = Watched(page)
    log_in(page, site)
    share_somewhere(page, site)
    page.route("**/api/appliance/sharing/shares*", many)
    page.route("**/api/appliance/sharing/usage?*", used)
    for opened in ("", "Share a worker", "Add a worker"):
        open_sharing(page, site)
        expect(rows(page, "Shares")).to_have_count(200)
        if opened:
            page.get_by_role("button", name=opened).click()
            expect(page.get_by_role("dialog")).to_be_visible()
        page.screenshot(path=ARTIFACTS / f"sharing-{opened or 'many'}-{width}-{scheme}.png".replace(" ", "-"))
        assert page.evaluate("document.documentElement.scrollWidth") <= width, opened
        navigation = page.get_by_role("navigation", name="Main")
        assert navigation.evaluate("(one) => one.scrollWidth <= one.clientWidth")
        looked = page.evaluate(CONTRAST)
        assert looked["count"] > 30
        assert looked["poor"] == []
        assert page.evaluate(UNNAMED) == []
    page.unroute_all(behavior="wait")
    open_sharing(page, site)
    shoot(page, f"sharing-{width}-{scheme}")
    assert page.title() == "Sharing: appliance"
    assert [url for url in watched.requests if not url.startswith((f"{site.base}/", "data:"))] == []
    assert watched.problems == []
    context.close()


# ---------------------------------------------------------------- words


def told(page: Page, module: str, function: str, *arguments: Any) -> Any:
    code = f"async (given) => (await import('/ui/static/{module}.js')).{function}(...given)"
    return page.evaluate(code, list(arguments))


def test_words_for_states_limits_uses_and_amounts(page: Page, site: Served) -> None:
    page.goto(f"{site.base}/setup")

    def said(function: str, *given: Any) -> Any:
        return told(page, "sharing_words", function, *given)

    assert said("agentState", {"status": "online"}) == ["ok", "online"]
    assert said("agentState", {"status": "unheard of"}) == ["", "unheard of"]
    assert said("workerState", {"status": "stopped", "enabled": True}) == ["critical", "stopped"]
    assert said("workerState", {"status": "stopped", "enabled": False}) == ["", "stopped"]
    down, up = {"why": "", "status": "stopped", "enabled": True}, {"why": "", "status": "running", "enabled": True}
    assert said("whyNotRunning", down | {"why": "no command configured"}) == "no command configured"
    assert said("whyNotRunning", down | {"enabled": False}) == "disabled"
    assert said("whyNotRunning", down, {"status": "offline"}) == "its agent is offline"
    assert said("whyNotRunning", up, {"status": "online"}) == ""
    assert said("whyNotRunning", up, {"status": "offline"}) == "as its agent said last, which is offline now"
    assert said("shareState", {"state": "live", "problem": ""}) == ["ok", "live"]
    assert said("shareState", {"state": "used_up", "problem": ""}) == ["", "used up"]
    assert said("limitWords", {"vram_mb": None, "compute_percent": None}) == "no limits"
    assert said("limitWords", {"vram_mb": 2048, "compute_percent": 5}) == "2.0 GiB of GPU memory, 5 % of compute"
    assert said("enforcement", {"limits": "none", "limits_reason": ""}) is None
    assert said("enforcement", {"limits": "enforced", "limits_reason": "MIG"}) == ["ok", "enforced", "MIG"]
    assert said("useWords", {"used_count": 2, "max_uses": None}) == ["2", "no limit"]
    assert said("useWords", {"used_count": 2, "max_uses": 3}) == ["2 of 3", ""]
    assert said("expiryWords", {"expires_unix_s": None}) == ["never", ""]
    assert said("expiryWords", {"expires_unix_s": 1})[0].endswith(" d ago")
    assert said("networksOf", " 10.0.0.0/8,192.0.2.7;  fd00::/8 ") == ["10.0.0.0/8", "192.0.2.7", "fd00::/8"]
    assert said("freePort", [{"listen_port": 9001}, {"listen_port": 9002}]) == 9003
    assert told(page, "sharing_usage", "amount", 0.0004) == "< 0.001"
    assert [told(page, "sharing_usage", "amount", value) for value in (0, 0.5, 1.25, 312.4)] == [
        "0",
        "0.500",
        "1.25",
        "312",
    ]
    assert told(
        page, "sharing_workers", "differences", {"a": 1, "b": [2], "c": None}, {"a": 1, "b": [3], "c": None}
    ) == {"b": [2]}
