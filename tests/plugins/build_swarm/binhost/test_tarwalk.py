import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.build_swarm.binhost.tarwalk import BadArchive, Member, members
from tests.plugins.build_swarm.binhost.packages import tar_of


def walked(data: bytes, *, most: int = 8) -> list[tuple[str, bytes]]:
    source = io.BytesIO(data)

    def read(member: Member) -> bytes:
        source.seek(member.offset)
        return source.read(member.size)

    return [(member.name, read(member)) for member in members(source, len(data), most=most)]


def archive(name: str, data: bytes = b"data", *, format: int = tarfile.GNU_FORMAT, **fields: object) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=format) as made:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        for key, value in fields.items():
            setattr(info, key, value)
        made.addfile(info, io.BytesIO(data))
    return target.getvalue()


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ["short/x", "d" * 120 + "/metadata.tar.zst", "\u00fcber/x"])
def test_archive_of_each_format_is_read_as_it_was_written(format: int, name: str) -> None:
    assert walked(archive(name, b"some data", format=format)) == [(name, b"some data")]


def test_size_in_base_256_is_read() -> None:
    data = bytearray(tar_of({"a/x": b"abc"}))
    data[124:136] = bytes([0x80, *([0] * 10), 3])
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    assert walked(bytes(data)) == [("a/x", b"abc")]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (tarfile.SYMTYPE, "no regular file"),
        (tarfile.LNKTYPE, "no regular file"),
        (tarfile.DIRTYPE, "no regular file"),
        (tarfile.CHRTYPE, "no regular file"),
        (tarfile.FIFOTYPE, "no regular file"),
        (tarfile.GNUTYPE_SPARSE, "no regular file"),
    ],
)
def test_entry_that_is_no_regular_file_is_refused(kind: bytes, words: str) -> None:
    with pytest.raises(BadArchive, match=words):
        walked(archive("a/x", b"", type=kind, linkname="/etc/passwd"))


def test_archive_with_too_many_files_is_refused() -> None:
    data = tar_of({f"a/{number}": b"" for number in range(9)})
    with pytest.raises(BadArchive, match="more than 8 files"):
        walked(data)
    assert len(walked(data, most=9)) == 9


def with_size(size: bytes) -> bytes:
    data = bytearray(tar_of({"a/x": b"abc"}))
    data[124:136] = size
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (b"77777777777\0", "cut short"),
        (bytes([0xFF] * 12), "a size is absurd"),
        (b"99999999999\0", "a number of a head is none"),
        (b"-0000000001\0", "a number of a head is none"),
    ],
)
def test_size_beyond_the_archive_is_refused(size: bytes, words: str) -> None:
    with pytest.raises(BadArchive, match=words):
        walked(with_size(size))


def test_long_name_of_absurd_size_is_refused_before_it_is_read() -> None:
    data = archive("n" * 70_000)
    with pytest.raises(BadArchive, match="a head of it is too large"):
        walked(data)


def test_heads_without_end_before_one_file_are_refused() -> None:
    head = archive("a" * 120, format=tarfile.GNU_FORMAT)[:1024]  # the long name, and its text
    with pytest.raises(BadArchive, match="a head of it is too large"):
        walked(head * 3 + archive("a/x"))


def test_damaged_archive_is_refused() -> None:
    data = bytearray(tar_of({"a/x": b"abc"}))
    data[0] ^= 1
    with pytest.raises(BadArchive, match="checksum"):
        walked(bytes(data))
    for nothing in (b"", b"x" * 100, b"x" * 2048):
        with pytest.raises(BadArchive):
            walked(nothing)


@given(st.binary(max_size=2048), st.integers(min_value=0, max_value=1500))
def test_any_bytes_are_read_or_refused(junk: bytes, place: int) -> None:
    data = tar_of({"a/x": b"abc"})
    damaged = data[:place] + junk + data[place + len(junk) :]
    try:
        found = walked(damaged)
    except BadArchive:
        return
    assert sum(len(content) for _, content in found) <= len(damaged)
