"""What the handlers of the swarm's surfaces share."""

from attrs import define

from appliance.plugin import Core

from .build_logs.service import BuildLogs
from .settings import SwarmSettings
from .swarm import Swarm
from .views import Views
from .way_in import WayIn


@define(eq=False, kw_only=True)
class SwarmState:
    """One for each running appliance; every part of the swarm has one attribute here."""

    core: Core
    settings: SwarmSettings
    swarm: Swarm
    """The queue: drones, packages, sessions and events."""
    build_logs: BuildLogs
    """The output of builds."""
    views: Views
    """What clients ask for again and again, encoded once."""
    way_in: WayIn
    """Where callers have reached us."""
