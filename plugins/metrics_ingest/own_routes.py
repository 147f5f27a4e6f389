"""Our own endpoints for what the documented API lacks: managing servers, and samples as they come."""

from collections.abc import AsyncIterator
from typing import Any, Final

from attrs import field, frozen
from attrs.validators import max_len, optional
from msgspec import Struct

from appliance.plugin import (
    PERSON,
    BadInput,
    Call,
    Forbidden,
    NotFound,
    Role,
    ServerEvent,
    Surface,
    to_unix_s,
)

from . import wire
from .account_routes import agent_command, owner_of
from .figures import figures, top
from .models import SURFACE, Server, is_whole
from .slugs import slugify
from .state import State

DESCRIPTION_CHARACTERS: Final = 1000

api = Surface(SURFACE, prefixes=("/api/appliance/servers", "/api/appliance/metrics"), unknown_fields="refuse")


@frozen(kw_only=True)
class NewServer:
    """What a person says of a server to be registered; a name or a slug is needed."""

    name: str | None = field(default=None, validator=optional(max_len(128)))
    slug: str | None = field(default=None, validator=optional(max_len(64)))
    description: str = field(default="", validator=max_len(DESCRIPTION_CHARACTERS))


@frozen(kw_only=True)
class Change:
    """What shall be different; what is left out stays."""

    name: str | None = field(default=None, validator=optional(max_len(128)))
    description: str | None = field(default=None, validator=optional(max_len(DESCRIPTION_CHARACTERS)))
    is_active: bool | None = None


class ServerItem(Struct, frozen=True, kw_only=True):
    """One monitored server and what its newest sample says in short."""

    id: int
    slug: str
    name: str
    hostname: str
    description: str
    is_active: bool
    is_local: bool
    is_silent: bool
    agent_version: str
    agent_user: str
    owner: str
    """Name of the person who registered it; empty for the appliance's own."""
    last_seen_unix_s: float | None
    latest_snapshot_unix_s: float | None
    snapshot_count: int
    created_unix_s: float
    cpu_percent: float | None
    memory_percent: float | None
    gpu_count: int
    gpu_top_utilization_percent: float | None
    bottleneck: str | None


class ServerPage(Struct, frozen=True, kw_only=True):
    """All servers, disabled ones too."""

    items: tuple[ServerItem, ...]
    next: None = None


class Issued(Struct, frozen=True, kw_only=True):
    """A server's token, which is shown this once."""

    id: int
    slug: str
    name: str
    token: str
    agent_command: str


@frozen(kw_only=True)
class StreamQuery:
    """Whose samples are wanted."""

    server: str | None = None
    """A slug; all servers without it."""


@api.get("/api/appliance/servers", caller=PERSON, answer=ServerPage)
async def servers(call: Call[None]) -> ServerPage:
    """List every monitored server, by name."""
    state: State = call.state
    found = sorted(state.servers.all(), key=lambda each: (each.name.lower(), each.slug))
    return ServerPage(items=tuple(_item(state, each) for each in found))


@api.post(
    "/api/appliance/servers",
    caller=PERSON,
    role=Role.USER,
    body=NewServer,
    answer=Issued,
    status=201,
    limit_bytes=65_536,
)
async def register(call: Call[NewServer]) -> Issued:
    """Register a server; whoever does so owns it."""
    state: State = call.state
    name = _printable(call.body.name or "", "name").strip()
    slug = slugify(call.body.slug or name)
    if not slug:
        raise BadInput(
            "a slug is made of letters, digits and hyphens, and none could be derived",
            field="slug" if call.body.slug else "name",
            hint="give a slug",
        )
    if call.body.slug and slug != call.body.slug:
        raise BadInput(f"a slug is lower-case letters, digits and hyphens: {slug!r} would be one", field="slug")
    server, token = await state.servers.register(
        slug=slug,
        name=name or slug,
        description=_printable(call.body.description, "description"),
        owner=owner_of(call),
    )
    return _issued(state, server, token)


@api.post("/api/appliance/servers/{slug}/rotate-token", caller=PERSON, role=Role.USER, answer=Issued)
async def rotate(call: Call[None]) -> Issued:
    """Replace a server's token; the old one ends at once."""
    state, server = call.state, _own(call)
    return _issued(state, server, await state.servers.rotate(server))


@api.patch(
    "/api/appliance/servers/{slug}", caller=PERSON, role=Role.USER, body=Change, answer=ServerItem, limit_bytes=65_536
)
async def change(call: Call[Change]) -> ServerItem:
    """Rename, describe, disable or enable a server. A disabled one is not listed, and its samples are refused."""
    state, server, body = call.state, _own(call), call.body
    name = None if body.name is None else _printable(body.name, "name").strip()
    if name == "":
        raise BadInput("a server has a name", field="name")
    description = None if body.description is None else _printable(body.description, "description")
    await state.servers.change(server, name=name, description=description, is_active=body.is_active)
    return _item(state, server)


@api.delete("/api/appliance/servers/{slug}", caller=PERSON, role=Role.USER)
async def delete(call: Call[None]) -> dict[str, str]:
    """Delete a server with its token and its history."""
    state, server = call.state, _own(call)
    await state.servers.delete(server)
    return {"deleted": server.slug}


@api.stream("/api/appliance/metrics/stream", caller=PERSON, query=StreamQuery)
async def stream(call: Call[None]) -> AsyncIterator[ServerEvent]:
    """Send each newer sample as ``latest`` shows it, the present one first; a slow reader skips what it missed."""
    state: State = call.state
    wanted = call.query.server
    server = None if wanted is None else _active(state, wanted)
    with state.feed.reading(None if server is None else server.server_id) as reader:
        for each in [server] if server is not None else state.servers.active():
            reader.tell(each.server_id)
        while True:
            for server_id in await reader.next():
                found = state.servers.by_id(server_id)
                reading = None if found is None else state.core.series.latest(found.series_id)
                if found is not None and reading is not None:
                    shown = wire.snapshot(found, reading, now_unix_us=state.core.now())
                    yield ServerEvent(event="snapshot", data=shown, event_id=str(shown["id"]))


def _item(state: State, server: Server) -> ServerItem:
    reading = state.core.series.latest(server.series_id)
    sample = None if reading is None else reading.sample
    person = state.core.people.get(server.owner) if server.owner else None
    return ServerItem(
        id=server.server_id,
        slug=server.slug,
        name=server.name,
        hostname=server.hostname,
        description=server.description,
        is_active=server.is_active,
        is_local=server.is_local,
        is_silent=server.is_active and state.is_silent(server),
        agent_version=server.agent_version,
        agent_user=server.agent_user,
        owner="" if person is None else person.name,
        last_seen_unix_s=None if server.last_seen_unix_us is None else to_unix_s(server.last_seen_unix_us),
        latest_snapshot_unix_s=None if server.latest_unix_us is None else to_unix_s(server.latest_unix_us),
        snapshot_count=server.snapshot_count,
        created_unix_s=to_unix_s(server.created_unix_us),
        cpu_percent=None if sample is None else sample.cpu_percent,
        memory_percent=None if sample is None else sample.memory_percent,
        gpu_count=0 if sample is None else sum(is_whole(gpu.gpu_id) for gpu in sample.gpus),
        gpu_top_utilization_percent=None if sample is None else top([gpu.utilization_percent for gpu in sample.gpus]),
        bottleneck=None if reading is None else figures(reading.sample, reading.rates).verdict.label,
    )


def _issued(state: State, server: Server, token: str) -> Issued:
    command = agent_command(state, server, token)
    return Issued(id=server.server_id, slug=server.slug, name=server.name, token=token, agent_command=command)


def _own(call: Call[Any]) -> Server:
    """Return the server that a path names, if the caller may change it: its owner, and operators."""
    state: State = call.state
    server = state.servers.known(call.path["slug"])
    if not call.caller.may(Role.OPERATOR) and (not server.owner or server.owner != owner_of(call)):
        raise Forbidden("this server is somebody else's", hint="ask its owner or an operator")
    return server


def _active(state: State, slug: str) -> Server:
    server = state.servers.known(slug)
    if not server.is_active:
        raise NotFound("server", slug, hint="it is disabled")
    return server


def _printable(text: str, field: str) -> str:
    if not all(character.isprintable() or character == "\n" for character in text):
        raise BadInput("only printable characters", field=field)
    return text
