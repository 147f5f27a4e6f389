"""A task's log as the WebSocket messages that are documented for it."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import msgspec
from attrs import define

from appliance.plugin import JobRecord, LogBlock, Scheduler, text_frames

from .listing import followed
from .wire import messages, render

MADE: Final = "task_scheduler.frames"
"""Under which the frames of a block are kept with it: however many follow a log live, they are made once."""
_encode: Final = msgspec.json.encode


@define(eq=False)
class Following:
    """One reader of one log."""

    scheduler: Scheduler
    record: JobRecord
    offset: int = 0

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """Yield frames to send as they are: connected, every line in order, and complete once the task has ended.

        The log of a task that waits is waited for. What is not kept any more, because the reader was too slow or there
        was too much, is told as a gap.
        """
        job = self.record.job
        yield text_frames([_encode(messages.LogConnected(task_id=job.job_id, user_id=job.label))])
        async with aclosing(followed(self.scheduler, job.job_id, self.offset)) as found:
            async for block in found:
                yield frames_of(job.job_id, block)
        ended = render.status(self.scheduler.get(job.job_id))
        message = f"Task completed with status: {ended}"
        yield text_frames([_encode(messages.LogComplete(task_id=job.job_id, status=ended, message=message))])


def frames_of(job_id: str, block: LogBlock) -> bytes:
    """Return the messages of a block, one for each line."""
    frames: bytes | None = block.made.get(MADE)
    if frames is None:
        frames = block.made[MADE] = text_frames(messages_of(job_id, block))
    return frames


def messages_of(job_id: str, block: LogBlock) -> list[bytes]:
    """Return the messages of a block as JSON; what is no UTF-8 in a line is replaced by U+FFFD."""
    made = []
    if block.missing_bytes:
        gap = messages.LogGap(task_id=job_id, from_offset=block.offset - block.missing_bytes, next_offset=block.offset)
        made.append(_encode(gap))
    task_id = _encode(job_id)
    for piece, line, offset in block.lines():
        text = _encode(line.decode("utf-8", "replace"))
        # By hand, since this is done for each line of each log: a fifth of what encoding a model takes.
        made.append(
            b'{"type":"log","line":%b,"task_id":%b,"stream":"%b","next_offset":%d}'
            % (text, task_id, piece.stream.encode(), offset)
        )
    return made
