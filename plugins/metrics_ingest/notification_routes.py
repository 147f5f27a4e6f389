"""The notification endpoints of the metrics API's clients: what people should know, of servers and of the appliance."""

from typing import Any, Final

from appliance.plugin import PERSON, RAW, Answer, BadInput, Call, Notice, Surface

from . import wire
from .decode import INVALID, NO_OBJECT, read_values
from .models import SURFACE
from .state import State

SHOWN: Final = 50
BODY_BYTES: Final = 65_536
ID_DIGITS: Final = 18
"""The longest id that fits 64 bits whatever its digits are; nobody has ever been given a longer one."""


def declare(api: Surface) -> None:
    """Declare the endpoints on the document's surface."""
    api.get("/api/notifications", caller=PERSON)(notifications)
    api.post("/api/notifications/mark-read", caller=PERSON, body=RAW, limit_bytes=BODY_BYTES, audit=False)(mark_read)


async def notifications(call: Call[None]) -> Answer:
    """Show the newest 50 notifications, newest first.

    Those of this API have a ``server`` (``null`` once it is deleted); what the appliance says of itself has none.
    """
    state: State = call.state
    found = await state.core.notices.newest(SHOWN)
    said = {
        "ok": True,
        "notifications": [_shown(state, notice) for notice in found],
        "unread_count": sum(not notice.is_read for notice in found),
    }
    return Answer(model=said, headers=(("Cache-Control", "no-store"),))


def _shown(state: State, notice: Notice) -> dict[str, Any]:
    server = state.servers.named(notice.subject) if notice.source == SURFACE else None
    return {
        "id": notice.notice_id,
        "level": notice.level,
        "title": notice.title or _title(notice.kind),
        "message": notice.message,
        "code": notice.kind,
        "is_read": notice.is_read,
        "created_at": wire.iso(notice.first_unix_us),
        "server": None if server is None else state.server_row(server, counted=False),
    }


def _title(kind: str) -> str:
    """Return words for a notice that has none of its own: ``gpu.lost`` is "GPU lost"."""
    words = kind.replace(".", " ").replace("_", " ")
    return (words[:1].upper() + words[1:]).replace("Gpu", "GPU")


async def mark_read(call: Call[bytes]) -> Answer:
    """Mark notifications as read, for everybody: ``{"ids": [1, "2"]}``; what is no id is passed over.

    ``updated`` is how many of them there are, read before or not. No content type is asked for.
    """
    state: State = call.state
    try:
        body = read_values(call.body or b"{}")
    except BadInput as error:
        raise BadInput(INVALID, field=error.field, hint=error.hint) from None
    if not isinstance(body, dict):
        raise BadInput(NO_OBJECT, field="$")
    ids = body.get("ids")
    if not isinstance(ids, list):
        raise BadInput("ids must be a list.", field="$.ids")
    wanted = {found for found in map(_id, ids) if found is not None}
    return Answer(model={"ok": True, "updated": await state.core.notices.mark_many_read(wanted)})


def _id(value: Any) -> int | None:
    if type(value) is int:
        return value
    if isinstance(value, str) and len(value) <= ID_DIGITS and value.isascii() and value.isdigit():
        return int(value)
    return None
