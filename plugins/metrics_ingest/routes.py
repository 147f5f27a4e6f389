"""The documented endpoints that take samples in and show the newest; history, notifications, accounts add theirs."""

import zlib
from typing import Any, Final

from appliance.plugin import (
    PERSON,
    RAW,
    Answer,
    BadInput,
    Call,
    Caller,
    Forbidden,
    Head,
    Kind,
    NotAuthenticated,
    Surface,
    TooLarge,
)

from . import account_routes, history_routes, notification_routes, wire
from .intake import DISABLED
from .models import SURFACE
from .sample import read_batch
from .state import State

INGEST: Final = "/api/ingest/servers/"
LIMIT_BYTES: Final = 5 * 2**20
"""As the documented server has it; a compressed body may not be larger unpacked either."""
NO_SERVERS: Final = "No monitored servers registered yet. Register a server and start an agent."
NO_STORE: Final = (("Cache-Control", "no-store"),)


def authenticate(head: Head, state: State) -> Caller | None:
    """Decide who posts samples, in the document's order: 404, 403, 401; leave all else to core."""
    if not head.path.startswith(INGEST):
        head.connection[wire.PUBLIC_URL] = state.core.public_url()
        return None
    slug = head.path_values.get("slug", "")
    server = state.servers.named(slug)
    if server is None:
        raise wire.Described(404, f"No server '{slug[:64]}' is registered.")
    if not server.is_active:
        raise Forbidden(DISABLED)
    credential = state.core.credentials.find(_token(head), frozenset({Kind.INGEST}))
    if credential is None or credential.subject != server.slug:
        raise NotAuthenticated("Invalid ingest token.")
    return Caller(kind=Kind.INGEST, subject=server.slug, credential_id=credential.credential_id)


def _token(head: Head) -> str:
    """Return the token that counts: X-Monitoring-Token if it says anything, else the Bearer's."""
    own = (head.header(b"x-monitoring-token") or "").strip()
    if own:
        return own
    scheme, _, rest = (head.header(b"authorization") or "").partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else ""


api = Surface(
    SURFACE,
    prefixes=("/api/ingest", "/api/agent", "/api/servers", "/api/metrics", "/api/notifications", "/accounts"),
    errors=wire.render_error,
    authenticate=authenticate,
    slash="both",
    trust=False,
)


@api.post(
    INGEST + "{slug}/metrics",
    caller=frozenset({Kind.INGEST}),
    body=RAW,
    limit_bytes=LIMIT_BYTES,
    hot=True,
    audit=False,
)
async def ingest(call: Call[bytes]) -> Answer:
    """Take one sample of a server, or an array of them; durable when this answers.

    A body is ``{"sample": {...}, "agent": {...}}``, a bare sample, or an array of either, plain or with
    ``Content-Encoding: gzip``. An array is stored whole or not at all; the answer is the newest sample's, with
    ``accepted``: how many were new. A sample that was stored before (same ``collected_at``) changes nothing.
    """
    state: State = call.state
    server = state.servers.known(call.path["slug"])
    body = _unpacked(call.body, call.head.header(b"content-encoding"))
    batch = read_batch(body, series_id=server.series_id, now_unix_us=state.core.now())
    taken = await state.intake.take(server, batch, ip=call.head.peer[0] if call.head.peer else "")
    figures = taken.figures
    said: dict[str, Any] = {
        "ok": True,
        "server": wire.server_row(server, counted=False),
        "snapshot": {
            "id": taken.at_unix_us,
            "collected_at": taken.collected_at,
            "bottleneck": figures.verdict.label,
            "cpu_usage_percent": taken.cpu_percent or 0.0,
            "top_gpu_util_percent": figures.gpu_top_util_percent,
            "disk_util_percent": figures.disk_util_percent,
        },
    }
    if batch.is_array:
        said["accepted"] = taken.accepted
    return Answer(model=said)


def _unpacked(body: bytes, encoding: str | None) -> bytes:
    """Return the body without its compression, which may not hide more than a plain one could send."""
    name = (encoding or "identity").strip().lower()
    if name == "identity":
        return body
    if name not in {"gzip", "x-gzip"}:
        raise BadInput("Invalid JSON payload.", field="Content-Encoding", hint="send gzip, or no encoding")
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(body, LIMIT_BYTES + 1)
    except zlib.error:
        raise BadInput("Invalid JSON payload.", field="Content-Encoding", hint="the body is not gzip") from None
    if len(plain) > LIMIT_BYTES:
        raise TooLarge(f"the body is larger than {LIMIT_BYTES} bytes unpacked", hint="send fewer samples at once")
    if not unpacker.eof or unpacker.unused_data:
        raise BadInput("Invalid JSON payload.", field="Content-Encoding", hint="the gzip body is cut short")
    return plain


@api.get("/api/servers", caller=PERSON)
async def servers(call: Call[None]) -> Answer:
    """List the active servers, those with the newest samples first."""
    state: State = call.state
    return Answer(model={"ok": True, "servers": state.server_rows()}, headers=NO_STORE)


@api.get("/api/metrics/latest", caller=PERSON)
async def latest(call: Call[None]) -> Answer:
    """Show the newest sample of a server, with the list of all.

    ``server`` is a slug or a number; without it, or for one that is unknown, the server with the newest sample. Send
    the answer's ETag as If-None-Match to be told 304 while no listed server has anything newer.
    """
    state: State = call.state
    server = state.servers.select(text_of(call.head, "server"))
    if server is None:
        raise wire.Described(404, NO_SERVERS, servers=[])
    etag = f'"{state.boot}-{state.servers.generation:x}-{server.server_id:x}"'
    headers = (("ETag", etag), ("Cache-Control", "no-cache"))
    if is_known(call.head.header(b"if-none-match"), etag):
        return Answer(status=304, headers=headers)
    row = state.server_row(server)
    reading = state.core.series.latest(server.series_id)
    if reading is None:
        words = f"No samples collected yet for server '{server.slug}'."
        raise wire.Described(404, words, servers=state.server_rows(), selected_server=row)
    said = {
        "ok": True,
        "backend_version": wire.BACKEND_VERSION,
        "min_agent_version": wire.MIN_AGENT_VERSION,
        "servers": state.server_rows(),
        "selected_server": row,
        "snapshot": wire.snapshot(server, reading, now_unix_us=state.core.now()),
    }
    return Answer(model=said, headers=headers)


def is_known(if_none_match: str | None, etag: str) -> bool:
    """Whether a client has what the ETag stands for already (RFC 9110, 13.1.2)."""
    if not if_none_match:
        return False
    known = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
    return "*" in known or etag in known


def text_of(head: Head, name: str) -> str | None:
    """Return a query parameter as the clients' server reads it: the last of that name; none for what is no UTF-8."""
    return wire.query(head).get(name)


account_routes.declare(api)
history_routes.declare(api)
notification_routes.declare(api)
