"""Our own API: drones send the output of their builds, people read and follow it."""

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

import trio
from attrs import field, frozen
from attrs.validators import and_, ge, le, matches_re, max_len
from msgspec import Struct

from appliance.plugin import RAW, BadInput, Call, NotFound, ServerEvent, Stream, to_unix_s

from .. import callers
from ..atoms import normalised
from ..state import SwarmState
from ..surfaces import DRONES, KEYED, own
from ..wire.requests import ATOM_CHARACTERS, name_of, shown
from .models import LOG_ID_PATTERN, BuildLog
from .service import BuildLogs

LOGS: Final = "/api/appliance/swarm/logs"
ONE: Final = LOGS + "/{log_id}"
PART_BYTES: Final = 1_048_576
OFFSET_MAX: Final = 2**62
CURSOR: Final = re.compile(rf"([0-9]{{1,18}})-({LOG_ID_PATTERN})")
_name: Final[Any] = max_len(255)


@frozen(kw_only=True)
class PartQuery:
    """Which part of which log is sent."""

    drone_id: str = field(validator=_name)
    drone: str = field(validator=_name)
    """Name of the drone."""
    package: str = field(validator=max_len(ATOM_CHARACTERS))
    offset: int = field(default=0, validator=and_(ge(0), le(OFFSET_MAX)))
    outcome: str = field(default="", validator=matches_re(r"[a-z_]{0,32}"))
    """How the build ended, with the last part."""


class Taken(Struct, frozen=True, kw_only=True):
    """How far a log is stored."""

    log_id: str
    next_offset: int
    """Where to go on: what lies before it is stored, and nothing behind it."""
    is_over: bool


class LogItem(Struct, frozen=True, kw_only=True):
    """One log."""

    log_id: str
    atom: str
    drone_id: str
    drone: str
    session_id: str
    status: str
    """How the build ended, in the drone's word; empty until then, ``lost`` where the drone is gone."""
    size_bytes: int
    started_unix_s: float
    ended_unix_s: float | None
    is_live: bool
    """Whether more of it is expected."""


class LogPage(Struct, frozen=True, kw_only=True):
    """Logs, newest first."""

    items: tuple[LogItem, ...]
    next: str | None
    """To be sent as ``cursor`` for the logs before these."""


@frozen(kw_only=True)
class LogsQuery:
    """Which logs; without anything, all."""

    package: str = field(default="", validator=max_len(ATOM_CHARACTERS))
    drone: str = field(default="", validator=_name)
    """Name or id."""
    session_id: str = field(default="", validator=_name)
    limit: int = field(default=100, validator=and_(ge(1), le(1000)))
    cursor: str = field(default="", validator=max_len(64))


@frozen(kw_only=True)
class TextQuery:
    """From where on."""

    offset: int = field(default=0, validator=and_(ge(0), le(OFFSET_MAX)))


@frozen(kw_only=True)
class TailQuery(TextQuery):
    """From where on, and how long more is waited for."""

    wait_seconds: float = field(default=0.0, validator=and_(ge(0), le(30)))


class LogTail(Struct, frozen=True, kw_only=True):
    """A part of a log."""

    log_id: str
    text: str
    """With the escape sequences of terminals; what is no UTF-8 is replaced by U+FFFD."""
    missing_bytes: int
    """How much before it was asked for and is not kept any more."""
    next_offset: int
    is_over: bool
    """Whether nothing more will come."""
    status: str


def _log_id(call: Call[Any]) -> str:
    log_id = call.path["log_id"]
    if re.fullmatch(LOG_ID_PATTERN, log_id) is None:
        raise NotFound("build log", log_id[:64], hint="an id is 32 hexadecimal digits")
    return log_id


@own.put(
    ONE, caller=DRONES, access="open", body=RAW, query=PartQuery, answer=Taken, limit_bytes=PART_BYTES, audit=False
)
async def append(call: Call[bytes]) -> Taken:
    """Store a part of a build's log, from a drone that is registered; the body is its bytes as they were written."""
    state: SwarmState = call.state
    query: PartQuery = call.query
    log_id = call.path["log_id"]
    if re.fullmatch(LOG_ID_PATTERN, log_id) is None:
        raise BadInput("the id of a log is 32 hexadecimal digits", field="log_id", hint="make one at random")
    drone = state.swarm.drone(name_of(query.drone_id, "drone_id"))
    callers.check_may_be(call.caller, name_of(query.drone, "drone"), drone)
    session = state.swarm.active_session()
    sent = BuildLog(
        log_id=log_id,
        drone_id=drone.drone_id,
        drone_name=drone.name,
        package=normalised(shown(query.package, ATOM_CHARACTERS)),
        session_id="" if session is None else session.session_id,
        started_unix_us=state.core.now(),
    )
    found = await state.build_logs.append(sent, query.offset, call.body, outcome=query.outcome)
    return Taken(log_id=log_id, next_offset=found.size_bytes, is_over=found.ended_unix_us is not None)


@own.get(LOGS, caller=KEYED, query=LogsQuery, answer=LogPage)
async def logs(call: Call[None]) -> LogPage:
    """List logs of builds, newest first."""
    state: SwarmState = call.state
    query: LogsQuery = call.query
    before_unix_us, before_id = OFFSET_MAX, ""
    if query.cursor:
        match = CURSOR.fullmatch(query.cursor)
        if match is None:
            raise BadInput("no such cursor", field="cursor", hint="send what the list before said as next")
        before_unix_us, before_id = int(match[1]), match[2]
    values = {
        "package": normalised(query.package) if query.package else "",
        "drone": query.drone,
        "session_id": query.session_id,
        "before_unix_us": before_unix_us,
        "before_id": before_id,
        "limit": query.limit + 1,
    }
    found = await state.build_logs.page(values)
    shown_logs = found[: query.limit]
    more = len(found) > query.limit
    return LogPage(
        items=tuple(_item(state.build_logs, one) for one in shown_logs),
        next=f"{shown_logs[-1].started_unix_us}-{shown_logs[-1].log_id}" if more else None,
    )


@own.get(f"{ONE}/about", caller=KEYED, answer=LogItem)
async def about(call: Call[None]) -> LogItem:
    """Say what is known of one log besides its text."""
    state: SwarmState = call.state
    return _item(state.build_logs, await state.build_logs.get(_log_id(call)))


@own.get(ONE, caller=KEYED, query=TextQuery, answer=Stream)
async def text(call: Call[None]) -> Stream:
    """Return the text as it was written, from an offset on; what is not kept is left out."""
    state: SwarmState = call.state
    found = await state.build_logs.get(_log_id(call))
    end = await state.build_logs.end_bytes(found.log_id)
    chunks = _chunks(state.build_logs, found.log_id, call.query.offset, end)
    return Stream(chunks=chunks, content_type="text/plain; charset=utf-8")


async def _chunks(logs: BuildLogs, log_id: str, offset: int, end: int) -> AsyncIterator[bytes]:
    # Up to where it ended when it was asked for: a log that grows must not make an answer without end.
    while offset < end:
        block = await logs.read(log_id, offset)
        if not block.pieces:
            return
        yield b"".join(piece.data for piece in block.pieces)
        offset = block.next_offset


@own.get(f"{ONE}/tail", caller=KEYED, query=TailQuery, answer=LogTail, waits=True)
async def tail(call: Call[None]) -> LogTail:
    """Return the next part of a log; with ``wait_seconds``, wait for it so long."""
    state: SwarmState = call.state
    found = await state.build_logs.get(_log_id(call))
    # Asked for before its text is read: what had ended then writes no more.
    is_live = state.build_logs.is_live(found.log_id)
    block = await state.build_logs.read(found.log_id, call.query.offset)
    if not block.pieces and is_live:
        with trio.move_on_after(call.query.wait_seconds):
            async with aclosing(state.build_logs.follow(found.log_id, call.query.offset)) as blocks:
                block = await anext(blocks, block)
        is_live = state.build_logs.is_live(found.log_id)
    return LogTail(
        log_id=found.log_id,
        text=b"".join(piece.data for piece in block.pieces).decode("utf-8", "replace"),
        missing_bytes=block.missing_bytes,
        next_offset=block.next_offset,
        is_over=not is_live and not block.pieces,
        status=found.outcome,
    )


@own.stream(f"{ONE}/stream", caller=KEYED, query=TextQuery)
async def stream(call: Call[Any]) -> AsyncIterator[ServerEvent]:
    """Send a log as it is written: events ``log``, ``gap`` where something is not kept, and ``end``.

    The id of each is where to go on: clients that lose the connection send it back as ``Last-Event-ID``.
    """
    state: SwarmState = call.state
    found = await state.build_logs.get(_log_id(call))
    offset = _resumed(call.head.header(b"last-event-id")) or call.query.offset
    async with aclosing(state.build_logs.follow(found.log_id, offset)) as blocks:
        async for block in blocks:
            if block.missing_bytes:
                yield ServerEvent(data={"missing_bytes": block.missing_bytes}, event="gap", event_id=str(block.offset))
            data = b"".join(piece.data for piece in block.pieces)
            offset = block.next_offset
            said = {"text": data.decode("utf-8", "replace"), "next_offset": offset}
            yield ServerEvent(data=said, event="log", event_id=str(offset))
    ended = await state.build_logs.get(found.log_id)
    yield ServerEvent(data={"status": ended.outcome, "next_offset": offset}, event="end", event_id=str(offset))


def _resumed(sent: str | None) -> int:
    return int(sent) if sent is not None and sent.isascii() and sent.isdigit() and len(sent) < 19 else 0


def _item(logs: BuildLogs, found: BuildLog) -> LogItem:
    return LogItem(
        log_id=found.log_id,
        atom=found.package,
        drone_id=found.drone_id,
        drone=found.drone_name,
        session_id=found.session_id,
        status=found.outcome,
        size_bytes=found.size_bytes,
        started_unix_s=to_unix_s(found.started_unix_us),
        ended_unix_s=None if found.ended_unix_us is None else to_unix_s(found.ended_unix_us),
        is_live=logs.is_live(found.log_id),
    )
