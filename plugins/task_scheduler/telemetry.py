"""What the telemetry WebSockets send: made once for everybody, when something changes and every few seconds."""

from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final

import msgspec
import trio
from attrs import define, field

from appliance.plugin import Lagged, Scheduler, text_frames

from .models import Worker
from .wire import answers
from .wire.workers import telemetry
from .workers import Workers

EVERY_SECONDS: Final = 5.0
"""At most this lies between two messages."""
APART_SECONDS: Final = 0.5
"""At least this does: however many tasks start and end, watchers are told twice a second."""


@define(eq=False)
class Telemetry:
    """Tells watchers of workers. Each gets the newest there is when it is ready for it, never a backlog."""

    scheduler: Scheduler
    workers: Workers
    never_zero: bool = False
    name: str = field(default="task_telemetry", init=False)
    watchers: int = field(default=0, init=False)
    """How many are being told."""
    _version: int = field(default=0, init=False)
    _made: dict[str, bytes] = field(factory=dict, init=False)
    _changed: trio.Event = field(factory=trio.Event, init=False)
    _dirty: trio.Event = field(factory=trio.Event, init=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell of changes at once, and of everything every `EVERY_SECONDS`, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow)
            task_status.started()
            while True:
                with trio.move_on_after(EVERY_SECONDS - APART_SECONDS):
                    await self._dirty.wait()
                self._dirty = trio.Event()
                self._publish()
                await trio.sleep(APART_SECONDS)

    def touch(self) -> None:
        """Say that something changed."""
        self._dirty.set()

    async def watch(self, worker_id: str = "") -> AsyncGenerator[bytes, None]:
        """Yield messages about one worker, or all, for as long as they are asked for: the first at once.

        :raises NotFound: there is no such worker, or not any more.
        """
        told = -1
        self.watchers += 1
        try:
            while True:
                changed = self._changed
                if told != self._version:
                    told = self._version
                    yield self._message(worker_id)
                else:
                    await changed.wait()
        finally:
            self.watchers -= 1

    async def _follow(self) -> None:
        while True:
            # Whoever lags behind has missed changes, and that something changed is all that matters here.
            with suppress(Lagged), self.scheduler.changes() as changes:
                async for _ in changes:
                    self.touch()
            self.touch()

    def _publish(self) -> None:
        self._made.clear()
        self._version += 1
        self._changed.set()
        self._changed = trio.Event()

    def _message(self, worker_id: str) -> bytes:
        made = self._made.get(worker_id)
        if made is None:
            found = [self.workers.get(worker_id)] if worker_id else self.workers.all()
            made = self._made[worker_id] = encoded(found, never_zero=self.never_zero)
        return made


def encoded(workers: list[Worker], *, never_zero: bool = False) -> bytes:
    """Return a message about some workers, as the frame that carries it."""
    shown = {each.worker_id: telemetry(each, never_zero=never_zero) for each in workers}
    return text_frames([msgspec.json.encode(answers.TelemetryMessage(workers=shown))])
