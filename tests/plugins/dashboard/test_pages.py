"""The pages hold no data and let nothing in from elsewhere."""

import re

import pytest

from plugins.dashboard.assets import read_assets
from plugins.dashboard.pages import HEADERS, PAGES, page

NAMES = sorted(PAGES)


def test_policy_allows_our_own_files_and_nothing_inline() -> None:
    policy = dict(part.split(" ", 1) for part in dict(HEADERS)["Content-Security-Policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }


@pytest.mark.parametrize("name", NAMES)
def test_page_is_html_that_no_cache_keeps(name: str) -> None:
    answer = page(name)
    headers = dict(answer.headers)
    assert answer.content_type == "text/html; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Vary"] == "Accept"
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("name", NAMES)
def test_page_has_no_inline_script_or_style_and_no_foreign_address(name: str) -> None:
    html = page(name).model.decode()
    assert "<style" not in html
    assert not re.search(r"\sstyle=|\son\w+=|javascript:|https?://|//\w", html)
    for script in re.findall(r"<script([^>]*)>(.*?)</script>", html, re.DOTALL):
        assert "src=" in script[0]
        assert script[1] == ""


@pytest.mark.parametrize("name", NAMES)
def test_page_names_its_language_title_and_main_part(name: str) -> None:
    html = page(name).model.decode()
    assert '<html lang="en">' in html
    assert re.search(r"<title>[^<]+: appliance</title>", html)
    assert 'id="main"' in html
    assert "<noscript>" in html


@pytest.mark.parametrize("name", NAMES)
def test_page_asks_for_this_edition_of_its_files(name: str) -> None:
    html = page(name).model.decode()
    links = re.findall(r'(?:src|href)="(/ui/static/[^"]+)"', html)
    assert links
    assert all(link.startswith(f"/ui/static/{read_assets().edition}/") for link in links)


@pytest.mark.parametrize("name", NAMES)
def test_page_loads_vendored_scripts_before_its_own_and_only_where_they_are_needed(name: str) -> None:
    html = page(name).model.decode()
    loaded = re.findall(r"<script (defer|type=.module.) src=\"/ui/static/[^/]+/([^\"]+)\"></script>", html)
    charts = [("defer", "vendor/uPlot.iife.min.js")] if name in {"overview", "server", "machine"} else []
    emulator = [("defer", "vendor/xterm.js"), ("defer", "vendor/xterm-addon-fit.js")]
    terminal = emulator if name == "swarm_terminal" else []
    assert loaded == [*charts, *terminal, ('type="module"', f"{PAGES[name].script}.js")]
