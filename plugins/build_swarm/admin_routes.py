"""The admin surface about the server itself: who we are, configuration by key, and what has been going on."""

from pathlib import Path
from typing import Any, Final

import msgspec
import trio
from attrs import field, frozen
from attrs.validators import and_, ge, le

from appliance.plugin import BadInput, Call, Gone, Role, TooLarge

from . import drone_config_store as store
from .control_log import log_lines
from .models import VERSION
from .state import SwarmState
from .surfaces import KEYED, admin
from .wire.decoding import Reader
from .wire.plain import plain

LINES_MAX: Final = 5000
VALUES_MAX: Final = 1000
VALUE_CHARACTERS: Final = 4096
MIB: Final = 2**20
SECOND_US: Final = 1_000_000


@admin.get("/admin/api/auth/check", caller=KEYED)
async def auth_check(call: Call[None]) -> dict[str, Any]:
    """Say that the key counts."""
    return {"authenticated": True, "version": VERSION}


@admin.get("/admin/api/system/info", caller=KEYED)
async def system_info(call: Call[None]) -> dict[str, Any]:
    """Tell where the server keeps what, and how it is reached.

    There is no gateway of the generation before, and the binary host is this server: its second address is empty.
    """
    state: SwarmState = call.state
    uptime = max(0, state.core.now() - state.started_unix_us) // SECOND_US
    path = state.core.database.path
    size = await trio.to_thread.run_sync(_size_bytes, path)
    host, port = state.way_in.of(call.head)
    return {
        "version": VERSION,
        "uptime_s": uptime,
        "uptime_human": f"{uptime // 3600}h {uptime // 60 % 60}m",
        "db_path": str(path),
        "db_size_mb": round(size / MIB, 2),
        "control_plane_port": state.records.public_port or port,
        "admin_port": port,
        "v2_gateway_url": "",
        "binhost_primary_ip": host,
        "binhost_secondary_ip": "",
    }


def _size_bytes(path: Path) -> int:
    """Return what the database takes, with the log that is not folded into it yet."""
    log = path.with_name(f"{path.name}-wal")
    return path.stat().st_size + (log.stat().st_size if log.exists() else 0)


@admin.get("/admin/api/config", caller=KEYED)
async def config(call: Call[None]) -> dict[str, Any]:
    """List the configuration by key: notes of operators and their tools. Settings of the server are in its file."""
    state: SwarmState = call.state
    found = state.core.database.read_now(store.values)
    return {
        plain(each.key): {"value": plain(each.value), "updated_at": each.updated_unix_us / SECOND_US} for each in found
    }


class NewValue(msgspec.Struct):
    """One entry of the configuration by key."""

    key: str = ""
    value: str | int | float | bool | None = None


@admin.post("/admin/api/config", caller=KEYED, role=Role.OPERATOR, body=NewValue, decode=Reader(NewValue))
async def set_config(call: Call[NewValue]) -> dict[str, Any]:
    """Set one entry of the configuration by key."""
    state: SwarmState = call.state
    key, value = call.body.key, call.body.value
    if not key:
        raise BadInput('Missing "key"', field="key")
    if len(key) > 128 or not key.isprintable():
        raise BadInput("key: at most 128 printable characters", field="key")
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if len(text) > VALUE_CHARACTERS:
        raise BadInput(f"value: at most {VALUE_CHARACTERS} characters", field="value")
    made = store.Value(key=key, value=text, updated_unix_us=state.core.now())
    if not await state.core.database.write(lambda connection: store.put_value(connection, made, VALUES_MAX)):
        raise TooLarge(f"there are {VALUES_MAX} keys already")
    return {"status": "ok", "key": key, "value": value}


@frozen
class LinesQuery:
    """How much of the end."""

    lines: int = field(default=200, validator=and_(ge(1), le(2**31)))
    """More than 5,000 are held to that."""


@admin.get("/admin/api/logs/control-plane", caller=KEYED, query=LinesQuery)
async def control_plane_log(call: Call[None]) -> dict[str, Any]:
    """Show what the swarm has been doing, line by line, oldest first.

    There is no log file: the lines are the stored events, and the path is that of the database they are in.
    """
    state: SwarmState = call.state
    lines = await log_lines(state.swarm.chronicle, min(call.query.lines, LINES_MAX))
    path = str(state.core.database.path)
    return {"path": path, "lines": lines, "log_file": path, "line_count": len(lines), "content": "\n".join(lines)}


async def gone(call: Call[Any]) -> None:
    """Say that there is no gateway of the generation before."""
    raise Gone(
        f"{plain(call.head.path[:200])} was answered by the gateway of the generation before",
        hint="there is one server now: /api/v1/nodes?all=true and /api/v1/status",
    )


for _path in ("/admin/api/v2/{path:path}", "/v2/api/{path:path}"):
    for _declare in (admin.get, admin.post, admin.put, admin.delete):
        _declare(_path, caller=KEYED, audit=False)(gone)
