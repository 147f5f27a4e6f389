"""Logs on disk: every byte, bounded, and whole after any crash."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.tasklogs.blocks import LogBlock, Stream
from appliance.tasklogs.segments import HEADER, RECORD, Run, SegmentedLog

AT = 1_700_000_000_000_000


def log_in(folder: Path, limit_bytes: int = 1_000_000) -> SegmentedLog:
    log = SegmentedLog(folder, lambda: limit_bytes)
    log.prepare()
    return log


def out(data: bytes) -> Run:
    return Run(stream="stdout", data=data)


def err(data: bytes) -> Run:
    return Run(stream="stderr", data=data)


def everything(log: SegmentedLog, offset: int = 0, most_bytes: int = 1 << 20) -> list[LogBlock]:
    blocks = []
    while (block := log.read(offset, most_bytes)).pieces:
        blocks.append(block)
        offset = block.next_offset
    return blocks


def text(log: SegmentedLog, offset: int = 0) -> bytes:
    return b"".join(piece.data for block in everything(log, offset) for piece in block.pieces)


def test_text_comes_back_byte_by_byte_with_its_streams(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.begin(1, AT)
    block = log.append([out(b"\x00\xffone\n"), err(b"two\n")], AT)
    assert (block.offset, block.next_offset) == (0, 10)
    again = SegmentedLog(tmp_path, lambda: 1_000_000).read(0)
    assert again.pieces == block.pieces
    assert [piece.stream for piece in again.pieces] == ["stdout", "stderr"]
    assert again.pieces[0].written_at_unix_us == AT


@pytest.mark.parametrize("offset", [0, 1, 5, 6, 9, 10, 11, 1000])
def test_reading_starts_at_any_offset(tmp_path: Path, offset: int) -> None:
    log = log_in(tmp_path)
    log.append([out(b"12345\n"), err(b"789\n")], AT)
    assert text(log, offset) == b"12345\n789\n"[offset:]


def test_read_that_is_cut_goes_on_at_the_start_of_a_line(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.append([out(b"first line\nsecond line\n")], AT)
    blocks = everything(log, most_bytes=15)
    assert [piece.data for block in blocks for piece in block.pieces] == [b"first line\n", b"second line\n"]


def test_beyond_the_limit_the_start_and_the_end_are_kept_and_the_hole_is_told(tmp_path: Path) -> None:
    log = log_in(tmp_path, limit_bytes=40_000)
    lines = [f"line {number:06}\n".encode() * 50 for number in range(200)]
    for line in lines:
        log.append([out(line)], AT)
    whole = b"".join(lines)
    first, *others = everything(log)
    assert first.missing_bytes == 0
    assert text(log).startswith(lines[0])
    assert text(log).endswith(lines[-1])
    hole = next(block for block in others if block.missing_bytes)
    assert hole.missing_bytes == log.missing_bytes == len(whole) - len(text(log))
    assert whole[hole.offset :].startswith(hole.pieces[0].data)
    assert log.end == len(whole)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 40_000
    again = log_in(tmp_path, limit_bytes=40_000)
    assert (again.end, again.missing_bytes, again.written["stdout"]) == (log.end, log.missing_bytes, len(whole))


def test_what_an_attempt_wrote_is_known_after_a_restart_and_begins_anew_with_the_next(tmp_path: Path) -> None:
    log = log_in(tmp_path, limit_bytes=10_000)
    log.begin(1, AT)
    log.append([out(b"old\n")], AT)
    log.begin(2, AT)
    for _ in range(30):
        log.append([out(b"x" * 500 + b"\n"), err(b"y\n")], AT)
    again = log_in(tmp_path, limit_bytes=10_000)
    assert again.attempt == 2
    assert again.written == log.written == {"stdout": 30 * 501, "stderr": 60}
    again.begin(2, AT)
    assert again.written == log.written
    again.begin(3, AT)
    assert log_in(tmp_path, limit_bytes=10_000).written == {"stdout": 0, "stderr": 0}


@pytest.mark.parametrize("cut", range(RECORD.size + 1))
def test_torn_record_costs_its_own_text_and_nothing_before_it(tmp_path: Path, cut: int) -> None:
    log = log_in(tmp_path)
    log.begin(1, AT)
    log.append([out(b"kept\n")], AT)
    log.append([out(b"torn\n")], AT)
    index = next(tmp_path.glob("*.idx"))
    with index.open("r+b") as file:
        file.truncate(index.stat().st_size - cut)
    again = log_in(tmp_path)
    kept = b"kept\ntorn\n" if cut == 0 else b"kept\n"
    assert text(again) == kept
    assert again.written["stdout"] == len(kept)
    again.append([out(b"next\n")], AT)
    assert text(again) == kept + b"next\n"


def test_text_lost_with_the_power_takes_its_records_along(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.begin(1, AT)
    log.append([out(b"kept\n")], AT)
    log.append([out(b"lost\n")], AT)
    path = next(tmp_path.glob("*.log"))
    with path.open("r+b") as file:
        file.truncate(7)
    again = log_in(tmp_path)
    assert text(again) == b"kept\n"
    assert again.written["stdout"] == 5


def test_segment_half_made_by_a_crash_is_made_again(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.append([out(b"kept\n")], AT)
    (tmp_path / f"{5:020d}.idx").write_bytes(b"\0" * (HEADER.size - 1))
    assert text(log_in(tmp_path)) == b"kept\n"


def test_failed_write_stores_nothing_and_is_not_counted(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.append([out(b"kept\n")], AT)
    text_file = next(tmp_path.glob("*.log"))
    text_file.unlink()
    text_file.symlink_to("/dev/full")
    with pytest.raises(OSError, match="symbolic"):
        log.append([out(b"more\n")], AT)
    assert log.end == 5
    assert log.written["stdout"] == 5


@given(st.lists(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(min_size=1, max_size=40)))))
def test_any_text_comes_back_stream_by_stream(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[Stream, bytes]]]
) -> None:
    log = log_in(tmp_path_factory.mktemp("log"))
    for batch in batches:
        log.append([Run(stream=stream, data=data) for stream, data in batch], AT)
    flat = [each for batch in batches for each in batch]
    pieces = [(piece.stream, piece.data) for block in everything(log) for piece in block.pieces]
    assert pieces == flat
