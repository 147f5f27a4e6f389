"""Paths from outside: refused unless they stay below their folder, and no link is followed."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import BadInput, NotFound
from appliance.taskfiles.paths import checked_path, create, regular

ESCAPES = [
    "",
    "/etc/passwd",
    "..",
    "../x",
    "a/../../x",
    "a/..",
    ".",
    "./x",
    "a//b",
    "a/",
    "a\0b",
    "a\nb",
    "\ud800",
    "x" * 256,
    "/".join("abc" for _ in range(33)),
    "/".join("x" * 200 for _ in range(6)),
]


@pytest.mark.parametrize("path", ESCAPES)
def test_path_that_may_leave_its_folder_or_break_a_reader_is_refused(path: str) -> None:
    with pytest.raises(BadInput, match="the path"):
        checked_path(path)


@pytest.mark.parametrize("path", ["out.txt", "results/out.txt", "..a/b..", "Größe %2e%2e.txt", "a\\..\\b", "-rf"])
def test_odd_names_that_stay_below_are_taken(path: str) -> None:
    assert "/".join(checked_path(path)) == path


@given(st.text(max_size=60))
def test_what_is_taken_is_always_below_the_folder(path: str) -> None:
    try:
        parts = checked_path(path)
    except BadInput:
        return
    assert os.path.normpath(os.path.join("/folder", *parts)).startswith("/folder/")


def test_file_is_made_with_its_folders_and_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        os.close(create(tmp_path, ("a", "b", "file"), 0o644))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "a/b/file").stat().st_mode) == 0o644


def test_link_on_the_way_is_followed_neither_for_writing_nor_for_reading(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(outside)
    (folder / "direct").symlink_to(outside / "secret")
    with pytest.raises(NotADirectoryError):
        create(folder, ("link", "new"), 0o600)
    with pytest.raises(FileExistsError):
        create(folder, ("direct",), 0o600)
    for parts in (("link", "secret"), ("direct",), ("link",)):
        with pytest.raises(NotFound):
            regular(folder, parts)
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]


def test_what_is_no_regular_file_is_not_found(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    for name in ("fifo", "folder", "absent"):
        with pytest.raises(NotFound):
            regular(tmp_path, (name,))


def test_descriptors_do_not_leak(tmp_path: Path) -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = count()
    os.close(create(tmp_path, ("a", "b", "c"), 0o600))
    for _ in range(10):
        with pytest.raises(FileExistsError):
            create(tmp_path, ("a", "b", "c"), 0o600)
        with pytest.raises(NotFound):
            regular(tmp_path, ("a", "x", "c"))
        regular(tmp_path, ("a", "b", "c"))
    assert count() == before
