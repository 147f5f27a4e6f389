"""The surfaces of the swarm; their endpoints are declared in the modules beside this one.

Two are documented and usually have a port each: `public` (8100: drones, status, queue) and `admin` (8093: everything
that needs the key). `own` is our own API.
"""

from typing import Final

from appliance.plugin import PERSON, Kind, Surface

from .models import ADMIN_SURFACE, SURFACE
from .records.parts import observe
from .wire.errors import render_error

DRONES: Final = PERSON | {Kind.TRUST, Kind.OPEN, Kind.DRONE}
"""Who may call what drones call; a drone credential acts only as the drone that it is bound to."""
READERS: Final = PERSON | {Kind.TRUST, Kind.OPEN, Kind.DRONE}
"""Who may read what the document leaves open."""
KEYED: Final = PERSON | {Kind.TRUST}
"""Who may call what needs the admin key; writes declare ``role=Role.OPERATOR`` beside it."""

PATHS: Final = (
    "binhost",
    "binhost-stats",
    "build-stats",
    "complete",
    "control",
    "drone-health",
    "escalation",
    "events",
    "history",
    "metrics",
    "nodes",
    "orchestrator",
    "orchestrators",
    "ping",
    "poll",
    "portage-config",
    "profile",
    "profiles",
    "protocol",
    "provision",
    "queue",
    "register",
    "report",
    "sessions",
    "snapshots",
    "sql",
    "status",
    "versions",
    "work",
)
"""First segments below ``/api/v1`` that are the swarm's: other surfaces have theirs beside them."""

PAGE_HEADERS: Final = ("Content-Type", "Accept", "X-Admin-Key")
"""What the documented admin page sends: it comes from the admin port and asks both."""

public = Surface(
    SURFACE,
    prefixes=(*(f"/api/v1/{name}" for name in PATHS), "/api/v2"),
    errors=render_error,
    slash="strip",
    cors=True,
    origins_of=(ADMIN_SURFACE,),
    cors_headers=PAGE_HEADERS,
    observe=observe,
)
admin = Surface(
    ADMIN_SURFACE,
    prefixes=("/admin/api", "/v2/api", "/ws/ssh"),
    errors=render_error,
    slash="strip",
    cors=True,
    origins_of=(ADMIN_SURFACE,),
    cors_headers=PAGE_HEADERS,
)
own = Surface(SURFACE, prefixes=("/api/appliance/swarm", "/api/appliance/binhost"), unknown_fields="refuse")
