"""Going on in a log exactly where the last reader stopped, also after the engine dropped a part of it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.engine_docker.frames import Piece, Stream
from plugins.engine_docker.positions import GAP, Alignment, Mark, Position, best, load, save, since_ns

SECOND = 10**9


def text(alignment: Alignment, log: list[Piece]) -> dict[str, bytes]:
    given_out = {"stdout": b"", "stderr": b""}
    for piece in log:
        for stream, data in alignment.take(piece):
            given_out[stream] += data
    return given_out


def whole(log: list[Piece], stream: str) -> bytes:
    return b"".join(piece.data for piece in log if piece.stream == stream)


def asked(log: list[Piece], position: Position) -> list[Piece]:
    """Return what an engine sends of its log when asked from a position on."""
    since = since_ns(position)
    return [piece for piece in log if piece.written_ns is not None and piece.written_ns >= since]


logs = st.lists(
    st.tuples(st.sampled_from(["stdout", "stderr"]), st.integers(0, 2), st.binary(min_size=1, max_size=5)), max_size=30
)


def log_of(rows: list[tuple[Stream, int, bytes]], unit_ns: int) -> list[Piece]:
    """Return a log whose times never go back; ``unit_ns`` is how fine the engine's clock is."""
    now, log = 100, []
    for stream, step, data in rows:
        now += step
        log.append(Piece(stream, now * unit_ns, data))
    return log


@given(logs, st.sampled_from([1, 1000, SECOND]), st.data())
def test_later_reader_goes_on_with_the_next_byte(
    rows: list[tuple[Stream, int, bytes]], unit_ns: int, data: st.DataObject
) -> None:
    log = log_of(rows, unit_ns)
    first = Alignment.at({}, {"stdout": 0, "stderr": 0})
    kept: list[Position] = []
    for piece in log[: data.draw(st.integers(0, len(log)), label="read")]:
        list(first.take(piece))
        kept.append(dict(first.position))
    stored: dict[Stream, int] = {
        "stdout": data.draw(st.integers(0, first.delivered["stdout"]), label="stored of stdout"),
        "stderr": data.draw(st.integers(0, first.delivered["stderr"]), label="stored of stderr"),
    }
    position = best(kept, stored)
    rest = text(Alignment.at(position, stored), asked(log, position))
    for stream in ("stdout", "stderr"):
        assert rest[stream] == whole(log, stream)[stored[stream] :]


def test_two_streams_out_of_order_by_a_moment_lose_nothing() -> None:
    log = [
        Piece("stdout", SECOND + 2000, b"a"),
        Piece("stderr", SECOND + 1000, b"b"),
        Piece("stdout", SECOND + 3000, b"c"),
    ]
    first = Alignment.at({}, {"stdout": 0, "stderr": 0})
    list(first.take(log[0]))
    position = first.position
    assert text(Alignment.at(position, {"stdout": 1, "stderr": 0}), asked(log, position)) == {
        "stdout": b"c",
        "stderr": b"b",
    }


def test_log_says_that_something_is_missing_when_the_engine_dropped_the_place() -> None:
    position: Position = {"stdout": Mark(5 * SECOND, 10)}
    alignment = Alignment.at(position, {"stdout": 12, "stderr": 0})
    assert text(alignment, [Piece("stdout", 9 * SECOND, b"later")])["stdout"] == GAP + b"later"
    assert alignment.delivered["stdout"] == 12 + len(GAP) + 5
    # What core counts includes the note, so the next reader finds its place as ever.
    again = Alignment.at(alignment.position, {"stdout": 12 + len(GAP) + 2, "stderr": 0})
    assert text(again, [Piece("stdout", 9 * SECOND, b"later")])["stdout"] == b"ter"


def test_position_is_the_newest_that_is_stored_entirely() -> None:
    kept: list[Position] = [
        {"stdout": Mark(1, 0)},
        {"stdout": Mark(2, 10)},
        {"stdout": Mark(3, 20), "stderr": Mark(4, 5)},
    ]
    assert best(kept, {"stdout": 25, "stderr": 5}) == kept[2]
    assert best(kept, {"stdout": 25, "stderr": 4}) == kept[1]
    assert best(kept[1:], {"stdout": 9, "stderr": 0}) == {}


def test_clock_that_went_back_makes_the_next_reader_begin_at_the_start() -> None:
    alignment = Alignment.at({}, {"stdout": 0, "stderr": 0})
    log = [Piece("stdout", 9 * SECOND, b"a"), Piece("stdout", 5 * SECOND, b"b"), Piece("stdout", 6 * SECOND, b"c")]
    assert text(alignment, log)["stdout"] == b"abc"
    assert alignment.position == {}
    assert text(Alignment.at({}, {"stdout": 2, "stderr": 0}), log)["stdout"] == b"c"


def test_positions_survive_in_their_file(tmp_path: Path) -> None:
    kept: list[Position] = [{"stdout": Mark(n, n)} for n in range(100)]
    save(tmp_path / "logs" / "task-1.1", kept)
    assert load(tmp_path / "logs" / "task-1.1") == kept[-64:]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b'[{"stdout": [1]}]',
        b'{"a": 1}',
        b"[" * 60_000,
        b'[{"stdout":["x",1]}]',
        b'[{"stdout":[1,-1]}]',
    ],
)
def test_damaged_file_of_positions_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "task-1.1").write_bytes(content)
    assert load(tmp_path / "task-1.1") == []


def test_positions_that_cannot_be_written_are_no_failure(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    save(tmp_path / "logs" / "task-1.1", [{"stdout": Mark(1, 1)}])
    assert load(tmp_path / "logs" / "task-1.1") == []
