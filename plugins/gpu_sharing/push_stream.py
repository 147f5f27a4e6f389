"""One agent's event stream, from the request within the tunnel to its end."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol, TypeVar

import trio
from attrs import define, field, frozen

from .push_frames import COMMENT, Outbox, Topics, read_topics
from .push_head import PushRefused, RequestHead

_T = TypeVar("_T")

PATHS: Final = ("/v1/stream", "/stream")
"""The second is what the first agents asked for."""
ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
LAST_CHUNK: Final = b"0\r\n\r\n"


class Changes(Protocol):
    """What the proxy asks about agents; none of it may take long."""

    def knows(self, agent_id: str) -> bool:
        """Return whether there is such an agent."""
        ...

    def subscribe(self, agent_id: str) -> AsyncIterator[int]:
        """Yield an agent's config versions as they change; end when the agent is gone or its secret revoked.

        Versions may be left out when newer ones follow. It may begin with the present one: the agent then fetches its
        config once per stream, and misses nothing that changed between two streams.
        """
        ...

    def restarts(self, agent_id: str) -> AsyncIterator[Sequence[str]]:
        """Yield the ids of workers that the agent is to restart; end as `subscribe` does."""
        ...


@frozen(kw_only=True)
class Pace:
    """The times of a stream, in seconds."""

    keep_alive_seconds: float = 15.0
    """After which a silent stream gets a comment. Agents wait for ever; what is between may forget after a minute."""
    send_seconds: float = 10.0
    """For the other side to take what is sent; then it is cut off."""


def topics_of(head: RequestHead, host: str) -> Topics:
    """Return what a request for a stream is about; raises `PushRefused`."""
    if (head.value("host") or "").lower() not in (host, f"{host}:443"):
        raise PushRefused(421, f"only {host} is served here")
    if head.is_old:
        raise PushRefused(505, "a stream needs HTTP/1.1")
    if head.target.partition("?")[0] not in PATHS:
        raise PushRefused(404, f"there is nothing but {PATHS[0]} here")
    if head.method != "GET":
        raise PushRefused(405, "a stream is fetched with GET", headers=(("allow", "GET"),))
    topic = head.value("x-sse-topic")
    if topic is None:
        raise PushRefused(400, "the x-sse-topic header is missing")
    return read_topics(topic)


@define(eq=False)
class EventStream:
    """Serves one stream until the agent hangs up, reads too slowly, or is gone."""

    stream: trio.abc.Stream
    topics: Topics
    changes: Changes
    pace: Pace
    on_frame: Callable[[], None]
    """Is told of each frame sent."""
    _outbox: Outbox = field(init=False)
    _news: trio.Event = field(factory=trio.Event, init=False)
    _is_over: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._outbox = Outbox(self.topics)

    async def run(self) -> None:
        """Answer, then send what happens; returns when the stream is over, for whatever reason."""
        agent_id = self.topics.agent_id
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._until_hang_up, nursery.cancel_scope)
            if self.topics.config:
                nursery.start_soon(self._follow, self.changes.subscribe(agent_id), self._outbox.changed)
            if self.topics.restarts:
                nursery.start_soon(self._follow, self.changes.restarts(agent_id), self._outbox.restart)
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                await self._send(ANSWER + _chunk(COMMENT))
                await self._write()
            nursery.cancel_scope.cancel()

    async def _write(self) -> None:
        while True:
            now = trio.current_time()
            frames = self._outbox.take(now)
            if frames:
                await self._send(_chunk(frames))
                self.on_frame()
                continue
            if self._is_over:
                await self._send(LAST_CHUNK)
                return
            self._news = trio.Event()
            wait = min(self.pace.keep_alive_seconds, self._outbox.due_seconds(now))
            with trio.move_on_after(wait) as silence:
                await self._news.wait()
            if silence.cancelled_caught and wait == self.pace.keep_alive_seconds:
                await self._send(_chunk(COMMENT))

    async def _send(self, data: bytes) -> None:
        with trio.fail_after(self.pace.send_seconds):
            await self.stream.send_all(data)

    async def _follow(self, items: AsyncIterator[_T], note: Callable[[_T], None]) -> None:
        try:
            async for item in items:
                note(item)
                self._news.set()
        finally:
            close = getattr(items, "aclose", None)  # an async generator is closed by the task that ran it
            if close is not None:
                with trio.move_on_after(1, shield=True):
                    await close()
        self._is_over = True
        self._news.set()

    async def _until_hang_up(self, scope: trio.CancelScope) -> None:
        # Agents send nothing after their request: whatever comes, the end above all, ends the stream.
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self.stream.receive_some(1)
        scope.cancel()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
