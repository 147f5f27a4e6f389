"""Archives from anybody's hands: what is unpacked, and that nothing is outside."""

import gzip
import io
import os
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import BadInput
from plugins.engine_sandbox.extracting import FOLDERS, Caps, Extracted, extract

CAPS = Caps(bytes_max=1 << 20, entries_max=100)


def archive(*entries: tuple[str, Any]) -> bytes:
    """Return an archive of (name, what): bytes for a file, None for a folder, ("sym"|"hard", target), or a type."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as out:
        for name, what in entries:
            entry = tarfile.TarInfo(name)
            content = b""
            if isinstance(what, bytes):
                content, entry.mode = what, 0o4711
            elif isinstance(what, tuple):
                entry.type, entry.linkname = (tarfile.SYMTYPE if what[0] == "sym" else tarfile.LNKTYPE), what[1]
            else:
                entry.type = tarfile.DIRTYPE if what is None else str(what).encode()
            entry.size = len(content)
            out.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def unpack(tmp_path: Path, data: bytes, caps: Caps = CAPS) -> Extracted:
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("ours")
    try:
        return extract(io.BytesIO(data), str(tmp_path / "root"), caps)
    finally:
        assert [path.name for path in (tmp_path / "outside").iterdir()] == ["file"]
        assert (tmp_path / "outside" / "file").read_text() == "ours"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "root"]


def test_files_folders_and_links_come_out_readable_for_all_and_without_special_rights(tmp_path: Path) -> None:
    data = archive(
        ("./etc", None),
        ("etc/file", b"one"),
        ("bin/sh", ("sym", "/bin/busybox")),
        ("etc/other", ("hard", "./etc/file")),
        ("etc/file", b"replaced"),
        ("dev/null", 3),
        ("dev/pipe", 6),
    )
    found = unpack(tmp_path, data)
    root = tmp_path / "root"
    assert found == Extracted(files=2, bytes=11, left_out=2)
    assert (root / "etc/file").read_text() == "replaced"
    assert (root / "etc/other").read_text() == "one"
    assert os.readlink(root / "bin/sh") == "/bin/busybox"
    assert stat.S_IMODE((root / "etc/file").stat().st_mode) == 0o755
    assert stat.S_IMODE((root / "etc").stat().st_mode) == 0o755
    assert (root / "etc/file").stat().st_uid == os.geteuid()
    assert all((root / name).is_dir() for name in FOLDERS)


def test_compressed_archive_is_taken(tmp_path: Path) -> None:
    assert unpack(tmp_path, gzip.compress(archive(("a", b"1")))).files == 1


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([("../outside/file", b"x")], "leads out"),
        ([("a/../../outside/file", b"x")], "leads out"),
        ([("/etc/passwd", b"x")], "absolute"),
        ([("a", ("sym", "../outside")), ("a/file", b"x")], "no folder"),
        ([("a", ("sym", "../outside")), ("a/sub", None)], "no folder"),
        ([("a", ("sym", "../outside")), ("b", ("hard", "a/file"))], "no folder"),
        ([("b", ("hard", "../outside/file"))], "leads out"),
        ([("b", ("hard", "/etc/passwd"))], "absolute"),
        ([("b", ("hard", "nothing"))], "cannot be unpacked"),
        ([("a", None), ("b", ("hard", "a"))], "no file"),
        ([("a", None), ("a", b"x")], "folder and something else"),
        ([("a", b"x"), ("a/b", b"x")], "no folder"),
        ([("output", ("sym", "/etc"))], "no folder"),
        ([("var", ("sym", "../outside"))], "no folder"),
        ([("d/" * 65 + "x", b"x")], "nested deeper"),
        ([("a", b"x" * (1 << 20)), ("b", b"x")], "more than 1048576 bytes"),
        ([(str(number), b"") for number in range(101)], "more than 100 entries"),
        ([("manifest.json", b"[]")], "layers"),
    ],
)
def test_what_must_not_be_is_refused(tmp_path: Path, entries: list[tuple[str, Any]], words: str) -> None:
    with pytest.raises(BadInput) as refused:
        unpack(tmp_path, archive(*entries))
    assert words in refused.value.message


def test_link_out_of_the_root_is_kept_and_never_followed(tmp_path: Path) -> None:
    unpack(tmp_path, archive(("a", ("sym", "../outside/file")), ("a", b"inside")))
    assert not (tmp_path / "root" / "a").is_symlink()
    assert (tmp_path / "root" / "a").read_text() == "inside"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no archive",
        b"\x1f\x8b" + bytes(100),
        archive(("a", b"x" * 5000))[:3000],
    ],
    ids=["empty", "words", "gzip", "cut"],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(BadInput):
        unpack(tmp_path, data)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_header_that_would_fill_the_memory_is_refused_before_it_is_read(tmp_path: Path, kind: bytes) -> None:
    entry = tarfile.TarInfo("././@LongLink")
    entry.type, entry.size = kind, 1 << 33
    with pytest.raises(BadInput, match="a header of 8589934592 bytes"):
        unpack(tmp_path, entry.tobuf(tarfile.GNU_FORMAT))


def test_file_that_claims_to_be_larger_than_allowed_is_refused_before_it_is_read(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("a")
    entry.size = 1 << 40
    with pytest.raises(BadInput, match="more than"):
        unpack(tmp_path, entry.tobuf(tarfile.GNU_FORMAT))


def test_unpacking_ends_when_nobody_wants_it_any_more(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    with pytest.raises(BadInput, match="given up"):
        extract(io.BytesIO(archive(("a", b"x"))), str(tmp_path / "root"), CAPS, lambda: False)
    assert list((tmp_path / "root").iterdir()) == []
