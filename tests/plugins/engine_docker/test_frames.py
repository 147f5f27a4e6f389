"""The log stream of container engines, taken apart wherever it is cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.engine_docker.frames import Frames, Garbled, Piece, stamp_ns

TIMES = ["2026-11-21T14:07:33.960251788Z", "2026-11-21T14:07:34Z", "2026-11-21T15:07:34.5+01:00"]


def frame(stream: int, time: str, payload: bytes) -> bytes:
    body = time.encode() + b" " + payload
    return bytes((stream, 0, 0, 0)) + len(body).to_bytes(4, "big") + body


def joined(pieces: list[Piece]) -> list[tuple[str, int, bytes]]:
    """Return whole frames: stream, time, payload."""
    frames: list[tuple[str, int, bytes]] = []
    for piece in pieces:
        if piece.written_ns is not None:
            frames.append((piece.stream, piece.written_ns, b""))
        stream, time, payload = frames[-1]
        assert stream == piece.stream
        frames[-1] = (stream, time, payload + piece.data)
    return frames


def test_times_of_both_engines_are_read_exactly() -> None:
    assert stamp_ns("1970-01-01T00:00:01Z") == 10**9
    assert stamp_ns("1970-01-01T00:00:01.000000001Z") == 10**9 + 1
    assert stamp_ns("1970-01-01T01:00:01.5+01:00") == 1_500_000_000


@pytest.mark.parametrize(
    "text", ["", "now", "2026-13-01T00:00:00Z", "0000-01-01T00:00:00Z", "2026-11-21T14:07:33", "9" * 90]
)
def test_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Garbled):
        stamp_ns(text)


written = st.lists(
    st.tuples(st.sampled_from([1, 2]), st.sampled_from(TIMES), st.binary(max_size=40)), min_size=1, max_size=8
)


@given(written, st.lists(st.integers(0, 600), max_size=12))
def test_stream_gives_the_same_frames_wherever_it_is_cut(rows: list[tuple[int, str, bytes]], cuts: list[int]) -> None:
    data = b"".join(frame(*row) for row in rows)
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    frames = Frames()
    pieces = [piece for start, end in pairwise(places) for piece in frames.feed(data[start:end])]
    expected = [("stdout" if kind == 1 else "stderr", stamp_ns(time), payload) for kind, time, payload in rows]
    assert joined(pieces) == expected


def test_frame_of_four_gigabytes_is_passed_on_as_it_comes() -> None:
    frames = Frames()
    head = b"\x01\0\0\0\xff\xff\xff\xff" + TIMES[0].encode() + b" "
    assert [piece.data for piece in frames.feed(head)] == [b""]
    assert [piece.data for piece in frames.feed(b"x" * 1000)] == [b"x" * 1000]
    assert [piece.data for piece in frames.feed(b"y")] == [b"y"]


@pytest.mark.parametrize(
    "data",
    [
        b"\x07\0\0\0\0\0\0\x05hello",
        b"\x01\0\x01\0\0\0\0\x05hello",
        b"\x01\0\0\0\0\0\0\x05hello",
        b"\x01\0\0\0\0\0\0\x00",
        b"\x01\0\0\0\0\0\x10\x00" + b"x" * 4096,
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
    ids=["unknown stream", "no zeros", "no time", "empty frame", "endless time", "text"],
)
def test_bytes_that_are_no_log_stream_are_refused(data: bytes) -> None:
    with pytest.raises(Garbled):
        list(Frames().feed(data))
