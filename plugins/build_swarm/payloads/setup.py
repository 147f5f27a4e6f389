"""Puts the parts of payloads together."""

import time
from typing import Any

from appliance.plugin import Core

from ..approval import Approvals
from ..swarm import Swarm
from .catalogue import Catalogue
from .contents import Contents
from .deploying import Deployer
from .hands import Ssh
from .health import Health
from .journal import Journal
from .service import Payloads


def build(core: Core, settings: Any, swarm: Swarm, approvals: Approvals, ssh: Ssh) -> Payloads:
    """Make them on what core and the other parts of the swarm offer.

    :param settings: the swarm's, of which those of payloads and two of ssh are read.
    """
    catalogue = Catalogue(core, Contents(core.folder / "payloads"), settings.payload_bytes_max)
    deployer = Deployer(
        settings=settings,
        service=settings.ssh_drone_service,
        approvals=approvals,
        ssh=ssh,
        catalogue=catalogue,
        journal=Journal(core=core, note=swarm.chronicle.note, monotonic=time.monotonic),
    )
    health = Health(find=swarm.find_drone, process=settings.ssh_drone_process, seconds=settings.payload_health_seconds)
    return Payloads(core=core, fleet=swarm, catalogue=catalogue, deployer=deployer, health=health)
