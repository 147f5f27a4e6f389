"""Model servers that keepalives tell of; what else the original offers here is not available, and says so."""

from datetime import UTC, datetime
from typing import Any, Final

from appliance.plugin import PERSON, Call, Kind, NotAvailable, Surface

from . import wire
from .life import US
from .models import SURFACE, Machine
from .routes import AGENTS
from .state import RegistryState

PREFIX: Final = "/api/v1/inference"
HEALTHY_SECONDS: Final = 150
"""Two beats and a half: agents beat every 60 s."""
WHY_NOT: Final = (
    "not available because this appliance routes no inference requests: send them to a node's own address, which"
    " GET /api/v1/inference/nodes tells"
)

api = Surface(SURFACE, prefixes=(PREFIX,), errors=wire.render_error, slash="strip", trust=False)


@api.get(f"{PREFIX}/nodes", caller=PERSON | AGENTS)
async def nodes(call: Call[None]) -> dict[str, Any]:
    """List the machines whose last keepalive told of a running model server; a machine token sees its own pool."""
    state: RegistryState = call.state
    found = [
        machine
        for machine in state.machines.listed()
        if machine.inference is not None
        and not (call.caller.kind is Kind.MACHINE and call.caller.scope != machine.pool)
    ]
    shown = [_node(state, machine) for machine in found]
    healthy = sum(node["healthy"] for node in shown)
    models = sum(len(node["models"]) for node in shown)
    stats = {
        "total_nodes": len(shown),
        "healthy_nodes": healthy,
        "unhealthy_nodes": len(shown) - healthy,
        "total_models": models,
        "ready_models": models,
    }
    return {"nodes": shown, "stats": stats}


def _node(state: RegistryState, machine: Machine) -> dict[str, Any]:
    said = machine.inference
    assert said is not None
    heard = datetime.fromtimestamp((machine.last_keepalive_unix_us or 0) / US, UTC)
    return {
        "node_id": machine.machine_id,
        "tailscale_ip": said.ip or machine.private_ip,
        "port": said.port,
        "gpu_type": state.gpu_name(machine),
        "total_vram_mb": None,
        "available_vram_mb": None,
        "models": {name: {"name": name, "load_state": "ready"} for name in said.models or ()},
        "last_heartbeat": heard.isoformat(),
        "healthy": state.machines.clock() - machine.heard_us < HEALTHY_SECONDS * US,
    }


async def unavailable(call: Call[None]) -> None:
    """Say that the appliance routes no inference requests."""
    raise NotAvailable(WHY_NOT)


for _declare in (api.get, api.post):
    _declare(PREFIX + "/{path:path}", caller=PERSON | AGENTS, access="public")(unavailable)
