"""Endpoints, declared once: what a surface says about each, and what its handlers are given and may answer.

A surface is declared at import time and bound to its plugin's state in setup::

    api = Surface("acme", prefixes=("/api/acme",))

    @api.get("/api/acme/fans/{fan_id}", caller=PERSON, answer=Fan)
    async def fan(call: Call[None]) -> Fan: ...

    Parts(surfaces=[api.bind(state)])

Handlers never touch a web framework, start no task and hold no state but ``call.state``. They raise
`ApplianceError`; the edge renders it through the surface's own ``errors``.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

from attrs import define, field, frozen

from appliance.credentials.kinds import ANONYMOUS, PERSON, Caller, Kind, Role
from appliance.errors import ApplianceError

Access = Literal["public", "open", "keyed"]
"""public: anyone, rate limited. open: documented without a credential, answered on trusted requests, from the
surface's ``open_to``, or with a credential. keyed: a trusted request (where ``caller`` allows a person) or a
credential."""

Slash = Literal["exact", "strip", "both"]
"""Trailing slashes: as declared; extra ones ignored; with and without are the same path."""

BodyT = TypeVar("BodyT")
StateT = TypeVar("StateT")


class Raw:
    """The type of `RAW`: the body reaches the handler as undecoded ``bytes``."""


RAW = Raw()


class Streamed(Raw):
    """The type of `STREAMED`: the body reaches the handler as an ``AsyncIterator[bytes]``, while it arrives."""


STREAMED = Streamed()


@define(kw_only=True, eq=False)
class Head:
    """The start of a request, before its body is read: what authentication and routing see.

    Only the edge and its ``authenticate`` write to it, and only ``trusted`` and what ``connection`` remembers.
    """

    method: str
    path: str
    """Decoded, leading double slashes folded, without the query."""
    raw_query: bytes
    headers: Sequence[tuple[bytes, bytes]]
    """Names in lower case, in order of arrival."""
    peer: tuple[str, int] | None
    """Address and port of the other side; ``None`` on a unix socket."""
    local: tuple[str, int] | str
    """Our own address and port, or the unix socket's path."""
    listener: str
    """The listener's name: its address as configured."""
    scheme: str
    path_values: Mapping[str, str] = field(factory=dict)
    trusted: bool = False
    peer_uid: int | None = None
    """On a unix socket the uid of the other side as the kernel saw it connect; ``None`` on TCP."""
    connection: dict[str, Any] = field(factory=dict)
    """What is known of the connection and stays known until it closes (a peer's uid, asked once)."""

    def header(self, name: bytes) -> str | None:
        """Return the first header called ``name`` (lower case), Latin-1 decoded, or ``None``."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return None


@define(kw_only=True)
class Call(Generic[BodyT]):
    """One request, as a handler sees it."""

    head: Head
    caller: Caller = ANONYMOUS
    body: BodyT
    raw: bytes = b""
    """The body as it was sent."""
    query: Any = None
    """An instance of the endpoint's ``query`` model, or ``None``."""
    state: Any = None
    """What `Surface.bind` was given."""
    request_id: str = ""

    @property
    def path(self) -> Mapping[str, str]:
        """Values of the path's ``{names}``."""
        return self.head.path_values

    @property
    def trusted(self) -> bool:
        """Whether the request came from a trusted local process without forwarding headers."""
        return self.head.trusted


@frozen(kw_only=True)
class Cookie:
    """One ``Set-Cookie``; Path is ``/``, SameSite is Lax, Secure is added on TLS."""

    name: str
    value: str
    max_age_seconds: int | None = None
    """``0`` deletes the cookie; ``None`` lasts for the browser's session."""
    http_only: bool = True


@frozen(kw_only=True)
class Answer:
    """An answer that needs more than a model: a status, headers, cookies."""

    model: Any = None
    """Anything msgspec can encode, ``bytes`` or ``str`` (with ``content_type``), or ``None`` for an empty body."""
    status: int | None = None
    """``None`` means the endpoint's declared status."""
    headers: tuple[tuple[str, str], ...] = ()
    cookies: tuple[Cookie, ...] = ()
    content_type: str | None = None
    """``None`` means ``application/json``."""


@frozen(kw_only=True)
class File:
    """A file of the host as the answer, with ranges, ETag and Last-Modified."""

    path: Path
    content_type: str = "application/octet-stream"
    name: str | None = None
    """Offered as attachment under this name when set."""
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers; without a Cache-Control among them, clients keep the file and ask whether it has changed."""
    since_seconds: int = 0
    """How much later than Last-Modified an If-Modified-Since must be to count: what clients add to what they know."""


@frozen(kw_only=True)
class Stream:
    """A body of unknown length, sent as it is made; the iterator is closed when the client goes away."""

    chunks: AsyncIterator[bytes]
    content_type: str = "application/octet-stream"


@frozen(kw_only=True)
class ServerEvent:
    """One server-sent event (WHATWG HTML, 9.2); ``data`` is encoded as JSON on one line."""

    data: Any
    event: str = "message"
    event_id: str | None = None


@frozen(kw_only=True)
class Redirect:
    """Send the client elsewhere; ``location`` is a path of ours or an absolute URL."""

    location: str
    status: int = 302


class Socket(Protocol):
    """One accepted WebSocket, as a handler sees it."""

    async def receive(self) -> str | bytes:
        """Return the next message; raises `SocketClosed` when the other side is gone."""
        ...

    async def send(self, message: str | bytes) -> None:
        """Send one message; raises `SocketClosed` when the other side is gone."""
        ...

    async def send_frames(self, frames: bytes) -> None:
        """Send what `text_frames` made, in one write: the same bytes for any number of sockets.

        Raises `SocketClosed` when the other side is gone.
        """
        ...

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close with a status code of RFC 6455, 7.4."""
        ...


class SocketClosed(Exception):
    """The other side of a WebSocket is gone."""


Handler = Callable[[Call[Any]], Awaitable[Any]]
StreamHandler = Callable[[Call[Any]], AsyncIterator[ServerEvent]]
SocketHandler = Callable[[Call[Any], Socket], Awaitable[None]]
ErrorRenderer = Callable[[ApplianceError, Head], Answer]
Authenticate = Callable[[Head, Any], Caller | None]
"""``authenticate(head, state)``: runs before the body is read; returns the caller, ``None`` to leave it to core's
credentials, or raises one of our errors. Synchronous: look-ups are point reads."""
Decode = Callable[[bytes, Head], Any]
"""Turns a raw body into the endpoint's model in the surface's own way; raises `BadInput`."""
Shortcut = Callable[[bytes, Caller, Any], Any]
"""``shortcut(raw, caller, state)``: returns what stands in for the endpoint's model where a body is one that it knows,
``None`` where the body has to be read. Never raises, and knows only bodies that would be taken."""
Observe = Callable[[Any, Head, bytes, int, bytes, float], None]
"""``observe(state, head, body, status, answer, seconds)``: told of each answer of a declared HTTP endpoint, refusals
before the body is read included. Bodies are as they went over the wire: the answer may be compressed (its first two
bytes are then those of gzip), and is empty for files and streams. Called on the hot path: must not block."""


Admit = Callable[[Call[Any]], None]
"""``admit(call)``: looks at a request that has been let in and understood, and raises what is answered in its place.
The client of a WebSocket, which is not accepted then, gets status and error as of a plain request."""


@frozen(kw_only=True)
class Endpoint:
    """One declared endpoint."""

    surface: str
    kind: Literal["http", "stream", "websocket"]
    method: str
    path: str
    handler: Callable[..., Any]
    caller: frozenset[Kind] = PERSON
    role: Role = Role.VIEWER
    """The least role of callers that are people."""
    access: Access = "keyed"
    body: Any = None
    query: type[Any] | None = None
    answer: Any = None
    status: int = 200
    limit_bytes: int = 1_048_576
    hot: bool = False
    """Served in front of h11; see ``appliance/http/server.py``. Only for measured hot paths."""
    decode: Decode | None = None
    shortcut: Shortcut | None = None
    """Asked before the body is decoded. Only for measured hot paths."""
    admit: Admit | None = None
    """Asked last before the handler, and before a WebSocket is accepted. Synchronous: look-ups are point reads."""
    waits: bool = False
    """The handler may wait for long (a long poll): a client that goes away cancels it."""
    summary: str = ""
    audit: bool | None = None
    """Whether a success is written to the audit log; ``None``: unsafe methods by people are."""


@frozen(kw_only=True)
class Mount:
    """A folder of static files or a Quart blueprint under one prefix."""

    surface: str
    prefix: str
    target: Any
    caller: frozenset[Kind] = PERSON
    role: Role = Role.VIEWER
    access: Access = "keyed"


@frozen(kw_only=True)
class BoundSurface:
    """A surface with the state its handlers get."""

    surface: "Surface"
    state: Any


@define
class Surface:
    """A named set of declared endpoints with one error shape.

    ``prefixes`` are the path prefixes that are this surface's even where no endpoint claims the path, so that its
    404s, 405s and "not running" 503s have its own shape. ``errors`` renders any `ApplianceError`; ``authenticate``
    may take over who calls; ``decode`` may take over how bodies become models.
    """

    name: str
    prefixes: tuple[str, ...] = field(default=(), kw_only=True)
    errors: ErrorRenderer | None = field(default=None, kw_only=True)
    authenticate: Authenticate | None = field(default=None, kw_only=True)
    decode: Decode | None = field(default=None, kw_only=True)
    slash: Slash = field(default="exact", kw_only=True)
    cors: bool = field(default=False, kw_only=True)
    """Answer CORS for the origins in ``[server] allowed_origins``, errors and OPTIONS included."""
    origins_of: tuple[str, ...] = field(default=(), kw_only=True)
    """Names of surfaces: pages from our own listeners that serve one of them count as allowed origins here, for CORS,
    for trust and against forgery, where they are reached by the name or address that the request came by."""
    cors_headers: tuple[str, ...] = field(default=(), kw_only=True)
    """What CORS answers name as the headers that pages may send; empty: what a preflight asks for. With them every
    answer to an allowed origin names headers and methods, and OPTIONS is 200 on every path below the prefixes."""
    unknown_fields: Literal["ignore", "refuse"] = field(default="ignore", kw_only=True)
    trust: bool = field(default=True, kw_only=True)
    """Whether trust in a local process may stand in for a credential here; ``False`` where people log in."""
    observe: Observe | None = field(default=None, kw_only=True)
    """Is told of every answer; for a log of who said what."""
    pages: bool = field(default=False, kw_only=True)
    """Whether these are pages for people, which a listener's ``site`` takes the place of."""
    endpoints: list[Endpoint] = field(factory=list, init=False)
    mounts: list[Mount] = field(factory=list, init=False)

    def admits(self, kind: Kind) -> bool:
        """Whether anything here takes callers of this kind."""
        return any(kind in one.caller for one in self.endpoints) or any(kind in one.caller for one in self.mounts)

    def get(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        """Declare a GET (which answers HEAD too); keywords are the fields of `Endpoint`."""
        return self._endpoint("GET", path, declared)

    def post(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        """Declare a POST."""
        return self._endpoint("POST", path, declared)

    def put(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        """Declare a PUT."""
        return self._endpoint("PUT", path, declared)

    def patch(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        """Declare a PATCH."""
        return self._endpoint("PATCH", path, declared)

    def delete(self, path: str, **declared: Any) -> Callable[[Handler], Handler]:
        """Declare a DELETE."""
        return self._endpoint("DELETE", path, declared)

    def stream(self, path: str, **declared: Any) -> Callable[[StreamHandler], StreamHandler]:
        """Declare a GET that answers server-sent events; the handler is an async generator of `ServerEvent`."""

        def declare(handler: StreamHandler) -> StreamHandler:
            self._add("stream", "GET", path, handler, declared)
            return handler

        return declare

    def websocket(self, path: str, **declared: Any) -> Callable[[SocketHandler], SocketHandler]:
        """Declare a WebSocket; the handler is given the call and an accepted `Socket`."""

        def declare(handler: SocketHandler) -> SocketHandler:
            self._add("websocket", "GET", path, handler, declared)
            return handler

        return declare

    def mount(
        self,
        prefix: str,
        target: Any,
        *,
        caller: frozenset[Kind] = PERSON,
        role: Role = Role.VIEWER,
        access: Access = "keyed",
    ) -> None:
        """Serve a folder of static files (`Path`) or a Quart blueprint under ``prefix``."""
        self.mounts.append(
            Mount(surface=self.name, prefix=prefix, target=target, caller=caller, role=role, access=access)
        )

    def bind(self, state: Any) -> BoundSurface:
        """Tie the surface to the state its handlers read as ``call.state``."""
        return BoundSurface(surface=self, state=state)

    def _endpoint(self, method: str, path: str, declared: dict[str, Any]) -> Callable[[Handler], Handler]:
        def declare(handler: Handler) -> Handler:
            self._add("http", method, path, handler, declared)
            return handler

        return declare

    def _add(
        self,
        kind: Literal["http", "stream", "websocket"],
        method: str,
        path: str,
        handler: Callable[..., Any],
        declared: dict[str, Any],
    ) -> None:
        summary = declared.pop("summary", None) or (handler.__doc__ or "").strip().partition("\n")[0]
        self.endpoints.append(
            Endpoint(
                surface=self.name, kind=kind, method=method, path=path, handler=handler, summary=summary, **declared
            )
        )
