"""Talks to the appliance: over the control socket, or over HTTP to ``--server``; standard library only."""

import http.client
import json
import os
import socket
import ssl
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import quote, urlsplit

from attrs import define, frozen

from appliance.errors import ApplianceError

TIMEOUT_SECONDS = 60.0
LIMIT_BYTES = 64 * 1024 * 1024
COPY_BYTES = 1024 * 1024


class CommandFailed(ApplianceError):
    """A command cannot do what it was asked; printed as message and hint, exit 1."""


class NotRunning(CommandFailed):
    """Nothing answers on the data directory's control socket."""


@frozen
class Reply:
    """A good answer (status below 400)."""

    status: int
    text: str

    @property
    def json(self) -> Any:
        """The answer decoded; ``None`` when it has no body."""
        return json.loads(self.text) if self.text else None


class Api(Protocol):
    """Our own API as commands use it."""

    def request(self, method: str, path: str, body: Any = None) -> Reply:
        """Send one request; raises `CommandFailed` with the API's own message and hint."""
        ...


def segment(value: str) -> str:
    """Quote ``value`` as one segment of a path."""
    return quote(value, safe="")


def reply_or_raise(status: int, text: str, retry_after: str | None = None) -> Reply:
    """Return the reply, or raise what the API's error body says."""
    if status < 400:
        return Reply(status, text)
    message, hint = f"the appliance answered {status}", ""
    try:
        problem = json.loads(text)
    except ValueError:
        problem = None
    if isinstance(problem, dict):
        message = str(problem.get("error") or problem.get("message") or message)
        hint = str(problem.get("hint") or "")
        field = str(problem.get("field") or "")
        if field and not message.startswith(f"{field}:"):
            message = f"{field}: {message}"
    if retry_after and not hint:
        hint = f"try again in {retry_after} s"
    raise CommandFailed(message, hint=hint)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def control_socket(data_dir: Path) -> Path:
    """Return where the control socket of a data directory is: recorded when its path would be too long."""
    recorded = data_dir / "run" / "control"
    usual = data_dir / "run" / "control.sock"
    try:
        path = Path(recorded.read_text(encoding="utf-8").strip())
        folder, owner_uid = path.parent.lstat(), data_dir.stat().st_uid
    except (OSError, ValueError):
        return usual
    # The record of an appliance that was killed names a folder under /tmp which anybody may have made again since:
    # whoever listens in it would be told passwords.
    is_ours = stat.S_ISDIR(folder.st_mode) and folder.st_uid == owner_uid and not folder.st_mode & 0o077
    return path if is_ours else usual


@define
class HttpApi:
    """The API of a running appliance: on its control socket, or at ``server`` with a token."""

    socket_path: Path | None = None
    server: str = ""
    token: str = ""

    def request(self, method: str, path: str, body: Any = None) -> Reply:
        """Send one request; raises `NotRunning` when nothing answers on the control socket."""
        payload = None if body is None else json.dumps(body).encode()
        with self._sent(method, path, payload, {} if body is None else {"Content-Type": "application/json"}) as answer:
            text = answer.read(LIMIT_BYTES + 1)
            if len(text) > LIMIT_BYTES:
                raise CommandFailed(f"the answer is larger than {LIMIT_BYTES} bytes")
            return reply_or_raise(answer.status, text.decode("utf-8", "replace"), answer.getheader("Retry-After"))

    def upload(self, path: str, source: BinaryIO, size_bytes: int) -> Reply:
        """PUT so many bytes of an open file, as they are; errors as of `request`."""
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size_bytes)}
        with self._sent("PUT", path, source, headers) as answer:
            return reply_or_raise(answer.status, answer.read(LIMIT_BYTES).decode("utf-8", "replace"))

    def download(self, path: str, target: BinaryIO) -> None:
        """GET ``path`` into an open file, however large it is; errors as of `request`."""
        with self._sent("GET", path, None, {}) as answer:
            if answer.status >= 400:
                reply_or_raise(answer.status, answer.read(LIMIT_BYTES).decode("utf-8", "replace"))
            while data := answer.read(COPY_BYTES):
                try:
                    target.write(data)
                except OSError as error:
                    raise CommandFailed(f"the download cannot be written: {error.strerror}") from error

    @contextmanager
    def _sent(self, method: str, path: str, payload: Any, more: dict[str, str]) -> Iterator[http.client.HTTPResponse]:
        """Send a request, lend its answer, and say in our words why there is none, or not all of it."""
        connection, prefix = self._connection()
        headers = {"Accept": "application/json", **more}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            # Whoever refuses a body may answer and end before all of it was sent.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, prefix + path, payload, headers)
            yield connection.getresponse()
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise self._refused() from error
        except PermissionError as error:
            raise CommandFailed(
                "the appliance runs as a service here, and you may not read its data directory",
                hint="use sudo, or `appliance login`",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise CommandFailed(f"no answer from {self.server or 'the appliance'}: {error}") from error
        finally:
            connection.close()

    def _connection(self) -> tuple[http.client.HTTPConnection, str]:
        if self.socket_path is not None:
            return _UnixConnection(self.socket_path), ""
        url = urlsplit(self.server if "://" in self.server else f"http://{self.server}")
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise CommandFailed(f"--server {self.server!r} is no http:// or https:// address")
        if url.scheme == "https":
            context = ssl.create_default_context(cafile=os.environ.get("APPLIANCE_CA_FILE") or None)
            secure = http.client.HTTPSConnection(url.hostname, url.port, timeout=TIMEOUT_SECONDS, context=context)
            return secure, url.path.rstrip("/")
        return http.client.HTTPConnection(url.hostname, url.port, timeout=TIMEOUT_SECONDS), url.path.rstrip("/")

    def _refused(self) -> CommandFailed:
        if self.socket_path is not None:
            return NotRunning("the appliance is not running", hint="start it with `appliance serve`")
        return CommandFailed(f"nothing answers at {self.server}", hint="is the appliance running there?")
