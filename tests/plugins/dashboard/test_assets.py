"""The files of the pages: what is sent, how long it is kept, and how much it is in all."""

import gzip
import re
from hashlib import sha256
from pathlib import Path

import pytest

from appliance.errors import PathNotFound
from plugins.dashboard.assets import PREFIX, STATIC, TYPES, read_assets
from plugins.dashboard.pages import PAGES, source

OURS_BYTES = 220_000
PAGE_BYTES = 75_000
TERMINAL_BYTES = 125_000
"""Of the one page that has a terminal emulator, which is more than all other vendored files together."""
HASH = re.compile(r"^\| `(?P<name>[^`]+)` .*`(?P<sha256>[0-9a-f]{64})` \|$", re.MULTILINE)


def packed(body: bytes) -> int:
    """Return how many bytes are sent: with level 1, as the edge does; higher levels only shrink it."""
    return len(gzip.compress(body, compresslevel=1))


def loaded(page: str) -> set[str]:
    """Return every file that a page loads, with what its scripts load."""
    assets = read_assets()
    todo = re.findall(rf'"{PREFIX}{assets.edition}/([^"]+)"', source(page).decode())
    found: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            if name.endswith(".js") and not name.startswith("vendor/"):
                todo += re.findall(r'from "\./([^"]+)"', assets.files[name].body.decode())
    return found


def test_everything_but_the_terminal_emulator_is_under_220_kb_gzipped() -> None:
    parts = [asset.body for name, asset in read_assets().files.items() if not name.startswith("vendor/xterm")]
    assert sum(map(packed, [*parts, *map(source, PAGES)])) < OURS_BYTES


@pytest.mark.parametrize("page", PAGES)
def test_page_loads_little_and_no_page_but_the_terminal_the_emulator(page: str) -> None:
    files = loaded(page)
    has_terminal = any(name.startswith("vendor/xterm") for name in files)
    assert has_terminal == (page == "swarm_terminal")
    sent = packed(source(page)) + sum(packed(read_assets().files[name].body) for name in files)
    assert sent < (TERMINAL_BYTES if has_terminal else PAGE_BYTES)


def test_every_script_is_loaded_by_a_page() -> None:
    needed = set().union(*map(loaded, PAGES))
    assert {name for name in read_assets().files if name.endswith((".js", ".css"))} <= needed


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
    assert "Permission is hereby granted, free of charge" in (STATIC / "vendor" / "xterm.LICENSE").read_text()


def test_vendored_files_are_those_that_were_published() -> None:
    noted = {found["name"]: found["sha256"] for found in HASH.finditer((STATIC / "vendor" / "README.md").read_text())}
    there = {path.name: path for path in (STATIC / "vendor").iterdir() if path.suffix in TYPES}
    assert noted == {name: sha256(path.read_bytes()).hexdigest() for name, path in there.items()}


def test_links_of_pages_lead_to_files_that_are_there() -> None:
    assets = read_assets()
    for page in PAGES:
        wanted = re.findall(rf'"{PREFIX}{assets.edition}/([^"]+)"', source(page).decode())
        assert wanted
        assert all(name in assets.files for name in wanted), page
