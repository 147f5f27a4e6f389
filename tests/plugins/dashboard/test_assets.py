"""The files of the pages: what is sent, how long it is kept, and how much it is in all."""

import gzip
import re
from pathlib import Path

import pytest

from appliance.errors import PathNotFound
from plugins.dashboard.assets import PREFIX, STATIC, read_assets
from plugins.dashboard.pages import PAGES, source

BUDGET_BYTES = 170_000


def test_everything_a_browser_can_load_is_under_170_kb_gzipped() -> None:
    parts = [asset.body for asset in read_assets().files.values()] + [source(name) for name in PAGES]
    # Level 1 is what the edge sends with; higher levels only shrink it.
    packed = sum(len(gzip.compress(part, compresslevel=1)) for part in parts)
    assert packed < BUDGET_BYTES


def test_file_under_its_edition_is_kept_for_ever() -> None:
    assets = read_assets()
    answer = assets.answer(f"{assets.edition}/app.css", None)
    assert answer.model == (STATIC / "app.css").read_bytes()
    assert answer.content_type == "text/css; charset=utf-8"
    assert dict(answer.headers)["Cache-Control"] == "public, max-age=31536000, immutable"


def test_file_without_edition_is_asked_for_again_and_answered_304_when_unchanged() -> None:
    first = read_assets().answer("vendor/uPlot.min.css", None)
    headers = dict(first.headers)
    assert headers["Cache-Control"] == "no-cache"
    again = read_assets().answer("vendor/uPlot.min.css", f'"other", {headers["ETag"]}')
    assert (again.status, again.model) == (304, None)
    assert read_assets().answer("vendor/uPlot.min.css", '"other"').status is None


@pytest.mark.parametrize(
    "path",
    ["", "/", "..", "../routes.py", "e0000/app.css", "app.css/", "vendor", "vendor/uPlot.LICENSE", "no.js", "\0"],
)
def test_anything_else_is_not_found(path: str) -> None:
    with pytest.raises(PathNotFound):
        read_assets().answer(path, None)


def test_old_edition_is_not_found_rather_than_mixed_with_the_new(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("1")
    one = read_assets(tmp_path)
    read_assets.cache_clear()
    (tmp_path / "a.js").write_text("2")
    two = read_assets(tmp_path)
    assert one.edition != two.edition
    with pytest.raises(PathNotFound):
        two.answer(f"{one.edition}/a.js", None)


def test_scripts_load_nothing_but_files_beside_them() -> None:
    files = read_assets().files
    for name, asset in files.items():
        if not name.endswith(".js") or name.startswith("vendor/"):
            continue
        for wanted in re.findall(r'^import .*?from "([^"]+)"', asset.body.decode(), re.MULTILINE):
            assert wanted.startswith("./"), f"{name} loads {wanted}"
            assert wanted.removeprefix("./") in files, f"{name} loads {wanted}, which is not there"


def test_scripts_never_turn_text_into_markup() -> None:
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc"
    )
    for name, asset in read_assets().files.items():
        if name.endswith(".js") and not name.startswith("vendor/"):
            assert not forbidden.search(asset.body.decode()), name


def test_vendored_files_have_version_and_licence_noted() -> None:
    noted = (STATIC / "vendor" / "README.md").read_text()
    for path in (STATIC / "vendor").iterdir():
        assert path.name in noted or path.name == "README.md"
    assert "1.6.32" in noted
    assert "v1.6.32" in (STATIC / "vendor" / "uPlot.iife.min.js").read_text()[:400]
    assert "MIT" in (STATIC / "vendor" / "uPlot.LICENSE").read_text()


def test_links_of_pages_lead_to_files_that_are_there() -> None:
    assets = read_assets()
    for page in PAGES:
        wanted = re.findall(rf'"{PREFIX}{assets.edition}/([^"]+)"', source(page).decode())
        assert wanted
        assert all(name in assets.files for name in wanted), page
