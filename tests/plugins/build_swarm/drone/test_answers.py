"""Answers of servers, well formed and not; waits; outcomes; and who a host says that it is."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.build_swarm.drone import answers, host
from plugins.build_swarm.drone.http_server import read_address, read_answer
from plugins.build_swarm.drone.judging import Ended, judged, readable
from plugins.build_swarm.drone.models import ATOM, Orders, Outcome, Refused, StopWork, Unreachable
from plugins.build_swarm.drone.waits import Waits

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
FIELDS = ("package", "session_id", "paused", "revoke", "stop_work", "action", "expected_timestamp", "accepted", "stale")


def test_documented_answers_are_read() -> None:
    orders = answers.orders(
        {
            "status": "registered",
            "paused": False,
            "revoke": ["=a/b-1", 7, "--x"],
            "stop_work": {"package": "=a/c-1", "reason": "moved\x1b[2J", "reassigned_to": "drone-2"},
        }
    )
    assert orders == Orders(paused=False, revoked=("=a/b-1",), stop=StopWork(package="=a/c-1", reason="moved[2J"))
    work = answers.assignment({"package": "dev-libs/openssl-3.2.0", "session_id": "session-20260212"})
    assert (work.package, work.session_id) == ("dev-libs/openssl-3.2.0", "session-20260212")
    assert answers.assignment({"package": None}).package is None
    sync = answers.assignment({"package": None, "action": "sync_portage", "expected_timestamp": "2026-02-12"})
    assert sync.orders.sync_to == "2026-02-12"
    stale = answers.verdict({"status": "ok", "accepted": False, "stale": True, "reason": "drone-2 has it"})
    assert (stale.accepted, stale.is_stale, stale.reason) == (False, True, "drone-2 has it")
    assert answers.verdict({"status": "ok", "action": "stop_work"}).is_stale


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_answer_is_read_without_a_failure(answer: dict[str, Any]) -> None:
    found = answers.orders(answer)
    assert found.paused in (True, False, None)
    assert all(ATOM.fullmatch(atom) for atom in found.revoked)
    assert found.stop is None or ATOM.fullmatch(found.stop.package)
    package = answers.assignment(answer).package
    assert package is None or (package and isinstance(package, str))
    assert answers.verdict(answer).accepted in (True, False, None)


@pytest.mark.parametrize(
    ("status", "text", "error"),
    [
        (200, b"[]", Unreachable),
        (200, b"<html>", Unreachable),
        (200, b"[" * 100_000, Unreachable),
        (200, b"\xff\xfe", Unreachable),
        (302, b"", Refused),
        (400, b'{"error":"no such field"}', Refused),
        (401, b'{"error":"who?"}', Refused),
        (408, b"", Unreachable),
        (429, b"{}", Unreachable),
        (500, b'{"error":"broken"}', Unreachable),
        (503, b"", Unreachable),
    ],
)
def test_what_is_no_good_answer_is_told_apart(status: int, text: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_answer(status, text)


def test_good_answer_is_its_object() -> None:
    assert read_answer(201, json.dumps({"a": 1}).encode()) == {"a": 1}
    assert read_answer(204, b"") == {}


def test_address_is_http_and_holds_no_secret() -> None:
    assert read_address("gentoo.example:8100").port == 8100
    assert read_address("https://[::1]:8100/swarm/").prefix == "/swarm"
    for bad in ("ftp://x", "http://", "https://user:secret@host", "http://host/?key=1", "http://host:99999"):
        with pytest.raises(ValueError, match=r"address|secret|[Pp]ort"):
            read_address(bad)


def test_waits_double_up_to_their_bound_and_begin_again() -> None:
    waits = Waits(1.0, 10.0, random=lambda: 0.0)
    assert [waits.next() for _ in range(5)] == [1.0, 2.0, 4.0, 8.0, 10.0]
    waits.reset()
    assert waits.next() == 1.0
    assert Waits(1.0, 10.0, random=lambda: 0.999).next() == pytest.approx(0.8002)


MASKED = 'All ebuilds that could satisfy "=a/b-1" have been masked.'


@pytest.mark.parametrize(
    ("status", "tail", "outcome", "error"),
    [
        (0, "done", Outcome.SUCCESS, None),
        (1, "it broke", Outcome.FAILED, "exit status 1\nit broke"),
        (-9, "", Outcome.FAILED, "ended by SIGKILL"),
        (75, "busy", Outcome.RETURNED, "the build command said: not now (exit status 75)"),
        (1, f"\x1b[31m!!! \x1b[0m{MASKED}", Outcome.MASKED, f"exit status 1\n!!! {MASKED}"),
        (None, "", Outcome.FAILED, "it took longer"),
    ],
)
def test_outcome_is_what_the_command_said(status: int | None, tail: str, outcome: Outcome, error: str | None) -> None:
    assert judged(Ended(status=status, duration_s=1.0, why="it took longer"), tail) == (outcome, error)


def test_output_is_readable_without_colours_cursors_and_overwritten_lines() -> None:
    assert readable("\x1b[32mgreen\x1b[m\r\n10%\r20%\r100%\n\x1b]0;title\x07x\x00y\n\n") == "green\n100%\nxy"


@given(st.text(max_size=400))
def test_nothing_that_a_terminal_obeys_is_left_in_an_error(text: str) -> None:
    assert all(one.isprintable() or one in "\n\t" for one in readable(text))


def test_host_is_named_by_its_machine_id_and_its_tree_by_its_day(tmp_path: Path) -> None:
    (tmp_path / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    assert host.machine_id(tmp_path / "machine-id") == "0123456789abcdef0123456789abcdef"
    assert host.machine_id(tmp_path / "nothing") == ""
    (tmp_path / "machine-id").write_text("../../x\n")
    assert host.machine_id(tmp_path / "machine-id") == ""
    made = host.made_id(tmp_path / "state" / "id")
    assert host.made_id(tmp_path / "state" / "id") == made
    assert len(made) == 32
    with pytest.raises(ValueError, match="give --id"):
        host.made_id(tmp_path / "machine-id" / "below-a-file" / "id")
    (tmp_path / "metadata").mkdir()
    for text, day in (("Thu, 12 Feb 2026 00:45:01 +0000\n", "2026-02-12"), ("yesterday", None), ("", None)):
        (tmp_path / "metadata" / "timestamp.chk").write_text(text)
        assert host.portage_timestamp(tmp_path) == day
    assert host.portage_timestamp(None) is None


def test_figures_are_within_their_ranges(tmp_path: Path) -> None:
    figures = host.Figures(tmp_path).read()
    assert {"ram_percent", "load_1m", "disk_percent"} <= set(figures)
    assert all(0 <= value <= 100 for name, value in figures.items() if name.endswith("_percent"))
    assert "disk_percent" not in host.Figures(tmp_path / "nowhere").read()
    assert host.ram_gb() > 0
