"""Pages for browsers, JSON for programs."""

import pytest

from appliance.http.accept import prefers_html

CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    "accept",
    [
        CHROMIUM,
        "text/html",
        "TEXT/HTML; charset=utf-8",
        "text/html;q=0.9, application/json;q=0.8",
        "text/html, application/json",
        "application/json;q=nan, text/html;q=0.1",
        "application/xhtml+xml",
    ],
)
def test_page_is_preferred_where_html_is_named_and_no_less_wanted(accept: str) -> None:
    assert prefers_html(accept)


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "",
        "*/*",
        "application/json",
        "application/json, text/html;q=0.5",
        "text/html;q=0",
        "text/html;q=-1",
        "text/html;q=2",
        "text/html;q=inf",
        "text/html;q=x",
        "text/htmlx",
        "," * 10_000 + "text/html",
    ],
)
def test_json_is_preferred_otherwise(accept: str | None) -> None:
    assert not prefers_html(accept)
