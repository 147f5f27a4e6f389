"""What happened, as it happens; and which plugin does not run, and why."""

from playwright.sync_api import Page, expect

from tests.browser.conftest import shoot
from tests.browser.served import Served

HOSTILE = "<script>document.title='broken-into'</script>"


def test_event_appears_on_its_page_and_on_the_overview_without_a_reload(logged_in: Page, site: Served) -> None:
    logged_in.goto(f"{site.base}/ui/events")
    expect(logged_in.get_by_text("live", exact=True)).to_be_visible()
    rows = logged_in.get_by_role("listitem").filter(has_text="XID 79")
    before = rows.count()
    (site.plugins / "xid").touch()
    expect(rows).to_have_count(before + 1)
    expect(rows.first).to_contain_text(HOSTILE)
    expect(rows.first.get_by_role("img", name="critical")).to_be_visible()
    logged_in.get_by_role("radio", name="Critical").check()
    expect(rows.first).to_be_visible()
    shoot(logged_in, "events-live-1280-light")
    logged_in.goto(site.base)
    expect(logged_in.get_by_role("article", name="Recent events")).to_contain_text("XID 79")
    assert "broken-into" not in logged_in.title()


def test_failed_plugin_is_named_with_its_reason_and_the_rest_goes_on(logged_in: Page, site: Served) -> None:
    reason = "the licence server is <b>away</b>"
    expect(logged_in.get_by_role("status").filter(has_text="Plugin unwell has failed")).to_contain_text(reason)
    expect(logged_in.get_by_role("article", name="GPU 0, Scripted H200")).to_be_visible()
    logged_in.goto(f"{site.base}/ui/plugins")
    card = logged_in.get_by_role("article", name="unwell")
    expect(card).to_contain_text("failed")
    expect(card).to_contain_text(reason)
    expect(logged_in.get_by_role("article", name="dashboard")).to_contain_text("running")
    shoot(logged_in, "plugins-failed-1280-light")
