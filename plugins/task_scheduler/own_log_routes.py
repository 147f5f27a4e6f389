"""Our own API: the log of a task, as it was written, in parts, and live."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

import trio

from appliance.plugin import PERSON, Call, JobRecord, LogBlock, ServerEvent, Stream, TaskLogs

from . import own_models as own
from .listing import followed
from .own_surface import ONE, api, task_of
from .state import TaskState

READ_BYTES: Final = 262_144


@api.get(f"{ONE}/log", caller=PERSON, query=own.LogQuery, answer=Stream)
async def log(call: Call[None]) -> Stream:
    """Return what a task has written so far, byte for byte, from an offset on; what is not kept is left out."""
    state: TaskState = call.state
    record = task_of(call)
    logs = state.core.scheduler.logs
    end, _ = await logs.size_bytes(record.job_id)
    return Stream(chunks=_stored(logs, record.job_id, call.query.offset, end), content_type="text/plain; charset=utf-8")


async def _stored(logs: TaskLogs, job_id: str, offset: int, end: int) -> AsyncIterator[bytes]:
    # Up to where it ended when it was asked for: a log that grows must not make an answer without end.
    while offset < end:
        block = await logs.read(job_id, offset, READ_BYTES)
        if not block.pieces:
            return
        yield b"".join(piece.data for piece in block.pieces)
        offset = block.next_offset


@api.get(f"{ONE}/log/tail", caller=PERSON, query=own.TailQuery, answer=own.LogTail, waits=True)
async def tail(call: Call[None]) -> own.LogTail:
    """Return the next part of a log; with ``wait_seconds``, wait for it so long."""
    state: TaskState = call.state
    record = task_of(call)
    scheduler, job_id = state.core.scheduler, record.job_id
    offset: int = call.query.offset
    # Asked for before its log is read: what had ended then writes no more.
    is_over = record.state.is_final
    block = await scheduler.logs.read(job_id, offset, READ_BYTES)
    if block.pieces:
        is_over = False
    elif not is_over:
        with trio.move_on_after(call.query.wait_seconds):
            async with aclosing(followed(scheduler, job_id, offset)) as blocks:
                found = await anext(blocks, None)
            is_over = found is None
            block = found or block
    return _tail(scheduler.get(job_id), block, is_over=is_over)


def _tail(record: JobRecord, block: LogBlock, *, is_over: bool) -> own.LogTail:
    parts = tuple(
        own.LogPart(stream=piece.stream, text=piece.data.decode("utf-8", "replace")) for piece in block.pieces
    )
    return own.LogTail(
        id=record.job_id,
        state=record.state.value,
        exit_code=record.exit_code,
        message=record.message,
        parts=parts,
        missing_bytes=block.missing_bytes,
        next_offset=block.next_offset,
        is_over=is_over,
    )


@api.stream(f"{ONE}/log/stream", caller=PERSON, query=own.LogQuery)
async def stream(call: Call[Any]) -> AsyncIterator[ServerEvent]:
    """Send a log as it is written: events ``log``, ``gap`` where something is not kept, and ``end``.

    The id of each is where to go on: clients that lose the connection send it back as ``Last-Event-ID``.
    """
    state: TaskState = call.state
    record = task_of(call)
    scheduler, job_id = state.core.scheduler, record.job_id
    offset = _resumed(call.head.header(b"last-event-id")) or call.query.offset
    async with aclosing(followed(scheduler, job_id, offset)) as blocks:
        async for block in blocks:
            if block.missing_bytes:
                yield ServerEvent(data={"missing_bytes": block.missing_bytes}, event="gap", event_id=str(block.offset))
            parts = [{"stream": piece.stream, "text": piece.data.decode("utf-8", "replace")} for piece in block.pieces]
            offset = block.next_offset
            yield ServerEvent(data={"parts": parts, "next_offset": offset}, event="log", event_id=str(offset))
    ended = scheduler.get(job_id)
    data = {"state": ended.state.value, "exit_code": ended.exit_code, "message": ended.message}
    yield ServerEvent(data=data, event="end", event_id=str(offset))


def _resumed(sent: str | None) -> int:
    return int(sent) if sent is not None and sent.isascii() and sent.isdigit() and len(sent) < 19 else 0
