"""Tells streams which servers have a newer sample; a slow reader skips what it was too slow for, and nobody waits."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio
from attrs import define, field


@define(eq=False)
class Reader:
    """One stream's view: the servers that have reported since it last looked."""

    server_id: int | None
    """``None``: all servers."""
    _pending: dict[int, None] = field(factory=dict, init=False)
    _news: trio.Event = field(factory=trio.Event, init=False)

    def tell(self, server_id: int) -> None:
        """Note that a server has a newer sample."""
        if self.server_id is None or self.server_id == server_id:
            self._pending[server_id] = None
            self._news.set()

    async def next(self) -> list[int]:
        """Return the servers with news, waiting for the first; each at most once."""
        await self._news.wait()
        self._news = trio.Event()
        pending, self._pending = list(self._pending), {}
        return pending


@define(eq=False)
class Feed:
    """Everybody who follows servers' samples."""

    _readers: set[Reader] = field(factory=set, init=False)

    def tell(self, server_id: int) -> None:
        """Tell every reader of a server's newer sample."""
        for reader in self._readers:
            reader.tell(server_id)

    @contextmanager
    def reading(self, server_id: int | None) -> Iterator[Reader]:
        """Follow one server, or all."""
        reader = Reader(server_id)
        self._readers.add(reader)
        try:
            yield reader
        finally:
            self._readers.discard(reader)
