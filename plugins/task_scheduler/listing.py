"""Reading of many tasks, and of what they have left: logs as text, files as answers."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path, PurePosixPath
from typing import Final

from attrs import frozen

from appliance.plugin import Caller, File, JobRecord, JobState, LogBlock, NotFound, Scheduler, StoredFile, TaskLogs

from .callers import owner_of, sees_all

READ_BYTES: Final = 262_144
PAGE_TASKS: Final = 1000


async def visible(
    scheduler: Scheduler,
    caller: Caller,
    *,
    limit: int,
    states: frozenset[JobState] | None = None,
) -> list[JobRecord]:
    """Return tasks that the caller sees, newest first."""
    before: int | None = None
    owner = None if sees_all(caller) else owner_of(caller)
    found: list[JobRecord] = []
    while len(found) < limit:
        wanted = min(PAGE_TASKS, limit - len(found))
        page = await scheduler.page(states=wanted_states(states), owner=owner, limit=wanted, before=before)
        found += page
        if len(page) < wanted:
            break
        before = page[-1].number
    return found


def wanted_states(states: frozenset[JobState] | None) -> list[JobState] | None:
    """Return states as the scheduler takes them."""
    return None if states is None else sorted(states)


async def followed(scheduler: Scheduler, job_id: str, offset: int) -> AsyncGenerator[LogBlock, None]:
    """Yield a task's log from ``offset`` on, until the task has ended and all of it was read; to be closed."""

    def is_over() -> bool:
        try:
            return scheduler.get(job_id).state.is_final
        except NotFound:  # deleted meanwhile
            return True

    async with aclosing(scheduler.logs.follow(job_id, offset=offset, is_over=is_over)) as blocks:
        async for block in blocks:
            yield block


@frozen(kw_only=True)
class LogText:
    """A part of a log as text."""

    text: str
    """What is no UTF-8 is replaced by U+FFFD; a part that is not kept any more is told in a line of its own."""
    next_offset: int
    is_cut: bool
    """There is more at ``next_offset``."""


async def text_of(logs: TaskLogs, job_id: str, offset: int, limit_bytes: int) -> LogText:
    """Return what a task has written from ``offset`` on, up to a limit, in the order in which it was stored."""
    found: list[bytes] = []
    size = 0
    while size < limit_bytes:
        block = await logs.read(job_id, offset, min(READ_BYTES, limit_bytes - size))
        if block.missing_bytes:
            found.append(gap_line(block.missing_bytes))
        if not block.pieces:
            break
        found += [piece.data for piece in block.pieces]
        size += block.next_offset - block.offset
        offset = block.next_offset
    end, _ = await logs.size_bytes(job_id)
    data, is_cut = b"".join(found), offset < end
    if is_cut:
        # Not in the middle of a character: at the end of a line, where there is one.
        whole = data.rfind(b"\n") + 1
        if whole:
            offset -= len(data) - whole
            data = data[:whole]
    return LogText(text=data.decode("utf-8", "replace"), next_offset=offset, is_cut=is_cut)


def gap_line(missing_bytes: int) -> bytes:
    """Return the line that stands for what is not kept any more."""
    return f"[{missing_bytes} bytes are not kept]\n".encode()


def attachment(path: Path, stored: StoredFile) -> File:
    """Return a file that a task left as the answer.

    No browser shows it in our name, whatever type it has: it is an attachment, and in a sandbox where that is ignored.
    """
    return File(
        path=path,
        content_type=stored.content_type,
        name=PurePosixPath(stored.path).name,
        headers=(("Cache-Control", "private, no-cache"), ("Content-Security-Policy", "sandbox")),
    )
