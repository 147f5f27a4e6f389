"""How the appliance itself is doing: health, readiness, metrics, plugins, configuration, notices.

``GET /healthz`` says that the process answers. ``GET /readyz`` says whether it can do its work: 200 when everything
required is well, else 503; callers that may look are given each part, ``{"ready": true, "items": [{"name": "database",
"ok": true, "required": true, "message": ""}]}``. A failed plugin or a backend that sees no device is shown and does
not make the whole unready.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from attrs import asdict, field, frozen
from attrs.validators import and_, ge, in_, le
from msgspec import Struct

from appliance.clock import Now, to_unix_s
from appliance.config import Item
from appliance.credentials.kinds import PERSON, Kind, Role
from appliance.errors import NotFound
from appliance.http.api.state import PluginList
from appliance.notices import Notices
from appliance.prometheus import NAMES
from appliance.settings import Change
from appliance.surface import Answer, Call, Surface

ANYONE: Final = frozenset(Kind)
PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"

api = Surface("core", prefixes=("/api/appliance",), unknown_fields="refuse")


class System(Protocol):
    """What these endpoints need of core's state."""

    now: Now
    started_unix_us: int
    readiness: Callable[[], Sequence[Mapping[str, Any]]]
    prometheus: Callable[[str], Awaitable[str]]
    config_items: Callable[[], tuple[str, Sequence[Item]]]
    reload: Callable[[], Awaitable[Change]]
    stop: Callable[[], None]
    plugins: PluginList
    notices: Notices


class PluginItem(Struct, frozen=True, kw_only=True):
    """One plugin: where it comes from and how it is doing."""

    name: str
    version: str
    origin: str
    state: str
    reason: str
    services: tuple[Mapping[str, Any], ...] = ()


class PluginPage(Struct, frozen=True, kw_only=True):
    """All plugins, in load order."""

    items: tuple[PluginItem, ...]
    next: None = None


class Reloaded(Struct, frozen=True, kw_only=True):
    """What a reload did, by key."""

    applied: tuple[str, ...]
    needs_restart: tuple[str, ...]


@frozen(kw_only=True)
class NoticeQuery:
    """How many notices are wanted."""

    limit: int = field(default=100, validator=and_(ge(1), le(1000)))


@frozen(kw_only=True)
class MetricsQuery:
    """By whose names figures are wanted."""

    names: str = field(default="appliance", validator=in_(NAMES))
    """``appliance``, or ``dcgm`` for those of NVIDIA's dcgm-exporter, which has figures of GPUs alone."""


@api.get("/healthz", caller=ANYONE, access="public")
async def healthz(call: Call[None]) -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}


@api.get("/readyz", caller=ANYONE, access="public")
async def readyz(call: Call[None]) -> Answer:
    """Say whether everything required works; callers who may look are told of each part."""
    state: System = call.state
    items = state.readiness()
    ready = all(item["ok"] for item in items if item["required"])
    shown: dict[str, Any] = {"ready": ready}
    if call.caller.role is not None or call.caller.kind is Kind.SCRAPE:
        shown["items"] = list(items)
    return Answer(model=shown, status=200 if ready else 503, headers=(("Cache-Control", "no-store"),))


@api.get("/metrics", caller=PERSON | {Kind.SCRAPE}, query=MetricsQuery)
async def metrics(call: Call[None]) -> Answer:
    """Give all figures in the Prometheus text format; those of GPUs alone, as dcgm-exporter does, for `names=dcgm`."""
    state: System = call.state
    return Answer(model=await state.prometheus(call.query.names), content_type=PROMETHEUS)


@api.get("/api/appliance/plugins", caller=PERSON, answer=PluginPage)
async def plugins(call: Call[None]) -> dict[str, Any]:
    """Show every plugin with its origin, its state and the reason of a failure."""
    state: System = call.state
    return {"items": list(state.plugins.items()), "next": None}


@api.post("/api/appliance/plugins/{name}/restart", caller=PERSON, role=Role.OPERATOR, status=202)
async def restart_plugin(call: Call[None]) -> dict[str, str]:
    """Start a plugin's services again now, instead of at the next try."""
    state: System = call.state
    await state.plugins.restart(call.path["name"])
    return {"name": call.path["name"]}


@api.get("/api/appliance/config", caller=PERSON, role=Role.ADMIN)
async def config(call: Call[None]) -> dict[str, Any]:
    """Show every setting in force and where it comes from; secrets are not shown."""
    state: System = call.state
    file, items = state.config_items()
    return {"file": file, "items": [asdict(item) for item in items], "next": None}


@api.post("/api/appliance/config/reload", caller=PERSON, role=Role.ADMIN, answer=Reloaded)
async def reload(call: Call[None]) -> Reloaded:
    """Read the configuration again, apply what can change, and list what needs a restart."""
    state: System = call.state
    change = await state.reload()
    return Reloaded(applied=change.applied, needs_restart=change.needs_restart)


@api.post("/api/appliance/stop", caller=PERSON, role=Role.ADMIN, status=202)
async def stop(call: Call[None]) -> dict[str, bool]:
    """Stop in order, as SIGTERM does."""
    state: System = call.state
    state.stop()
    return {"stopping": True}


@api.get("/api/appliance/notices", caller=PERSON, query=NoticeQuery)
async def notices(call: Call[None]) -> dict[str, Any]:
    """Show what people should know about, newest first."""
    state: System = call.state
    found = await state.notices.newest(call.query.limit)
    items = []
    for one in found:
        item = asdict(one)
        item["first_unix_s"] = to_unix_s(item.pop("first_unix_us"))
        item["last_unix_s"] = to_unix_s(item.pop("last_unix_us"))
        items.append(item)
    return {"items": items, "next": None}


@api.post("/api/appliance/notices/{notice_id}/read", caller=PERSON, role=Role.USER, audit=False)
async def read_notice(call: Call[None]) -> dict[str, bool]:
    """Note that somebody has seen a notice."""
    state: System = call.state
    text = call.path["notice_id"]
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise NotFound("notice", text)
    await state.notices.mark_read(int(text))
    return {"is_read": True}
