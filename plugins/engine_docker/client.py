"""One HTTP request to a container engine, over a unix socket or TLS, with a bound on everything.

Each request has a connection of its own: on a unix socket that costs next to nothing, nothing stale is ever reused, and
a stream that is left half read takes nobody's place.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlencode

import h11
import trio
from attrs import define, field, frozen

from appliance.plugin import EngineLost

from .address import Address

CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 120.0
"""A busy engine takes long to make a container; one that is silent for longer is taken for lost."""
RECEIVE_BYTES: Final = 65_536
HEAD_BYTES_MAX: Final = 65_536
JSON_BYTES_MAX: Final = 16 * 2**20
ERROR_BYTES_MAX: Final = 65_536
MESSAGE_MAX: Final = 2_000

# What can go wrong between us and an engine that is not there, goes away, or speaks no HTTP.
_FAILURES: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError, trio.TooSlowError)

Query = Mapping[str, str | int]


class Refused(Exception):
    """The engine understood and said no; ``status`` is HTTP's, ``message`` the engine's own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Silent(EngineLost):
    """The engine was silent for longer than agreed; where it may be (a task without output), that says nothing."""


@frozen(kw_only=True)
class Upload:
    """A body that is sent as it is made."""

    chunks: AsyncIterator[bytes]
    content_type: str = "application/x-tar"


@define
class Answer:
    """The answer to one request: its status, and a body that is read on demand."""

    status: int
    _connection: h11.Connection
    _stream: trio.abc.Stream
    _idle_seconds: float
    _ended: bool = field(default=False, init=False)

    async def receive(self) -> bytes:
        """Return the next piece of the body, empty at its end.

        :raises EngineLost: the engine went away in the middle of it, or was silent for too long.
        """
        if self._ended:
            return b""
        event = await _next(self._connection, self._stream, self._idle_seconds)
        if isinstance(event, h11.Data):
            return bytes(event.data)
        if isinstance(event, h11.EndOfMessage):
            self._ended = True
            return b""
        raise EngineLost("the engine's answer broke off")

    async def read(self, limit_bytes: int) -> bytes:
        """Return the whole body.

        :raises EngineLost: it is larger than ``limit_bytes``, or as for `receive`.
        """
        body = bytearray()
        while piece := await self.receive():
            body += piece
            if len(body) > limit_bytes:
                raise EngineLost(f"the engine's answer is larger than {limit_bytes} bytes")
        return bytes(body)


@frozen(kw_only=True)
class Client:
    """Sends requests to one engine."""

    address: Address
    prefix: str = ""
    """The API's version before every path, such as ``/v1.41``."""
    answer_seconds: float = field(default=ANSWER_SECONDS)

    @asynccontextmanager
    async def open(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        answer_seconds: float | None = None,
        idle_seconds: float | None = None,
    ) -> AsyncGenerator[Answer]:
        """Send a request and give its answer, whose connection is closed at the end.

        :param body: an `Upload`, or what is sent as JSON; ``None`` sends nothing.
        :param answer_seconds: longest wait for the answer's head; also for each piece of the body unless
            ``idle_seconds`` says otherwise (``math.inf`` waits as long as it takes).
        :raises EngineLost: the engine cannot be reached, breaks off or is silent.
        :raises Refused: it answered with a status of 400 and above.
        """
        seconds = self.answer_seconds if answer_seconds is None else answer_seconds
        target = self.prefix + path + ("?" + urlencode(query) if query else "")
        stream = await self._connect()
        try:
            connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES_MAX)
            await self._send(connection, stream, method, target, body, seconds)
            event = await _next(connection, stream, seconds)
            while isinstance(event, h11.InformationalResponse):
                event = await _next(connection, stream, seconds)
            if not isinstance(event, h11.Response):
                raise EngineLost(f"the engine at {self.address} closed the connection without an answer")
            answer = Answer(event.status_code, connection, stream, seconds if idle_seconds is None else idle_seconds)
            if answer.status >= 400:
                raise Refused(answer.status, message_of(await answer.read(ERROR_BYTES_MAX)))
            yield answer
        finally:
            await trio.aclose_forcefully(stream)

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        answer_seconds: float | None = None,
        limit_bytes: int = JSON_BYTES_MAX,
    ) -> tuple[int, bytes]:
        """Send a request and return status and body of its answer; raises as `open` does."""
        async with self.open(method, path, query=query, body=body, answer_seconds=answer_seconds) as answer:
            return answer.status, await answer.read(limit_bytes)

    async def _connect(self) -> trio.abc.Stream:
        address = self.address
        try:
            with trio.fail_after(CONNECT_SECONDS):
                if address.socket is not None:
                    return await trio.open_unix_socket(str(address.socket))
                plain = await trio.open_tcp_stream(address.host, address.port)
                if address.tls is None:
                    return plain
                # https_compatible: the engine closes without TLS's own goodbye, as web servers do.
                secure = trio.SSLStream(plain, address.tls, server_hostname=address.host, https_compatible=True)
                try:
                    await secure.do_handshake()
                except BaseException:
                    await trio.aclose_forcefully(plain)
                    raise
                return secure
        except trio.TooSlowError as error:
            raise EngineLost(f"the engine at {address} takes no connection") from error
        except (OSError, trio.BrokenResourceError) as error:
            raise EngineLost(f"no connection to the engine at {address}: {_words(error)}") from error

    async def _send(
        self, connection: h11.Connection, stream: trio.abc.Stream, method: str, target: str, body: Any, seconds: float
    ) -> None:
        headers = [("Host", "engine"), ("User-Agent", "appliance"), ("Connection", "close")]
        content = b"" if body is None or isinstance(body, Upload) else json.dumps(body).encode()
        if isinstance(body, Upload):
            headers += [("Content-Type", body.content_type), ("Transfer-Encoding", "chunked")]
        elif body is not None:
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
        elif method != "GET":
            headers += [("Content-Length", "0")]
        try:
            with trio.fail_after(seconds):
                head = connection.send(h11.Request(method=method, target=target, headers=headers)) or b""
                await stream.send_all(head + (connection.send(h11.Data(data=content)) or b"" if content else b""))
            if isinstance(body, Upload):
                async for chunk in body.chunks:
                    with trio.fail_after(seconds):
                        await stream.send_all(connection.send(h11.Data(data=chunk)) or b"")
            with trio.fail_after(seconds):
                await stream.send_all(connection.send(h11.EndOfMessage()) or b"")
        except trio.TooSlowError as error:
            raise EngineLost(f"the engine at {self.address} takes nothing") from error
        except (OSError, trio.BrokenResourceError):
            # It may have answered (no room, no such container) before it had read everything: the answer tells.
            connection.send_failed()


async def _next(connection: h11.Connection, stream: trio.abc.Stream, seconds: float) -> Any:
    try:
        with trio.fail_after(seconds):
            while (event := connection.next_event()) is h11.NEED_DATA:
                connection.receive_data(bytes(await stream.receive_some(RECEIVE_BYTES)))
    except trio.TooSlowError as error:
        raise Silent(f"the engine was silent for {seconds:.0f} s") from error
    except _FAILURES as error:
        raise EngineLost(f"the engine's answer broke off: {_words(error)}") from error
    return event


def message_of(body: bytes) -> str:
    """Return the engine's own words in an answer that refuses; Docker and Podman say ``message``, some proxies text."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    words = found.get("message") if isinstance(found, dict) else None
    text = words if isinstance(words, str) and words else body.decode("utf-8", "replace")
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())[:MESSAGE_MAX]


def _words(error: BaseException) -> str:
    cause = error.__cause__ if isinstance(error, trio.BrokenResourceError) and error.__cause__ else error
    return (cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)) or type(cause).__name__
