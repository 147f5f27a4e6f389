"""Blocks of a log as messages."""

import json

from appliance.tasklogs import LogBlock, LogPiece
from plugins.task_scheduler.log_stream import frames_of, messages_of


def piece(data: bytes, stream: str = "stdout") -> LogPiece:
    return LogPiece(stream=stream, attempt=1, written_at_unix_us=0, data=data)  # type: ignore[arg-type]


def test_each_line_is_a_message_and_the_gap_before_it_another() -> None:
    block = LogBlock(
        offset=100, next_offset=111, pieces=(piece(b"one\r\ntwo\n"), piece(b"\xff\n", "stderr")), missing_bytes=40
    )
    assert [json.loads(message) for message in messages_of("task-1", block)] == [
        {
            "type": "gap",
            "task_id": "task-1",
            "from_offset": 60,
            "next_offset": 100,
            "message": "Some lines were left out",
        },
        {"type": "log", "line": "one", "task_id": "task-1", "stream": "stdout", "next_offset": 105},
        {"type": "log", "line": "two", "task_id": "task-1", "stream": "stdout", "next_offset": 109},
        {"type": "log", "line": "\ufffd", "task_id": "task-1", "stream": "stderr", "next_offset": 111},
    ]


def test_frames_of_a_block_are_made_once_however_many_follow() -> None:
    block = LogBlock(offset=0, next_offset=4, pieces=(piece(b"one\n"),))
    assert frames_of("task-1", block) is frames_of("task-1", block)
