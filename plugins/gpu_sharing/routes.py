"""The documented surface: how it lets callers in and refuses them; the endpoints are declared by the other modules."""

from appliance.plugin import Surface

from . import agent_routes, release_routes, share_routes, token_routes, worker_routes
from .models import SURFACE
from .wire.render import render_error

api = Surface(
    SURFACE,
    prefixes=(
        "/api/v1/tokens",
        "/api/v1/agents",
        "/api/v1/workers",
        "/api/v1/shares",
        "/api/ecosystem",
        "/s",
    ),
    errors=render_error,
    slash="strip",
    trust=False,
)

for _routes in (token_routes, agent_routes, worker_routes, share_routes, release_routes):
    _routes.declare(api)
