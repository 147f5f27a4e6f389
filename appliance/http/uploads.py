"""Bodies that a handler reads as they arrive, for what may be larger than memory."""

from collections.abc import Awaitable, Callable
from typing import Any

from appliance.errors import ApplianceError
from appliance.http.pipeline import too_large


class CutShort(ApplianceError):
    """The client went away before its body had come; nobody reads the answer."""

    status = 400


class StreamedBody:
    """The body of one request as an iterator of chunks; can be read once.

    Reading raises `TooLarge` where it grows beyond its limit, and `CutShort` where the client is gone.
    """

    def __init__(self, receive: Callable[[], Awaitable[dict[str, Any]]], limit_bytes: int) -> None:
        self._receive = receive
        self._limit_bytes = limit_bytes
        self._length = 0
        self.is_over = False
        """Whether all of it has been read."""

    def __aiter__(self) -> "StreamedBody":
        return self

    async def __anext__(self) -> bytes:
        while not self.is_over:
            message = await self._receive()
            if message["type"] != "http.request":
                raise CutShort("the body ended before its time")
            data: bytes = message["body"]
            self._length += len(data)
            if self._length > self._limit_bytes:
                raise too_large(self._limit_bytes)
            self.is_over = not message.get("more_body")
            if data:
                return data
        raise StopAsyncIteration
