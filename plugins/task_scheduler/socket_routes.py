"""The documented WebSockets: telemetry, and the log of a task."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import msgspec
import trio
from attrs import field, frozen
from attrs.validators import ge

from appliance.plugin import Call, NotFound, Socket, SocketClosed

from .log_stream import Following
from .routes import api
from .state import TaskState
from .wire import messages

POLICY_VIOLATION = 1008
"""RFC 6455, 7.4.1: for what fits no other code, such as an id that nobody has."""


@frozen(kw_only=True)
class LogStreamQuery:
    """Where to begin."""

    offset: int = field(default=0, validator=ge(0))
    """Ours: ``next_offset`` of the last message that was received; 0 for the start."""


@api.websocket("/ws/telemetry", access="open")
async def telemetry(call: Call[None], socket: Socket) -> None:
    """Send what every worker does: at once, on every change, and every five seconds."""
    await _telemetry(call, socket, "")


@api.websocket("/ws/telemetry/{worker_id}", access="open")
async def telemetry_of_worker(call: Call[None], socket: Socket) -> None:
    """Send what one worker does: at once, on every change, and every five seconds."""
    await _telemetry(call, socket, call.path["worker_id"])


async def _telemetry(call: Call[None], socket: Socket, worker_id: str) -> None:
    state: TaskState = call.state
    async with _listened(socket), aclosing(state.telemetry.watch(worker_id)) as parts:
        try:
            async for frames in parts:
                await socket.send_frames(frames)
        except NotFound as error:
            await _refuse(socket, messages.StreamError(worker_id=worker_id, error=error.message))


@api.websocket("/ws/tasks/{task_id}/logs", access="open", query=LogStreamQuery)
async def logs(call: Call[None], socket: Socket) -> None:
    """Send a task's log from its start on, line by line as it is written, and how the task ended."""
    state: TaskState = call.state
    task_id = call.path["task_id"]
    async with _listened(socket):
        try:
            record = state.record(call.caller, task_id)
        except NotFound as error:
            await _refuse(socket, messages.StreamError(task_id=task_id, error=error.message))
            return
        following = Following(state.core.scheduler, record, call.query.offset)
        async with aclosing(following.frames()) as parts:
            async for frames in parts:
                await socket.send_frames(frames)
        await socket.close()


@asynccontextmanager
async def _listened(socket: Socket) -> AsyncIterator[None]:
    """Drop what the other side sends, until it is gone: clients have nothing to say here."""
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            try:
                while True:
                    await socket.receive()
            except SocketClosed:
                nursery.cancel_scope.cancel()

        nursery.start_soon(listen)
        with suppress(SocketClosed):
            yield
        nursery.cancel_scope.cancel()


async def _refuse(socket: Socket, error: Any) -> None:
    await socket.send(msgspec.json.encode(error).decode())
    await socket.close(POLICY_VIOLATION, error.error)
