"""Topics and frames, in the shape that every generation of agents reads."""

import math

import pytest

from plugins.gpu_sharing.push_frames import FRAME_GAP_SECONDS, RESTARTS_MAX, Outbox, Topics, read_topics
from plugins.gpu_sharing.push_head import PushRefused


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("agent_1", Topics("agent_1", config=True, restarts=False)),
        ("agent_1_vgpu_restart", Topics("agent_1", config=False, restarts=True)),
        ("agent_1,agent_1_vgpu_restart", Topics("agent_1", config=True, restarts=True)),
        ("agent_1_vgpu_restart , agent_1", Topics("agent_1", config=True, restarts=True)),
        ("a" * 128, Topics("a" * 128, config=True, restarts=False)),
    ],
)
def test_topics_of_one_agent_are_read(text: str, wanted: Topics) -> None:
    assert read_topics(text) == wanted


@pytest.mark.parametrize(
    "text",
    ["", ",", "_vgpu_restart", "a,b", "a,b_vgpu_restart", "a b", "a\tb", "ä", "../a", "a" * 129, "a," * 257, "*"],
)
def test_anything_else_is_no_topic(text: str) -> None:
    with pytest.raises(PushRefused) as refused:
        read_topics(text)
    assert refused.value.status == 400


def outbox() -> Outbox:
    return Outbox(Topics("agent_1", config=True, restarts=True))


def test_outbox_has_nothing_until_something_happens() -> None:
    assert (outbox().take(0.0), outbox().due_seconds(0.0)) == (b"", math.inf)


def test_first_change_is_sent_at_once() -> None:
    box = outbox()
    box.changed(7)
    assert box.due_seconds(100.0) == 0
    assert box.take(100.0) == b'data: {"config_version": 7}\n\n'
    assert box.take(100.0) == b""


def test_changes_in_a_burst_leave_agents_the_time_to_fetch() -> None:
    box = outbox()
    box.changed(7)
    box.take(100.0)
    box.changed(8)
    box.changed(9)
    assert box.take(100.1) == b""
    assert box.due_seconds(100.1) == pytest.approx(FRAME_GAP_SECONDS - 0.1)
    assert box.take(100.0 + FRAME_GAP_SECONDS) == b'data: {"config_version": 9}\n\n'
    assert (
        0.5 < FRAME_GAP_SECONDS < 1.0
    )  # an agent fetches half a second after the last frame, and is to do so within one


def test_restart_is_sent_at_once_and_told_apart_for_agents_with_one_stream() -> None:
    box = outbox()
    box.changed(7)
    box.take(100.0)
    box.changed(8)
    box.restart(["worker-1", "worker_2", "worker-1"])
    assert box.due_seconds(100.1) == 0
    assert box.take(100.1) == b"event: agent_1_vgpu_restart\ndata: worker-1\ndata: worker_2\n\n"
    assert box.take(100.0 + FRAME_GAP_SECONDS) == b'data: {"config_version": 8}\n\n'


@pytest.mark.parametrize("worker_id", ["", "a\ndata: b", "a\r", "a b", "é"])
def test_id_that_would_break_a_frame_is_refused(worker_id: str) -> None:
    with pytest.raises(ValueError, match="no worker's id"):
        outbox().restart([worker_id])


def test_restarts_that_nobody_reads_stay_bounded() -> None:
    box = outbox()
    box.restart(f"worker-{number}" for number in range(RESTARTS_MAX + 10))
    lines = box.take(0.0).decode().split("\n")
    assert len(lines) == RESTARTS_MAX + 3
    assert lines[1] == "data: worker-10"
