"""Puts the binary host together."""

from appliance.plugin import Core, Readiness

from ..binhost_settings import BinhostSettings
from ..swarm import Swarm
from .binhost import Binhost
from .telemetry import section

__all__ = ["build", "readiness", "section"]


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


def readiness(binhost: Binhost) -> Readiness:
    """Return the line of ``/readyz`` that says whether what is uploaded comes to be seen."""
    return Readiness(name="swarm binary host", check=lambda: binhost.staging.problem)
