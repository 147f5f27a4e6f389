"""What is owed survives a kill, and a file that nobody can have written does no harm."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.build_swarm.drone.models import Outcome
from plugins.build_swarm.drone.spool import Owed, Spool, SpoolInUse, decoded
from tests.plugins.build_swarm.drone.kit import ATOM, LOG_ID

WHOLE = Owed(
    package=ATOM,
    log_id=LOG_ID,
    session_id="session-1",
    state="built",
    outcome=Outcome.SUCCESS,
    duration_s=3.25,
    error="why",
    files=("app-swarm/one-1.0.gpkg.tar",),
)


def test_what_is_written_is_read_again_until_it_is_cleared(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "state")
    spool.open()
    assert spool.read() is None
    spool.write(WHOLE)
    spool.log_file(LOG_ID).write_text("log")
    assert Spool(tmp_path / "state").read() == WHOLE
    spool.clear()
    assert spool.read() is None
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["lock"]
    spool.close()


def test_second_drone_does_not_get_the_folder(tmp_path: Path) -> None:
    one, other = Spool(tmp_path), Spool(tmp_path)
    one.open()
    with pytest.raises(SpoolInUse):
        other.open()
    one.close()
    other.open()
    other.close()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        '{"package": "--help", "log_id": "0123456789abcdef0123456789abcdef", "state": "done"}',
        '{"package": "app/one", "log_id": "../../etc/passwd", "state": "done"}',
        '{"package": "app/one", "log_id": "0123456789abcdef0123456789abcdef", "state": "lost"}',
    ],
)
def test_file_that_no_drone_wrote_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "owed.json").write_text(text)
    assert Spool(tmp_path).read() is None


def test_torn_draft_does_not_count(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.write(WHOLE)
    (tmp_path / "owed.new").write_text('{"package"')
    assert spool.read() == WHOLE


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(Owed.__annotations__)), VALUES))
def test_any_object_is_read_as_something_that_can_be_written(said: dict[str, Any]) -> None:
    found = decoded({"package": ATOM, "log_id": LOG_ID, "state": "done"} | said)
    if found is not None:
        again = decoded(json.loads(json.dumps({name: getattr(found, name) for name in Owed.__annotations__})))
        assert again == found
        assert 0 <= found.duration_s < float("inf")
