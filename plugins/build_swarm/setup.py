"""Puts the parts of the build swarm together."""

from appliance.plugin import Core, Parts

from . import surfaces
from .state import SwarmState
from .swarm import Swarm

DECLARED = ()
"""Imported for the endpoints that they declare on the surfaces."""


def build(core: Core) -> Parts:
    """Make the parts on what core offers."""
    swarm = Swarm(core, core.settings)
    state = SwarmState(core=core, settings=core.settings, swarm=swarm)
    return Parts(
        surfaces=[surfaces.public.bind(state), surfaces.admin.bind(state), surfaces.own.bind(state)],
        services=[],
        panels=[],
    )
