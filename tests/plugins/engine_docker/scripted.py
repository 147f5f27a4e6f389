"""An engine of a few scripted answers, for what a real one does once in a year."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import h11
import trio
from attrs import define, field

Answers = Callable[[str, str, Any], tuple[int, Any]]
"""Method, path without query, decoded body (``None`` for none) -> status, what is answered as JSON."""

VERSION: Mapping[str, Any] = {"Version": "27.1", "ApiVersion": "1.46", "MinAPIVersion": "1.24", "Arch": "amd64"}
INFO: Mapping[str, Any] = {
    "Driver": "overlay2",
    "DriverStatus": [["Backing Filesystem", "xfs"]],
    "Runtimes": {"runc": {}},
}


@define
class ScriptedEngine:
    """Serves a unix socket; `asked` has every request but the looks."""

    answers: Answers
    version: Mapping[str, Any] = VERSION
    info: Mapping[str, Any] = INFO
    asked: list[tuple[str, str]] = field(factory=list, init=False)
    paths: list[str] = field(factory=list, init=False)

    def _answer(self, method: str, target: str, body: bytes) -> tuple[int, Any]:
        path = target.partition("?")[0]
        self.paths.append(path)
        plain = "/" + path.removeprefix("/v").partition("/")[2] if path.startswith("/v1.") else path
        if plain == "/version":
            return 200, self.version
        if plain in ("/info", "/_ping"):
            return 200, self.info
        self.asked.append((method, plain))
        try:
            decoded = json.loads(body) if body else None
        except ValueError:
            decoded = body
        return self.answers(method, plain, decoded)

    async def _serve(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        body, request = b"", None
        async with stream:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await stream.receive_some(65_536))
                elif isinstance(event, h11.Request):
                    request = event
                elif isinstance(event, h11.Data):
                    body += event.data
                else:
                    break
            if request is None:
                return
            status, found = self._answer(request.method.decode(), request.target.decode(), body)
            content = found if isinstance(found, bytes) else json.dumps(found).encode()
            head = h11.Response(status_code=status, headers=[("Content-Length", str(len(content)))])
            data = (connection.send(head) or b"") + (connection.send(h11.Data(data=content)) or b"")
            await stream.send_all(data + (connection.send(h11.EndOfMessage()) or b""))


@asynccontextmanager
async def serving(path: Path, engine: ScriptedEngine) -> AsyncIterator[str]:
    """Serve until the end of the block; give the address as in DOCKER_HOST."""
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(str(path))
    listener.listen(16)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, engine._serve, [trio.SocketListener(listener)])
        yield f"unix://{path}"
        nursery.cancel_scope.cancel()
