"""One request from its head to its answer: who calls, what they send, what the handler says.

Every way a request can come in (through ASGI, inside h11's read task, in front of h11) uses these two steps, so all
give the same answers: `Edge.open` looks at the head, before any body is read; `Edge.answer` has the body.
"""

import itertools
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote_to_bytes

import structlog
from attrs import define, field

from appliance.credentials.kinds import ANONYMOUS, Caller, Kind
from appliance.errors import ApplianceError, TooLarge
from appliance.http import docs
from appliance.http.answers import Reply, header, render
from appliance.http.body import BodyReader
from appliance.http.metrics import RequestMetrics
from appliance.http.origin import is_allowed_origin
from appliance.http.paths import split_target
from appliance.http.problems import Crashed, problem
from appliance.http.query import QueryReader
from appliance.http.routing import Match, Route, Table
from appliance.http.site import Site
from appliance.surface import RAW, Answer, BoundSurface, Call, Endpoint, Head, Raw, Surface

if TYPE_CHECKING:
    from appliance.http.connection import Connection

log = structlog.get_logger("appliance.http")

UNCLAIMED_BODY_BYTES = 65_536
ANY_METHOD = ("DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT")
"""What pages are told of paths that nobody has declared: the answer to what they ask then says that there is none."""
TRUSTED_KINDS = frozenset({Kind.TRUST, Kind.CONTROL})


class Authenticator(Protocol):
    """Decides who calls, or raises one of our errors (401, 403, 429 ...).

    Called once per request, before its body is read, unless the surface's own ``authenticate`` already named the
    caller. Synchronous. It also holds the rules on Host, Origin, trust, access class, role and rate: what it lets
    through reaches the handler. It may set ``head.trusted`` and remember things in ``head.connection``.
    """

    def __call__(self, head: Head, endpoint: Endpoint, bound: BoundSurface) -> Caller:
        """Return who calls."""
        ...


class Auditor(Protocol):
    """Is told of each success that the audit log wants; must not block."""

    def __call__(self, exchange: "Exchange", /) -> None:
        """Take one finished exchange."""
        ...


@define(eq=False)
class Exchange:
    """One request being answered."""

    head: Head
    match: Match
    request_id: str
    started_at: float
    """``time.perf_counter()`` when the head was complete."""
    caller: Caller = ANONYMOUS
    failure: ApplianceError | None = None
    """Decided from the head alone; the body is read only to keep the connection usable."""
    limit_bytes: int = UNCLAIMED_BODY_BYTES
    status: int = 0
    sent_bytes: int = 0

    @property
    def route(self) -> Route | None:
        """The endpoint, where the request has found one."""
        return self.match.route


@define(eq=False)
class _Readers:
    body: BodyReader | None
    query: QueryReader | None


@define(eq=False, kw_only=True)
class Edge:
    """What all listeners share: how requests are let in, answered, counted and written down."""

    authenticate: Authenticator
    still_valid: Callable[[Caller], bool] = lambda caller: True
    """Asked by streams and WebSockets every 30 s; ``False`` ends them."""
    audit: Auditor | None = None
    access_log: Callable[[Exchange], None] | None = None
    """Called after each answer; ``None`` writes no access log."""
    allowed_origins: Callable[[Head, Surface], Sequence[str]] = lambda head, surface: ()
    """Origins that a surface with ``cors`` answers to."""
    metrics: RequestMetrics = field(factory=RequestMetrics)
    unavailable: list[tuple[Surface, str]] = field(factory=list, init=False)
    _readers: dict[int, _Readers] = field(factory=dict, init=False)
    _ids: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        prefix = secrets.token_hex(4)
        self._ids = map(f"{prefix}-{{:x}}".format, itertools.count(1))

    def add_unavailable(self, surface: Surface, reason: str) -> None:
        """Answer 503 in the surface's own shape on all its paths: its plugin is not running because of ``reason``."""
        self.unavailable.append((surface, reason))

    def table(self, surfaces: Sequence[BoundSurface], site: Path | None = None) -> Table:
        """Make the routes of one listener, its own description among them; raises `ClaimConflict`.

        :param site: a folder with a front end that takes the place of our own pages there.
        """
        described = docs.Docs()
        shown = [one for one in surfaces if site is None or not one.surface.pages]
        table = Table.build(
            [*shown, docs.api.bind(described)],
            [one for one in self.unavailable if site is None or not one[0].pages],
        )
        table.site = Site(site) if site is not None else None
        described.routes = table.routes
        return table

    # ------------------------------------------------------------ the head

    def open(self, match: Match, head: Head) -> Exchange:
        """Let the caller in, or decide the failure; never raises an `Exception`."""
        exchange = Exchange(head, match, next(self._ids), time.perf_counter())
        route = match.route
        if route is None:
            exchange.failure = match.failure if isinstance(match.failure, ApplianceError) else None
            return exchange
        exchange.limit_bytes = route.endpoint.limit_bytes
        try:
            exchange.caller = self._caller(head, route)
        except ApplianceError as failure:
            exchange.failure = failure
        except (Exception, SystemExit):
            exchange.failure = self.crashed(exchange)
        return exchange

    def _caller(self, head: Head, route: Route) -> Caller:
        bound = route.bound
        own = bound.surface.authenticate
        caller = own(head, bound.state) if own is not None else None
        if caller is None:
            caller = self.authenticate(head, route.endpoint, bound)
        if caller.kind in TRUSTED_KINDS:
            head.trusted = True
        return caller

    # ------------------------------------------------------------ the answer

    async def answer(self, exchange: Exchange, body: bytes | AsyncIterator[bytes]) -> Reply:
        """Answer with the body at hand, whole, or where the endpoint wants it so, as it arrives.

        Raises only what cancels or ends the process.
        """
        head, route = exchange.head, exchange.match.route
        if exchange.failure is None and isinstance(body, bytes) and len(body) > exchange.limit_bytes:
            exchange.failure = too_large(exchange.limit_bytes)
        if exchange.failure is not None:
            return self._told(exchange, body, await self.failed(exchange, exchange.failure))
        if route is None:
            return self.finished(exchange, _options(exchange.match))
        try:
            call = self.call(exchange, body)
            reply = await render(await route.endpoint.handler(call), head, status=route.endpoint.status)
        except ApplianceError as failure:
            reply = await self.failed(exchange, failure)
        except (Exception, SystemExit):  # a plugin may call sys.exit: that ends its request, not the process
            reply = await self.failed(exchange, self.crashed(exchange))
        return self._told(exchange, body, reply)

    def _told(self, exchange: Exchange, body: bytes | AsyncIterator[bytes], reply: Reply) -> Reply:
        """Finish the answer, and tell the surface's observer of it, whose failures cost only itself."""
        reply = self.finished(exchange, reply)
        route = exchange.match.route
        if route is None or (observe := route.bound.surface.observe) is None:
            return reply
        try:
            sent = body if isinstance(body, bytes) else b""
            seconds = time.perf_counter() - exchange.started_at
            observe(route.bound.state, exchange.head, sent, reply.status, reply.body, seconds)
        except Exception:
            log.exception("answer could not be observed", request_id=exchange.request_id)
        return reply

    def finished(self, exchange: Exchange, reply: Reply) -> Reply:
        """Add what every answer of the surface has, and write it down."""
        surface = exchange.match.surface
        if surface is not None and surface.cors:
            reply.headers = [*reply.headers, *self._cors(exchange, surface)]
        self.record(exchange, reply)
        return reply

    def record(self, exchange: Exchange, reply: Reply) -> None:
        """Count the answer, and tell the audit log and the access log; their failures cost only themselves."""
        exchange.status = reply.status
        exchange.sent_bytes = reply.length if reply.length is not None else len(reply.body)
        self.metrics.count(exchange.route, reply.status, time.perf_counter() - exchange.started_at)
        try:
            if self.audit is not None and is_audited(exchange):
                self.audit(exchange)
            if self.access_log is not None:
                self.access_log(exchange)
        except Exception:
            log.exception("request could not be written down", request_id=exchange.request_id)

    async def failed(self, exchange: Exchange, failure: ApplianceError) -> Reply:
        """Render a failure in the shape of the surface that owns the path."""
        answer = problem(failure, exchange.head, exchange.match.surface)
        try:
            return await render(answer, exchange.head, status=failure.status)
        except Exception:
            log.exception("error answer could not be rendered", request_id=exchange.request_id)
            return await render(problem(failure, exchange.head, None), exchange.head, status=failure.status)

    def call(self, exchange: Exchange, body: Any) -> Call[Any]:
        """Decode and validate query and body into the `Call`; raises `BadInput` and the surface's own errors."""
        route = exchange.route
        assert route is not None
        endpoint, bound = route.endpoint, route.bound
        readers = self._readers.get(id(endpoint)) or self._make_readers(route)
        head = exchange.head
        query = readers.query.read(head.raw_query) if readers.query is not None else None
        content: Any = None
        if endpoint.shortcut is not None:
            content = endpoint.shortcut(body, exchange.caller, bound.state)
        if content is None:
            decode = endpoint.decode or (bound.surface.decode if endpoint.body not in (None, RAW) else None)
            if decode is not None:
                content = decode(body, head)
            elif readers.body is not None:
                content = readers.body.read(body)
            elif endpoint.body is not None:
                content = body
        call: Call[Any] = Call(
            head=head,
            caller=exchange.caller,
            body=content,
            raw=body if isinstance(body, bytes) else b"",
            query=query,
            state=bound.state,
            request_id=exchange.request_id,
        )
        if endpoint.admit is not None:
            endpoint.admit(call)
        return call

    def _make_readers(self, route: Route) -> _Readers:
        endpoint, surface = route.endpoint, route.bound.surface
        refuse = surface.unknown_fields == "refuse"
        body = None
        if endpoint.body is not None and endpoint.body is not RAW and not isinstance(endpoint.body, Raw):
            body = BodyReader.of(endpoint.body, refuse_unknown=refuse, whole_floats=not refuse)
        query = QueryReader.of(endpoint.query, refuse_unknown=refuse) if endpoint.query is not None else None
        made = _Readers(body, query)
        # Endpoints live as long as the process, so their identity is a safe key.
        self._readers[id(endpoint)] = made
        return made

    def _cors(self, exchange: Exchange, surface: Surface) -> list[tuple[bytes, bytes]]:
        head = exchange.head
        vary = (b"vary", b"origin")
        origin = head.header(b"origin")
        if origin is None or not is_allowed_origin(origin, self.allowed_origins(head, surface)):
            return [vary]
        found = [
            vary,
            header("access-control-allow-origin", origin),
            (b"access-control-allow-credentials", b"true"),
        ]
        is_preflight = head.method == "OPTIONS" and head.header(b"access-control-request-method") is not None
        if surface.cors_headers or (is_preflight and exchange.match.claims is not None):
            asked = head.header(b"access-control-request-headers") or "content-type"
            found += [
                header("access-control-allow-methods", ", ".join(_methods(exchange.match))),
                (b"access-control-allow-headers", _token_list(", ".join(surface.cors_headers) or asked)),
            ]
        if is_preflight:
            found.append((b"access-control-max-age", b"600"))
        return found

    def crashed(self, exchange: Exchange) -> Crashed:
        """Log the exception being handled, once, and return the failure that tells the caller nothing of it."""
        endpoint = exchange.route.endpoint.path if exchange.route else ""
        log.exception("request failed", request_id=exchange.request_id, endpoint=endpoint)
        return Crashed(exchange.request_id)


def _options(match: Match) -> Reply:
    status = 200 if match.surface is not None and match.surface.cors_headers else 204
    return Reply(status, [header("allow", ", ".join(_methods(match)))])


def _methods(match: Match) -> tuple[str, ...]:
    return (match.claims.allowed if match.claims is not None else ()) or ANY_METHOD


def too_large(limit_bytes: int) -> TooLarge:
    """Return the failure of a body over its endpoint's limit."""
    return TooLarge(f"the body is larger than {limit_bytes} bytes", hint=f"send at most {limit_bytes} bytes")


def is_audited(exchange: Exchange) -> bool:
    """Whether the audit log wants this success: as declared, else unsafe methods by people."""
    route = exchange.route
    if route is None or exchange.status >= 400:
        return False
    declared = route.endpoint.audit
    if declared is not None:
        return declared
    return route.endpoint.method not in {"GET", "HEAD"} and exchange.caller.role is not None


def _token_list(text: str) -> bytes:
    names = [name.strip() for name in text.split(",")]
    kept = [name for name in names if name and all(char.isalnum() or char in "-_" for char in name) and name.isascii()]
    return ", ".join(kept[:50]).encode("ascii") or b"content-type"


def head_of(
    method: str,
    target: bytes,
    headers: Sequence[tuple[bytes, bytes]],
    match: Match,
    link: "Connection",
) -> Head:
    """Make the `Head` of a matched request on connection ``link``."""
    path, query = split_target(target)
    return Head(
        method=method,
        path=path.decode("latin-1") if b"%" not in path else _shown_path(path),
        raw_query=query,
        headers=headers,
        peer=link.peer,
        local=link.local,
        listener=link.listener.name,
        scheme=link.scheme,
        path_values=match.values,
        peer_uid=link.peer_uid,
        connection=link.memory,
    )


def _shown_path(path: bytes) -> str:
    return unquote_to_bytes(path).decode("utf-8", "replace")


__all__ = ["Answer", "Authenticator", "Edge", "Exchange", "head_of", "is_audited", "too_large"]
