"""The server over HTTP: one request, one connection, each with a deadline, by the standard library alone."""

import http.client
import json
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import trio
from attrs import define, field, frozen

from . import answers
from .models import Assignment, Orders, Refused, Unreachable, Verdict

ANSWER_MAX_BYTES: Final = 8_388_608
CONNECT_SECONDS: Final = 10.0
REQUEST_SECONDS: Final = 60.0
UPLOAD_SECONDS: Final = 3_600.0
LOST_STATUSES: Final = frozenset({408, 425, 429})
"""Below 500, and yet better later."""
T = TypeVar("T")


@frozen(kw_only=True)
class Address:
    """Where the server is."""

    scheme: str
    host: str
    port: int | None
    prefix: str


def read_address(url: str) -> Address:
    """Read what ``--server`` says; raise `ValueError` where it is no HTTP address."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is no http:// or https:// address")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a secret in the address would be seen by everybody here: use --token-file")
    return Address(scheme=parts.scheme, host=parts.hostname, port=parts.port, prefix=parts.path.rstrip("/"))


@define(eq=False)
class HttpServer:
    """Speaks to the documented endpoints, and to our own for binaries and logs."""

    address: Address
    drone_id: str
    name: str
    cores: int
    token: str = field(default="", repr=False)
    ca_file: str | None = None
    """Certificates to trust in place of the system's."""
    request_seconds: float = REQUEST_SECONDS

    async def register(self, beat: Mapping[str, Any]) -> Orders:
        """POST /api/v1/register."""
        return answers.orders(await self._json("POST", "/api/v1/register", beat))

    async def work(self) -> Assignment:
        """GET /api/v1/work."""
        query = urlencode({"id": self.drone_id, "cores": self.cores})
        return answers.assignment(await self._json("GET", f"/api/v1/work?{query}"))

    async def complete(self, report: Mapping[str, Any]) -> Verdict:
        """POST /api/v1/complete."""
        return answers.verdict(await self._json("POST", "/api/v1/complete", report))

    async def upload(self, path: str, file: Path, sha256: str) -> None:
        """PUT a binary package below /api/appliance/binhost/staging."""
        target = f"/api/appliance/binhost/staging/{quote(path)}"
        headers = {"Content-Type": "application/octet-stream", "X-Content-SHA256": sha256}

        def send() -> dict[str, Any]:
            with file.open("rb") as opened:
                size = opened.seek(0, 2)
                opened.seek(0)
                # The server reads the whole package before it answers.
                return self._exchange("PUT", target, opened, {**headers, "Content-Length": str(size)}, UPLOAD_SECONDS)

        await self._in_thread(send, UPLOAD_SECONDS)

    async def log(self, log_id: str, package: str, offset: int, data: bytes, outcome: str) -> int:
        """PUT a part of a log to /api/appliance/swarm/logs."""
        about = {"drone_id": self.drone_id, "drone": self.name, "package": package, "offset": offset}
        query = urlencode(about | ({"outcome": outcome} if outcome else {}))
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(len(data))}
        path = f"/api/appliance/swarm/logs/{quote(log_id, safe='')}?{query}"
        answer = await self._in_thread(lambda: self._exchange("PUT", path, data, headers), self.request_seconds)
        after = answer.get("next_offset")
        if not isinstance(after, int) or isinstance(after, bool) or after < 0:
            raise Refused(200, "an answer without next_offset")
        return after

    async def _json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        payload = None if body is None else json.dumps(body).encode()
        headers = {} if payload is None else {"Content-Type": "application/json"}
        return await self._in_thread(lambda: self._exchange(method, path, payload, headers), self.request_seconds)

    async def _in_thread(self, send: Callable[[], T], seconds: float) -> T:
        # A thread that still waits for the server is left behind: its socket has time-outs of its own.
        with trio.move_on_after(seconds):
            return await trio.to_thread.run_sync(send, abandon_on_cancel=True)
        raise Unreachable(f"no answer within {seconds:g} s")

    def _exchange(
        self, method: str, path: str, payload: Any, headers: Mapping[str, str], answer_seconds: float | None = None
    ) -> dict[str, Any]:
        try:
            connection = self._connection()
            try:
                connection.connect()
                connection.sock.settimeout(answer_seconds or self.request_seconds)
                return self._asked(connection, method, path, payload, headers)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unreachable(str(error) or type(error).__name__) from error

    def _asked(
        self, connection: http.client.HTTPConnection, method: str, path: str, payload: Any, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        sent = {"Accept": "application/json", "Connection": "close", "User-Agent": "appliance-drone", **headers}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        # Who refuses a body may answer and end before all of it was sent.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, self.address.prefix + path, payload, sent)
        with connection.getresponse() as answer:
            text = answer.read(ANSWER_MAX_BYTES + 1)
            if len(text) > ANSWER_MAX_BYTES:
                raise Unreachable(f"an answer of more than {ANSWER_MAX_BYTES} bytes", answered=True)
            return read_answer(answer.status, text)

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self.address.host, self.address.port
        if self.address.scheme == "https":
            context = ssl.create_default_context(cafile=self.ca_file)
            return http.client.HTTPSConnection(host, port, timeout=CONNECT_SECONDS, context=context)
        return http.client.HTTPConnection(host, port, timeout=CONNECT_SECONDS)


def read_answer(status: int, text: bytes) -> dict[str, Any]:
    """Return what an answer says; raise `Refused` or `Unreachable` where it is no good one."""
    try:
        decoded = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        decoded = None
    if status >= 500 or status in LOST_STATUSES:
        raise Unreachable(f"{status}: {_said(decoded)}", answered=True)
    if status >= 300:
        raise Refused(status, _said(decoded))
    if not isinstance(decoded, dict):
        raise Unreachable("an answer that is no JSON object: is that a swarm's server?", answered=True)
    return decoded


def _said(decoded: Any) -> str:
    said = decoded.get("error") or decoded.get("message") if isinstance(decoded, dict) else ""
    return "".join(one for one in str(said or "no reason given")[:500] if one.isprintable())
