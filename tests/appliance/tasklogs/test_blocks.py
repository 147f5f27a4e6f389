"""Lines: what is one, and what is held back until it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.tasklogs.blocks import LINE_MAX, LineBuffer, LogBlock, LogPiece


def test_half_a_line_waits_for_its_end() -> None:
    lines = LineBuffer()
    assert lines.feed("stdout", b"one\ntw") == b"one\n"
    assert lines.feed("stderr", b"other\n") == b"other\n"
    assert lines.feed("stdout", b"o\n") == b"two\n"
    assert lines.rest() == []


def test_progress_bar_is_shown_at_each_carriage_return_and_a_crlf_is_not_torn() -> None:
    lines = LineBuffer()
    assert lines.feed("stderr", b"10 %\r20 %\r") == b"10 %\r"
    assert lines.feed("stderr", b"30 %") == b"20 %\r"
    assert lines.feed("stdout", b"line\r") == b""
    assert lines.feed("stdout", b"\nnext") == b"line\r\n"
    assert lines.rest() == [("stdout", b"next"), ("stderr", b"30 %")]


def test_endless_line_is_let_go_in_parts() -> None:
    lines = LineBuffer()
    assert lines.feed("stdout", b"x" * LINE_MAX) == b""
    assert lines.feed("stdout", b"x" * LINE_MAX + b"y") == b"x" * (2 * LINE_MAX)
    assert lines.rest() == [("stdout", b"y")]


@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=8)), max_size=20))
def test_every_byte_comes_out_once_and_in_order(chunks: list[tuple[str, bytes]]) -> None:
    lines = LineBuffer()
    out = {"stdout": b"", "stderr": b""}
    for stream, data in chunks:
        out[stream] += lines.feed(stream, data)  # type: ignore[arg-type]
    for name, rest in lines.rest():
        out[name] += rest
    assert out == {name: b"".join(data for stream, data in chunks if stream == name) for name in out}


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_of_a_block_come_without_their_end_and_with_the_offset_after_them(end: bytes) -> None:
    piece = LogPiece(stream="stdout", attempt=1, written_at_unix_us=0, data=b"a" + end + end + b"b")
    block = LogBlock(offset=100, next_offset=100 + len(piece.data), pieces=(piece,))
    assert [(line, after) for _, line, after in block.lines()] == [
        (b"a", 101 + len(end)),
        (b"", 101 + 2 * len(end)),
        (b"b", 102 + 2 * len(end)),
    ]
