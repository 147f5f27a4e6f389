"""Puts the parts of the machine registry together."""

import trio

from appliance.plugin import Core, Parts, SteadyClock

from . import gateway_routes, inference_routes, overview, own_routes, routes
from .introduction import Introducer
from .local import LocalMachine
from .machines import Machines
from .pools import Pools
from .removal import remove
from .state import RegistryState
from .telemetry import Telemetry
from .watch import Watch

HOUR_SECONDS = 3600.0


def build(core: Core) -> Parts:
    """Make the parts on what core offers."""
    settings = core.settings
    machines = Machines(core, SteadyClock(core.now, trio.current_time))
    machines.forget = lambda machine: remove(core, machines, machine)
    pools = Pools(core)
    state = RegistryState(core=core, settings=settings, machines=machines, pools=pools)
    return Parts(
        surfaces=[each.api.bind(state) for each in (routes, gateway_routes, inference_routes, own_routes)],
        services=[
            Telemetry(core, machines),
            Introducer(core, machines),
            LocalMachine(core, machines, pools),
            Watch(core, machines, settings.forget_hours * HOUR_SECONDS),
        ],
        panels=[overview.panel(state)],
        prometheus=[overview.section(state)],
    )
