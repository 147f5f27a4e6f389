"""Puts the parts of the build swarm together."""

from appliance.plugin import Core, Parts

from . import control_routes, drone_routes, gone_routes, profile_routes, read_routes, surfaces
from .build_logs import routes as log_routes
from .build_logs.service import BuildLogs
from .portage_tree.tree import tree_of
from .state import SwarmState
from .swarm import Swarm
from .views import Views
from .way_in import WayIn

DECLARED = (
    control_routes,
    drone_routes,
    gone_routes,
    log_routes,
    profile_routes,
    read_routes,
)
"""Imported for the endpoints that they declare on the surfaces."""


def build(core: Core) -> Parts:
    """Make the parts on what core offers."""
    swarm = Swarm(core, core.settings)
    swarm.tree = tree_of(core.settings)
    build_logs = BuildLogs(core, core.settings)
    state = SwarmState(
        core=core,
        settings=core.settings,
        swarm=swarm,
        build_logs=build_logs,
        views=Views(swarm, core.now),
        way_in=WayIn(core.public_url, core.settings.orchestrator_name),
    )
    return Parts(
        surfaces=[surfaces.public.bind(state), surfaces.admin.bind(state), surfaces.own.bind(state)],
        services=[build_logs],
        panels=[],
    )
