"""What clients of the systems that we stand in for ask first, to find their server: that we answer."""

from typing import Any, Final, Protocol

import appliance
from appliance.clock import Now, to_unix_s
from appliance.credentials.kinds import Kind
from appliance.http.own_pages import ANY_SURFACE
from appliance.surface import Call, Surface

ANYONE: Final = frozenset(Kind)

api = Surface("core", cors=True, origins_of=(ANY_SURFACE,))
"""It tells nothing that is not for everybody, so any page of ours may read it."""


class Started(Protocol):
    """What the handler needs of the appliance."""

    now: Now
    started_unix_us: int


@api.get("/api/v1/health", caller=ANYONE, access="public")
async def health(call: Call[None]) -> dict[str, Any]:
    """Say that the appliance answers, its version, and for how long."""
    state: Started = call.state
    uptime = to_unix_s(max(0, state.now() - state.started_unix_us))
    return {"status": "ok", "version": appliance.__version__, "uptime_s": uptime}
