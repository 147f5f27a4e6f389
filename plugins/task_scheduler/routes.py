"""The documented surface; its endpoints are declared in the modules beside this one."""

from typing import Final

from appliance.plugin import PERSON, Kind, Surface

from .models import SURFACE
from .wire.errors import render_error

CALLERS: Final = PERSON | {Kind.TRUST, Kind.OPEN}
BODY_BYTES: Final = 1_048_576

api = Surface(
    SURFACE,
    prefixes=("/api/tasks", "/api/workers", "/api/files", "/telemetry", "/workers", "/health", "/ws"),
    errors=render_error,
    slash="strip",
    cors=True,
)
