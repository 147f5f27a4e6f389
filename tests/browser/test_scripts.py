"""The scripts' own rules, asked in the browser that runs them."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.served import Served


@pytest.fixture(scope="module")
def scripts(browser: Browser, site: Served) -> Iterator[Page]:
    """A page of ours from which modules can be imported; it stays where it is."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{site.base}/setup")
    yield page
    context.close()


def told(page: Page, module: str, function: str, *arguments: Any) -> Any:
    code = f"async (given) => (await import('/ui/static/{module}.js')).{function}(...given)"
    return page.evaluate(code, list(arguments))


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        ("bytes", 0, "0 B"),
        ("bytes", 999, "999 B"),
        ("bytes", 1000, "1.0 KiB"),
        ("bytes", 150_754_820_096, "140 GiB"),
        ("bytes", 2**63, "8.0 EiB"),
        ("bytes", None, "n/a"),
        ("bytes", "12", "n/a"),
        ("rate", 1536, "1.5 KiB/s"),
        ("percent", 0, "0 %"),
        ("percent", 0.3, "0.3 %"),
        ("percent", 9.96, "10 %"),
        ("percent", 100, "100 %"),
        ("percent", None, "n/a"),
        ("watts", 71.6, "72 W"),
        ("watts", 7.04, "7.0 W"),
        ("celsius", None, "n/a"),
        ("span", 59, "59 s"),
        ("span", 3725, "1 h 2 min"),
        ("span", 200_000, "2 d 7 h"),
        ("dateTime", None, "never"),
    ],
)
def test_figures_read_as_people_write_them(scripts: Page, function: str, value: Any, text: str) -> None:
    assert told(scripts, "format", function, value) == text


def test_used_and_total_share_one_unit(scripts: Page) -> None:
    gib = 2**30
    assert told(scripts, "format", "bytesOf", 31.2 * gib, 141 * gib) == {
        "used": "31.2 GiB",
        "of": "of 141 GiB",
        "both": "31.2 of 141 GiB",
    }
    assert told(scripts, "format", "bytesOf", None, 141 * gib)["used"] == "n/a"
    assert told(scripts, "format", "bytesOf", 5 * gib, None) == {"used": "5.0 GiB", "of": "", "both": "5.0 GiB"}


def test_share_of_nothing_is_unknown_and_never_infinite(scripts: Page) -> None:
    assert told(scripts, "format", "share", 1, 0) is None
    assert told(scripts, "format", "share", None, 5) is None
    assert told(scripts, "format", "share", 1, 4) == 25


@pytest.mark.parametrize(
    ("wanted", "leads"),
    [
        ("/ui/events?x=1", "/ui/events?x=1"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("/login?next=/login", "/"),
        ("/../..//evil.example", "/"),
        ("", "/"),
        (None, "/"),
    ],
)
def test_return_address_stays_with_us(scripts: Page, wanted: str | None, leads: str) -> None:
    assert told(scripts, "api", "safeNext", wanted) == leads


def test_strength_grows_with_length_and_not_with_tricks(scripts: Page) -> None:
    def score(value: str, name: str = "") -> int:
        return int(told(scripts, "forms", "strength", value, name))

    assert score("aaaaaaaaaaaaaaaa") == 0
    assert score("password1234") == 0
    assert score("anna-marie-anna-marie", "anna-marie") == 0
    assert score("tr0ub4dor&3") in {2, 3}
    assert score("correct horse battery staple") == 4


def test_young_history_fills_its_chart_and_old_history_keeps_the_span(scripts: Page) -> None:
    assert told(scripts, "history", "windowOf", 10_000, 900, 9_500) == [9_500, 10_000]
    assert told(scripts, "history", "windowOf", 10_000, 900, 9_990) == [9_880, 10_000]
    assert told(scripts, "history", "windowOf", 10_000, 900, 5) == [9_100, 10_000]


CHART = """async (steps) => {
  const { Chart } = await import('/ui/static/chart.js');
  const chart = new Chart('Test', 'percent', [{ label: 'one', colour: 'c1' }]);
  document.body.append(chart.root);
  chart.setData([10, 12, 14, 30], [{ mean: [1, 2, 3, 4], min: [1, 1, 1, 1], max: [1, 9, 3, 4] }], 2, [0, 60]);
  chart.push(32, [null], [0, 60]);
  chart.push(31, [50], [0, 60]);
  chart.push(34, [6], [0, 60]);
  return { x: chart.x, mean: chart.columns[0].mean, max: chart.columns[0].max, label: chart.plot.ariaLabel };
}"""


def test_chart_breaks_its_line_where_nothing_was_read_and_names_its_peak(logged_in: Page) -> None:
    drawn = logged_in.evaluate(CHART)
    assert drawn["x"] == [10, 12, 14, 22, 30, 32, 34]
    assert drawn["mean"] == [1, 2, 3, None, 4, None, 6]
    assert drawn["max"] == [1, 9, 3, None, 4, None, 6]
    assert drawn["label"] == "Test: one peak 9.0 %"
