"""What the handlers of the swarm's surfaces share."""

from attrs import define

from appliance.plugin import Core

from .settings import SwarmSettings


@define(eq=False, kw_only=True)
class SwarmState:
    """One for each running appliance; every part of the swarm has one attribute here."""

    core: Core
    settings: SwarmSettings
