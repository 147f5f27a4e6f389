"""Container tasks by their pages: submitted, explained, followed, collected, cancelled, and planned."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, FilePayload, Page, Route, expect

from tests.browser.conftest import ARTIFACTS, SeenBy, Watched, log_in, serving, shoot
from tests.browser.cuttable import Line, line_to
from tests.browser.served import Served
from tests.browser.tasks import (
    HOSTILE,
    add_engine,
    asked,
    fill,
    lines,
    log,
    log_ends,
    made,
    open_form,
    open_task,
    open_tasks,
    row,
    sent,
    submitted,
    until,
)

CONTRAST = Path(__file__).with_name("contrast.js").read_text()
UNNAMED = """[...document.querySelectorAll('a, button, input, select, textarea, summary, img')]
  .filter((node) => node.checkVisibility())
  .filter((node) => !(node.textContent.trim() || node.ariaLabel || node.labels?.length || node.hasAttribute('alt')))
  .map(node => node.outerHTML)"""
OFF = "[plugins.task_scheduler]\nenabled = false\n"
CONFIG = "[scheduler]\nmemory_reserve_mib = 64\nstorage_reserve_mib = 64\n"
SLOW_MS = 60_000
SEEN = """(isHidden) => {
  Object.defineProperty(document, 'hidden', { value: isHidden, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}"""
STREAM = """event: gap
data: {"missing_bytes": 3072}

event: log
data: {"parts": [{"stream": "stdout", "text": "after it\\n"}], "next_offset": 3081}

event: end
data: {"state": "failed", "exit_code": 1, "message": ""}

"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An appliance with GPUs, an engine that runs plain processes, and one admin."""
    for served in serving(tmp_path_factory.mktemp("site"), CONFIG, prepare=add_engine):
        served.set_up()
        yield served


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file for which commands wait."""
    tmp_path.chmod(0o755)
    return tmp_path / "gate"


def file(name: str, content: bytes) -> FilePayload:
    """Return a file as a person would choose it from their disk."""
    return {"name": name, "mimeType": "application/octet-stream", "buffer": content}


def best_engine(page: Page, site: Served) -> str:
    """Return the engine that keeps tasks apart, where this host has what it needs."""
    engines = {one["name"]: one["state"] for one in asked(page, site, "/overview")["engines"]}
    return "sandbox" if engines.get("sandbox") == "ok" else "plain"


# ---------------------------------------------------------------- one task


def test_task_is_submitted_followed_and_its_files_are_downloaded_and_deleted(logged_in: Page, site: Served) -> None:
    logged_in.get_by_role("navigation", name="Main").get_by_role("link", name="Tasks").click()
    command = "echo begins; echo trouble >&2; mkdir -p /output/sub; echo 42 > '/output/sub/a b.txt'; echo done"
    engine = best_engine(logged_in, site)
    task_id = submitted(logged_in, site, "first", Command=command, Tag="batch-job", Engine=engine)
    logged_in.get_by_role("status").get_by_role("link", name="first").click()
    expect(logged_in.get_by_role("heading", level=1)).to_have_text("first")
    log_ends(logged_in)
    assert (lines(logged_in), lines(logged_in, "stderr")) == (["begins", "done"], ["trouble"])
    about = logged_in.get_by_role("region", name="About it")
    expect(about).to_contain_text(re.compile(f"{task_id}.*host.*echo begins.*0.1 cores.*batch-job.*ana", re.DOTALL))
    attempts = logged_in.get_by_role("region", name="Attempts")
    expect(attempts.locator("tbody tr")).to_have_count(1)
    expect(attempts).to_contain_text(f"engine {engine}")
    logged_in.get_by_role("radio", name="stderr").check()
    expect(log(logged_in)).to_have_text(re.compile("trouble"))
    expect(log(logged_in).get_by_text("done")).to_be_hidden()
    logged_in.get_by_role("radio", name="Both").check()
    shoot(logged_in, "task-completed-1280-light")
    files = logged_in.get_by_role("region", name="Files")
    with logged_in.expect_download() as download:
        files.get_by_role("link", name="sub/a b.txt").click()
    assert download.value.suggested_filename == "a b.txt"
    assert download.value.path().read_text() == "42\n"
    with logged_in.expect_download() as download:
        logged_in.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == f"{task_id}.log"
    assert sorted(download.value.path().read_text().split()) == ["begins", "done", "trouble"]
    files.get_by_role("button", name="Delete all files").click()
    logged_in.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(logged_in.get_by_role("status").filter(has_text="The files are deleted.")).to_be_focused()
    expect(files).to_contain_text("It left nothing in /output.")


def test_second_task_says_why_it_waits_and_starts_when_the_first_is_cancelled(logged_in: Page, site: Served) -> None:
    submitted(logged_in, site, "holds both", Command="sleep 3600", GPUs="2")
    expect(row(logged_in, "holds both")).to_contain_text(re.compile("running.*GPU 0 Scripted H200.*GPU 2", re.DOTALL))
    waiting = submitted(logged_in, site, "waits", Command="echo $GPUS; sleep 3600", GPUs="1")
    found = row(logged_in, "waits")
    expect(found).to_contain_text(re.compile("pending.*does not fit.*1 GPU", re.DOTALL))
    engines = logged_in.get_by_role("region", name="Engines and hosts")
    in_use = engines.locator("tbody tr").filter(has_text="GPU-0")
    expect(in_use).to_contain_text("in use")
    expect(in_use.get_by_role("link")).to_have_count(1)
    expect(logged_in.get_by_text("2 of 3 GPUs in use")).to_be_visible()
    shoot(logged_in, "tasks-waiting-1280-light")
    open_task(logged_in, site, waiting)
    why = logged_in.get_by_role("region", name="Why it waits")
    expect(why).to_contain_text(re.compile("does not fit.*place 1 in the queue.*likely to start", re.DOTALL))
    expect(why.locator("tbody tr").last).to_contain_text("GPU-0 has 0 of 1000 parts")
    expect(why).not_to_contain_text(re.compile("host [0-9a-f]{8}-"))
    expect(logged_in.get_by_text("nothing was written yet")).to_be_visible()
    shoot(logged_in, "task-waiting-1280-light")
    open_tasks(logged_in, site, "?state=running")
    cancel = row(logged_in, "holds both").get_by_role("button", name="Cancel task holds both")
    cancel.click()
    dialog = logged_in.get_by_role("dialog", name="Cancel task holds both?")
    dialog.get_by_role("button", name="Cancel", exact=True).click()
    expect(cancel).to_be_focused()
    cancel.click()
    dialog.get_by_role("button", name="Cancel task").click()
    expect(logged_in.get_by_role("status").filter(has_text="is asked to end")).to_be_focused()
    expect(row(logged_in, "holds both")).to_have_count(0)
    until(logged_in, site, waiting, "running")
    open_task(logged_in, site, waiting)
    expect(log(logged_in)).to_have_text("GPU-0")
    expect(why).to_be_hidden()
    logged_in.get_by_role("button", name="Cancel task waits").click()
    logged_in.get_by_role("dialog").get_by_role("button", name="Cancel task").click()
    log_ends(logged_in)
    expect(logged_in.get_by_text("This task was cancelled")).to_be_visible()
    open_tasks(logged_in, site)
    expect(row(logged_in, "holds both")).to_contain_text("cancelled")


def test_log_shows_every_line_once_when_its_connection_is_cut(page: Page, site: Served, gate: Path) -> None:
    with line_to(site.port) as line:
        through = Served(site.folder, port=line.port)
        log_in(page, through)
        each = f"echo line $i; while [ $i = 400 ] && [ ! -e {gate} ]; do sleep 0.05; done; i=$((i+1)); sleep 0.005"
        task_id = made(page, through, "long", f"i=0; while [ $i -lt 600 ]; do {each}; done")
        open_task(page, through, task_id)
        expect(log(page).get_by_text("line 40", exact=True)).to_be_visible()
        cut_thrice(page, line)
        gate.touch()
        log_ends(page)
        assert lines(page) == [f"line {number}" for number in range(600)]
        assert line.cuts >= 3


def cut_thrice(page: Page, line: Line) -> None:
    state = page.get_by_role("region", name="Log", exact=True).get_by_role("status")
    for _ in range(3):
        line.cut()
        expect(state).to_have_text("the connection is lost; it goes on where it broke")
        expect(state).to_have_text("live")


def test_log_stands_still_while_it_is_paused_and_goes_on_without_a_gap(
    logged_in: Page, site: Served, gate: Path
) -> None:
    command = f"seq 3; while [ ! -e {gate} ]; do sleep 0.05; done; seq 4 500; while [ -e {gate} ]; do sleep 0.05; done"
    task_id = made(logged_in, site, "stands still", command)
    open_task(logged_in, site, task_id)
    expect(log(logged_in).get_by_text("3", exact=True)).to_be_visible()
    logged_in.get_by_role("button", name="Pause", exact=True).click()
    expect(logged_in.get_by_role("region", name="Log", exact=True).get_by_role("status")).to_have_text("paused")
    gate.touch()
    tail = f"/{task_id}/log/tail?offset=6&wait_seconds=30"
    assert asked(logged_in, site, tail)["parts"]
    assert lines(logged_in) == ["1", "2", "3"]
    logged_in.get_by_role("button", name="Go on").click()
    expect(log(logged_in).get_by_text("500", exact=True)).to_be_in_viewport()  # it follows the end
    log(logged_in).evaluate("(node) => { node.scrollTop = 0; }")  # and while somebody reads above, it does not
    logged_in.get_by_role("button", name="To the end").click()
    expect(log(logged_in).get_by_text("500", exact=True)).to_be_in_viewport()
    expect(logged_in.get_by_role("button", name="To the end")).to_be_hidden()
    with logged_in.expect_request(lambda one: "/log/stream?offset=1892" in one.url):
        logged_in.evaluate(SEEN, arg=True)
        logged_in.evaluate(SEEN, arg=False)
    gate.unlink()
    log_ends(logged_in)
    assert lines(logged_in) == [str(number) for number in range(1, 501)]


def test_long_log_is_shown_from_its_end_and_says_so(logged_in: Page, site: Served) -> None:
    task_id = made(logged_in, site, "much", "i=0; seq 1 200000; printf 'last\\n'")
    until(logged_in, site, task_id, "completed")
    open_task(logged_in, site, task_id)
    log_ends(logged_in)
    expect(logged_in.get_by_text("The last 5000 lines are shown; the file has all that is kept.")).to_be_visible()
    found = lines(logged_in)
    assert (len(found), found[0], found[-2:]) == (5000, "195002", ["200000", "last"])


def test_part_of_a_log_that_is_not_kept_is_told_where_it_is_missing(logged_in: Page, site: Served) -> None:
    task_id = made(logged_in, site, "cut", "true")
    logged_in.route("**/log/stream*", lambda route: route.fulfill(content_type="text/event-stream", body=STREAM))
    open_task(logged_in, site, task_id)
    log_ends(logged_in)
    assert lines(logged_in, "said") == ["[3.0 KiB are not kept]"]
    assert log(logged_in).locator("div").all_text_contents() == ["[3.0 KiB are not kept]", "after it"]
    expect(logged_in.get_by_text("complete: the task has failed, exit code 1")).to_be_visible()


def test_text_from_outside_stays_text(logged_in: Page, site: Served) -> None:
    command = (
        f'echo "{HOSTILE}"; echo "{HOSTILE}" >&2; mkdir /output/x; cd /output/x; echo 1 > "<b>&amp;.txt"; ln -s / "<i>"'
    )
    task_id = made(logged_in, site, HOSTILE, command, image=f"host/{'x' * 200}", tag=HOSTILE, label=HOSTILE)
    until(logged_in, site, task_id, "completed")
    open_tasks(logged_in, site)
    expect(row(logged_in, HOSTILE)).to_contain_text("completed")
    logged_in.get_by_label("Tag").select_option(HOSTILE)
    expect(logged_in.get_by_role("region", name="Tasks", exact=True).locator("tbody tr")).to_have_count(1)
    open_task(logged_in, site, task_id)
    log_ends(logged_in)
    assert (lines(logged_in), lines(logged_in, "stderr")) == ([HOSTILE], [HOSTILE])
    files = logged_in.get_by_role("region", name="Files")
    expect(files).to_contain_text("x/<i> was not kept: a link")
    with logged_in.expect_download() as download:
        files.get_by_role("link", name="x/<b>&amp;.txt").click()
    assert download.value.path().read_text() == "1\n"
    shoot(logged_in, "task-hostile-1280-light")
    for wrong in (f"/ui/tasks/{HOSTILE.replace('/', '').replace('<', '%3C')}", "/ui/tasks/task-0"):
        logged_in.goto(f"{site.base}{wrong}")
        expect(logged_in.get_by_text("There is no task of this id that you see.")).to_be_visible()
    assert logged_in.title() == "No such task: appliance"
    assert logged_in.locator("main img").count() == 0


def test_failed_task_says_how_it_ended_and_is_tried_again_and_deleted(logged_in: Page, site: Served) -> None:
    task_id = made(logged_in, site, "fails", "echo no >&2; exit 7", attempts_max=2, backoff_seconds=0)
    until(logged_in, site, task_id, "failed")
    open_task(logged_in, site, task_id)
    expect(logged_in.get_by_role("alert").filter(has_text="This task has failed")).to_contain_text("exit code 7")
    expect(logged_in.get_by_role("region", name="Attempts").locator("tbody tr")).to_have_count(2)
    logged_in.get_by_role("button", name="Try task again: fails").click()
    said = logged_in.get_by_role("status").filter(has_text="submitted once more")
    expect(said).to_be_focused()
    expect(logged_in.get_by_role("region", name="About it")).to_contain_text("Tried by")
    said.get_by_role("link").click()
    expect(logged_in.get_by_role("region", name="About it").get_by_role("link", name=task_id)).to_be_visible()
    log_ends(logged_in)
    open_task(logged_in, site, task_id)
    logged_in.get_by_role("button", name="Delete task fails").click()
    logged_in.get_by_role("dialog", name="Delete task fails?").get_by_role("button", name="Delete").click()
    expect(logged_in).to_have_url(f"{site.base}/ui/tasks")
    assert logged_in.context.request.get(f"{site.base}/api/appliance/tasks/{task_id}").status == 404


def test_image_that_cannot_be_had_is_told_on_the_list(logged_in: Page, site: Served) -> None:
    made(logged_in, site, "imageless", "true", image="nowhere")
    open_tasks(logged_in, site, "?state=failed")
    expect(row(logged_in, "imageless")).to_contain_text("its image could not be had; there is no image nowhere")


# ---------------------------------------------------------------- the form


def test_wrong_entries_say_why_at_their_field(logged_in: Page, site: Served) -> None:
    dialog = open_form(logged_in, site)
    opener = logged_in.get_by_role("button", name="Submit a task")
    go = dialog.get_by_role("button", name="Submit")
    told = dialog.get_by_role("alert").filter(has_text=re.compile("."))
    fill(dialog, CPU_cores="many", Variables="A=1\nnonsense", Priority="101", Tries_in_all="1.5")
    dialog.locator("details").evaluate_all("(parts) => parts.forEach((part) => { part.open = false; })")
    go.click()
    expect(dialog.get_by_label("Image")).to_be_focused()
    expect(told).to_have_text(
        [
            "Enter an image.",
            "Enter a number of cores from 0.001 to 100000.",
            "Line 2 is not NAME=value.",
            "Enter a whole number from 0 to 100.",
        ]
    )
    expect(dialog.get_by_label("Variables")).to_be_visible()  # its part was closed
    shoot(logged_in, "tasks-refused-1280-light")
    fill(dialog, Image="no such\timage", CPU_cores="0.5", Variables="A=1", Priority="50", Tries_in_all="1")
    go.click()
    expect(dialog.get_by_label("Image")).to_be_focused()
    expect(told).to_have_count(1)
    fill(dialog, Image="host", When="cron", Cron_expression="61 * * * *")
    go.click()
    expect(dialog.get_by_label("Cron expression")).to_be_focused()
    expect(told).to_contain_text("61")
    logged_in.keyboard.press("Escape")
    expect(opener).to_be_focused()


def test_files_and_variables_reach_the_task_before_it_starts(logged_in: Page, site: Served) -> None:
    dialog = open_form(logged_in, site)
    fill(dialog, Image="host", Name="given", Command='cat "/input/ä b.txt" /input/c; echo $WHO', Engine="plain")
    fill(dialog, CPU_cores="0.1", Memory_in_GiB="0.1", Storage_in_GiB="0.1", Variables="WHO=a=b c\n")
    dialog.get_by_label("Input files").set_input_files([file("ä b.txt", b"one\n"), file("c", b"two\n")])
    dialog.get_by_role("button", name="Submit").click()
    logged_in.get_by_role("status").filter(has_text="Submitted").get_by_role("link").click()
    log_ends(logged_in)
    assert lines(logged_in) == ["one", "two", "a=b c"]
    expect(logged_in.get_by_role("region", name="Files")).to_contain_text(
        re.compile("It was given.*ä b.txt", re.DOTALL)
    )
    about = logged_in.get_by_role("region", name="About it")
    expect(about).to_contain_text("WHO")
    expect(about).not_to_contain_text("a=b c")


def test_task_whose_upload_fails_is_cancelled_and_the_form_says_why(logged_in: Page, site: Served) -> None:
    logged_in.route(
        "**/inputs/*",
        lambda route: route.fulfill(status=413, json={"error": "the inputs are too large", "hint": "less"}),
    )
    dialog = open_form(logged_in, site)
    fill(dialog, Image="host", Name="too much", Command="true", CPU_cores="0.1")
    dialog.get_by_label("Input files").set_input_files([file("c", b"two\n")])
    dialog.get_by_role("button", name="Submit").click()
    expect(dialog.get_by_role("alert").filter(has_text="the inputs are too large")).to_be_visible()
    logged_in.keyboard.press("Escape")
    expect(row(logged_in, "too much")).to_contain_text("cancelled")


def test_held_task_is_released_by_its_page(logged_in: Page, site: Served) -> None:
    task_id = made(logged_in, site, "held", "echo free", hold=True)
    open_task(logged_in, site, task_id)
    expect(logged_in.get_by_role("region", name="Why it waits")).to_contain_text("waits to be released")
    logged_in.get_by_role("button", name="Release task held").click()
    log_ends(logged_in)
    assert lines(logged_in) == ["free"]


def test_array_is_submitted_at_once_and_its_tasks_link_to_the_first(logged_in: Page, site: Served) -> None:
    dialog = open_form(logged_in, site)
    fill(dialog, Image="host", Name="many", Command="echo $APPLIANCE_ARRAY_INDEX", Engine="plain", CPU_cores="0.01")
    fill(dialog, Memory_in_GiB="0.01", Storage_in_GiB="0.01", How_many_of_it="3", Of_these_at_once="1")
    dialog.get_by_role("button", name="Submit").click()
    said = logged_in.get_by_role("status").filter(has_text="3 tasks submitted")
    expect(said).to_be_focused()
    first = (said.get_by_role("link").get_attribute("href") or "").rsplit("/", 1)[1]
    expect(row(logged_in, "many").filter(has_text="completed")).to_have_count(3, timeout=SLOW_MS)
    row(logged_in, "many").first.get_by_role("link").click()
    expect(logged_in.get_by_role("region", name="About it").get_by_role("link", name=first)).to_be_visible()
    log_ends(logged_in)
    assert lines(logged_in) == ["2"]


def test_schedule_is_made_paused_and_deleted(logged_in: Page, site: Served) -> None:
    dialog = open_form(logged_in, site)
    fill(
        dialog,
        Image="host",
        Name="nightly",
        Command="true",
        When="cron",
        Cron_expression="30 2 * * 1-5",
        Time_zone="UTC",
    )
    expect(dialog.get_by_label("Input files")).to_be_hidden()
    dialog.get_by_role("button", name="Submit").click()
    expect(logged_in.get_by_role("status").filter(has_text="Schedule nightly is made.")).to_be_focused()
    card = logged_in.get_by_role("region", name="Schedules")
    expect(card.locator("tbody tr")).to_contain_text(
        re.compile(r"nightly.*30 2 \* \* 1-5.*UTC.*2:30.*never", re.DOTALL)
    )
    shoot(logged_in, "tasks-schedule-1280-light")
    card.get_by_role("button", name="Pause schedule nightly").click()
    expect(card.locator("tbody tr")).to_contain_text("paused")
    card.get_by_role("button", name="Go on with schedule nightly").click()
    expect(card.get_by_role("button", name="Pause schedule nightly")).to_be_visible()
    card.get_by_role("button", name="Delete schedule nightly").click()
    logged_in.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(card).to_contain_text("Nothing comes again by the clock.")


# ---------------------------------------------------------------- the list


def test_list_is_filtered_by_state_owner_and_tag_and_keeps_that_in_its_address(
    logged_in: Page, site: Served, seen_by: SeenBy
) -> None:
    uwe = seen_by(logged_in, "uwe", "user")
    log_in_done = f"{site.base}/ui/tasks"
    uwe.goto(log_in_done)
    theirs = made(uwe, site, "uwes", "true", tag="odd")
    until(uwe, site, theirs, "completed")
    ours = made(logged_in, site, "anas", "true", tag="odd")
    until(logged_in, site, ours, "completed")
    made(logged_in, site, "bare", "true")
    open_tasks(logged_in, site)
    expect(row(logged_in, "uwes")).to_contain_text("uwe")
    logged_in.get_by_label("Tag").select_option("odd")
    expect(row(logged_in, "bare")).to_have_count(0)
    logged_in.get_by_label("Owner").select_option("uwe")
    expect(row(logged_in, "anas")).to_have_count(0)
    expect(row(logged_in, "uwes")).to_be_visible()
    logged_in.get_by_label("State").select_option("failed")
    expect(logged_in.get_by_text("No such task here.")).to_be_visible()
    assert logged_in.url.endswith("/ui/tasks?state=failed&owner=uwe&tag=odd")
    logged_in.reload()
    expect(logged_in.get_by_label("Owner")).to_have_value("uwe")
    expect(logged_in.get_by_label("State").locator("option:checked")).to_have_text(re.compile(r"failed \(\d+\)"))
    # A person sees their own alone, and no choice of owners.
    uwe.goto(log_in_done)
    expect(row(uwe, "uwes")).to_be_visible()
    expect(row(uwe, "anas")).to_have_count(0)
    expect(uwe.get_by_label("Owner")).to_be_hidden()
    uwe.goto(f"{site.base}/ui/tasks/{ours}")
    expect(uwe.get_by_text("There is no task of this id that you see.")).to_be_visible()


def test_operator_sees_others_tasks_without_their_commands_and_files(
    logged_in: Page, site: Served, seen_by: SeenBy
) -> None:
    task_id = made(logged_in, site, "secret", "echo 1 > /output/x; echo shown", environment={"KEY": "hidden"})
    until(logged_in, site, task_id, "completed")
    olga = seen_by(logged_in, "olga", "operator")
    open_task(olga, site, task_id)
    expect(olga.get_by_role("region", name="About it")).to_contain_text("shown to its owner")
    expect(olga.get_by_role("region", name="About it")).not_to_contain_text("KEY")
    expect(olga.get_by_role("region", name="Files")).to_contain_text("for its owner")


def test_viewer_is_offered_nothing_that_would_be_refused(logged_in: Page, site: Served, seen_by: SeenBy) -> None:
    page = seen_by(logged_in, "vera", "viewer")
    open_tasks(page, site)
    expect(page.get_by_text("No tasks of yours. Your role, viewer, only reads.")).to_be_visible()
    expect(page.locator("main").get_by_role("button")).to_have_count(0)


def test_card_on_the_overview_tells_what_runs_and_leads_to_gpus(logged_in: Page, site: Served) -> None:
    task_id = made(logged_in, site, "carded", "sleep 3600", milli_gpu=500)
    until(logged_in, site, task_id, "running")
    logged_in.goto(site.base)
    card = logged_in.get_by_role("article", name="Tasks")
    expect(card).to_contain_text(re.compile(r"Running\d.*GPUs in use0\.5 of 3", re.DOTALL), timeout=SLOW_MS)
    sent(logged_in, site, f"/{task_id}/cancel", {})


def test_engines_say_which_one_is_chosen_and_how_to_get_the_others(logged_in: Page, site: Served) -> None:
    open_tasks(logged_in, site)
    card = logged_in.get_by_role("region", name="Engines and hosts")
    names = [one["name"] for one in asked(logged_in, site, "/overview")["engines"]]
    assert "plain" in names
    expect(card.get_by_role("listitem").filter(has=logged_in.get_by_text("plain", exact=True)).first).to_be_visible()
    expect(card.get_by_text("chosen", exact=True)).to_have_count(1)
    expect(card.locator("tbody tr").filter(has_text="GPU-1")).to_contain_text("divided")


def test_link_and_page_are_gone_while_the_plugin_is_off(page: Page, fresh: Served) -> None:
    fresh.set_up()
    log_in(page, fresh)
    fresh.stop()
    fresh.config += OFF
    fresh.start()
    page.goto(fresh.base)
    expect(page.get_by_role("navigation", name="Main").get_by_role("link", name="Tasks")).to_be_hidden()
    page.goto(f"{fresh.base}/ui/tasks")
    expect(page.get_by_text("The plugin task_scheduler, which takes tasks, is not running")).to_be_visible()
    page.goto(f"{fresh.base}/ui/tasks/task-1")
    expect(page.get_by_text("The plugin task_scheduler, which takes tasks, is not running")).to_be_visible()


def many(route: Route) -> None:
    """Answer with tasks of every state, hostile and long words, made from a real one."""
    answer = route.fetch()
    said = answer.json()
    real = said["items"][0]
    long = {"name": "n" * 200, "image": "i" * 400, "owner": "o" * 200, "tag": "t" * 200}
    bound = {"milli_gpu": 2500, "gpu_ids": [f"GPU-{number}" for number in range(8)], "attempt_count": 1}
    states = ["starting", "running", "stopping", "completed", "failed", "cancelled"]
    said["items"] = [
        *(real | {"id": f"one-{each}", "name": each, "state": each, **bound} for each in states),
        real | {"id": "long", "state": "failed", "reason": "oom", "exit_code": 137, "message": "m" * 300, **long},
        real | {"id": "hostile", "name": HOSTILE, "tag": HOSTILE, "owner": HOSTILE, "state": "cancelled"},
        *(real | {"id": f"task-{number}", "state": "pending", "milli_gpu": 1000} for number in range(30)),
    ]
    route.fulfill(response=answer, body=json.dumps(said))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, pytest.param(390, marks=pytest.mark.long), 360])
def test_pages_fit_their_screen_with_readable_text(browser: Browser, site: Served, scheme: str, width: int) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page = context.new_page()
    watched = Watched(page)
    log_in(page, site)
    task_id = made(page, site, "looked at", "seq 40; seq 10 >&2; echo 1 > /output/file", milli_gpu=500, label="x")
    until(page, site, task_id, "completed")
    page.route(re.compile(r"/api/appliance/tasks\?"), many)
    for opened in ("many", "form", "task"):
        if opened == "task":
            open_task(page, site, task_id)
            log_ends(page)
        else:
            open_tasks(page, site)
            expect(row(page, "starting")).to_be_visible()
            expect(page.get_by_role("button", name=re.compile("^Why does task")).first).to_be_visible()
        if opened == "form":
            page.get_by_role("button", name="Submit a task").click()
            for summary in page.get_by_role("dialog").locator("summary").all():
                summary.click()
        shoot(page, f"tasks-{opened}-{width}-{scheme}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, opened
        navigation = page.get_by_role("navigation", name="Main")
        assert navigation.evaluate("(one) => one.scrollWidth <= one.clientWidth")
        looked = page.evaluate(CONTRAST)
        assert looked["count"] > 30
        assert looked["poor"] == []
        assert page.evaluate(UNNAMED) == []
    assert [url for url in watched.requests if not url.startswith((f"{site.base}/", "data:"))] == []
    assert watched.problems == []
    context.close()
    assert ARTIFACTS.exists()


def test_why_of_a_task_further_down_is_told_to_whoever_asks(logged_in: Page, site: Served) -> None:
    held = [made(logged_in, site, f"down {number}", "true", hold=True) for number in range(20)]
    open_tasks(logged_in, site)
    expect(row(logged_in, "down 0")).to_contain_text("waits to be released")
    button = row(logged_in, "down 19").get_by_role("button", name="Why does task down 19 wait?")
    button.focus()
    expect(row(logged_in, "down 19")).to_contain_text("waits to be released")
    for task_id in held:
        sent(logged_in, site, f"/{task_id}/cancel", {})


# ---------------------------------------------------------------- words


def told(page: Page, module: str, function: str, *arguments: Any) -> Any:
    code = f"async (given) => (await import('/ui/static/{module}.js')).{function}(...given)"
    return page.evaluate(code, list(arguments))


def test_words_for_states_ends_gpus_and_amounts(page: Page, site: Served) -> None:
    page.goto(f"{site.base}/setup")

    def said(function: str, *given: Any) -> Any:
        return told(page, "task_words", function, *given)

    assert said("stateOf", {"state": "pending", "is_held": True}) == ["", "held"]
    assert said("stateOf", {"state": "unheard of"}) == ["", "unheard of"]
    failed = {"reason": "exit", "exit_code": 3, "message": "exit code 3"}
    assert said("endWords", failed) == "exit code 3"
    assert said("endWords", {"reason": "exit", "exit_code": 0, "message": ""}) == ""
    assert said("endWords", {"reason": None, "exit_code": None, "message": "x"}) == ""
    killed = {"reason": "oom", "exit_code": 137, "message": ""}
    assert said("endWords", killed) == "it ran out of memory; exit code 137"
    assert [said("outcome", state) for state in ("failed", "cancelled")] == ["has failed", "was cancelled"]
    wish = {"milli_gpu": 2500, "gpu_models": ["H200", "A100"], "gpu_vram_mib": 81920, "mig_profile": ""}
    assert said("gpuWish", wish) == "2.5 GPUs H200 or A100 with 80.0 GiB"
    assert said(
        "gpuWish", wish | {"milli_gpu": 1000, "gpu_models": [], "gpu_vram_mib": 0, "mig_profile": "1g.10gb"}
    ) == ("1 instance of 1g.10gb")
    assert said("gpuWish", {"milli_gpu": 0}) == ""
    assert said("cores", 1000) == "1 core"
    assert said("cores", 250) == "0.25 cores"
    assert said("took", 0.4) == "less than 1 s"
    assert said("amount", "0.5", 1000, 1, 10**9) == 500
    assert said("amount", "0,5", 1000, 1, 10**9) == 500
    assert said("amount", " ", 1000, 1, 10**9) is None
    for wrong in ("-1", "1e3", "nan", "0.0001", "9" * 13, "1.5.2", "0x10", "Infinity"):
        assert page.evaluate(
            "async (words) => Number.isNaN((await import('/ui/static/task_words.js')).amount(words, 1000, 1, 1e9))",
            wrong,
        ), wrong
    assert said("environment", "A=1\n\nB=x=y \r\n") == {"A": "1", "B": "x=y "}
    assert said("listed", " a,b  c\n") == ["a", "b", "c"]
    assert said("filePath", "task-1", "a b/ü?#%.txt") == "/api/appliance/tasks/task-1/files/a%20b/%C3%BC%3F%23%25.txt"
    assert told(page, "task_engines", "gpuState", {"blocked": "cordoned"}) == ["warning", "blocked", "cordoned"]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("plain\n", "plain"),
        ("10 %\r20 %\r100 %\r\n", "100 %"),
        ("50 %\r", "50 %"),
        ("\x1b[1;31mred\x1b[0m \x1b]0;title\x07text\n", "red text"),
        ("bell\x07 null\x00 tab\t.\n", "bell null tab\t."),
        ("<b>&amp;\n", "<b>&amp;"),
    ],
)
def test_line_is_shown_as_a_terminal_shows_it(page: Page, site: Served, written: str, shown: str) -> None:
    page.goto(f"{site.base}/setup")
    assert told(page, "task_log", "shownLine", written) == shown


LINES = """async (parts) => {
  const { LogLines } = await import('/ui/static/task_log.js');
  const lines = new LogLines();
  for (const [stream, words] of parts) lines.add(stream, words);
  lines.trim();
  return [...lines.root.children].map((node) => [node.className, node.textContent]);
}"""


def test_lines_of_two_streams_are_kept_apart_however_they_are_cut(page: Page, site: Served) -> None:
    page.goto(f"{site.base}/setup")
    parts = [
        ["stdout", "a"],
        ["stderr", "x\ny"],
        ["stdout", "b\nc\n"],
        ["stdout", "1\r"],
        ["stderr", "z\n"],
        ["stdout", "2\r\n"],
    ]
    assert page.evaluate(LINES, parts) == [
        ["stdout", "ab"],
        ["stderr", "x"],
        ["stderr", "yz"],
        ["stdout", "c"],
        ["stdout", "2"],
    ]
    assert len(page.evaluate(LINES, [["stdout", "n\n" * 6000]])) == 5000
    long = page.evaluate(LINES, [["stdout", "x" * 20_000], ["stdout", "y" * 20_000]])
    assert [len(words) for _, words in long] == [20_000, 20_000]
