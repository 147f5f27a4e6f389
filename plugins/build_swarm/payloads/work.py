"""Work that goes on when whoever asked for it has hung up."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import trio
from attrs import define, field

from appliance.plugin import Busy

T = TypeVar("T")
JOBS_MAX: Final = 64


@define(eq=False)
class _Job:
    work: Callable[[], Awaitable[Any]]
    done: trio.Event = field(factory=trio.Event)
    result: Any = None
    failure: Exception | None = None

    async def run(self) -> None:
        # Until it has ended in another way, it has ended with us.
        self.failure = Busy("the appliance is stopping", hint="the deploy log says how it ended")
        try:
            self.result = await self.work()
            self.failure = None
        except Exception as failure:
            # Told to who waits; when nobody does any more, the deploy log has it.
            self.failure = failure
        finally:
            self.done.set()


@define(eq=False)
class Work:
    """The service in whose tasks deploys run: a request waits for its own, and may go away meanwhile."""

    prepare: Callable[[], Awaitable[None]]
    """Called before it is usable."""
    name: str = "payloads"
    _send: trio.MemorySendChannel[_Job] = field(init=False)
    _receive: trio.MemoryReceiveChannel[_Job] = field(init=False)
    _under_way: int = field(default=0, init=False)
    _is_running: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[_Job](JOBS_MAX)

    async def do(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run something to its end and return what it returns, or raise what it raises.

        A caller that is cancelled leaves it going on.

        :raises Busy: too much is under way, or this part is not running.
        """
        job = self._given(work)
        await job.done.wait()
        if job.failure is not None:
            raise job.failure
        result: T = job.result
        return result

    def start(self, work: Callable[[], Awaitable[Any]]) -> None:
        """Have something done that nobody waits for; errors as of `do`."""
        self._given(work)

    def _given(self, work: Callable[[], Awaitable[Any]]) -> _Job:
        if not self._is_running:
            raise Busy("nothing is deployed now: that part of the swarm is starting or stopping")
        if self._under_way >= JOBS_MAX:
            raise Busy(f"{JOBS_MAX} deploys are under way already", hint="try again when some are over")
        job = _Job(work)
        self._under_way += 1
        self._send.send_nowait(job)
        return job

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled."""
        await self.prepare()
        self._is_running = True
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                async for job in self._receive:
                    nursery.start_soon(self._work, job)
        finally:
            self._is_running = False
            self._under_way = 0
            while self._receive.statistics().current_buffer_used:
                job = self._receive.receive_nowait()
                job.failure = Busy("the appliance is stopping", hint="nothing has been done")
                job.done.set()

    async def _work(self, job: _Job) -> None:
        try:
            await job.run()
        finally:
            self._under_way -= 1
