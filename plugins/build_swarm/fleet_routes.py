"""What needs the key though it only reads: how drones fare."""

from typing import Any

from appliance.plugin import Call, Role

from .state import SwarmState
from .states import Drone
from .surfaces import KEYED, public
from .wire import health
from .wire.moments import seconds


@public.get("/api/v1/drone-health", caller=KEYED, role=Role.OPERATOR)
async def drone_health(call: Call[None]) -> dict[str, Any]:
    """List the drones with their failures, groundings, self-healing and last probe."""
    state: SwarmState = call.state
    return {"drones": [_health(state, drone) for drone in state.swarm.drones()]}


def _health(state: SwarmState, drone: Drone) -> dict[str, Any]:
    probe = state.prober.newest(drone.name)
    trouble = state.healing.trouble(drone.name)
    return {
        "drone": drone.name,
        "drone_id": drone.drone_id,
        "name": drone.name,
        "ip": drone.claimed_ip or drone.address,
        "status": drone.status,
        "paused": drone.paused,
        "failures": drone.failures_in_row,
        "upload_failures": drone.upload_failures,
        "grounded_until": seconds(drone.grounded_until_unix_us),
        "groundings": drone.groundings,
        "escalation_level": trouble.level,
        "last_escalation_at": seconds(trouble.last_step_unix_us),
        "last_action": trouble.last_action or None,
        "last_probe": None if probe is None else health.ping(probe),
        "last_probe_at": None if probe is None else seconds(probe.probed_unix_us),
    }
