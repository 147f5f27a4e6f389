"""Puts the binary host together."""

from appliance.plugin import Core

from ..binhost_settings import BinhostSettings
from ..swarm import Swarm
from .binhost import Binhost
from .telemetry import section

__all__ = ["build", "section"]


def build(core: Core, settings: BinhostSettings, swarm: Swarm) -> Binhost:
    """Make it on what core and the queue offer; where the operator asks for binaries, the queue asks here."""

    def assigned(name: str) -> list[str]:
        drone = swarm.find_drone(name)
        return [] if drone is None else drone.assigned_atoms

    binhost = Binhost.make(
        core.folder / "binhost", database=core.database, now=core.now, settings=settings, assigned=assigned
    )
    if settings.require_binary:
        swarm.binary_check = binhost.missing
    return binhost
