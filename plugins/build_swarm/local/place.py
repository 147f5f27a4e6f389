"""Whether this host can be a drone of its own swarm; what a drone is made of is imported only where it is one."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from appliance.plugin import Core

from ..binhost.binhost import Binhost
from ..build_logs.service import BuildLogs
from ..swarm import Swarm
from .settings import LocalSettings

if TYPE_CHECKING:
    from .service import LocalDrone

PROGRAM: Final = "emerge"


def runs_as_us(settings: LocalSettings, core: Core, *, uid: Callable[[], int] = os.geteuid) -> str:
    """Return what runs as the appliance's own user, in words; empty where nothing does."""
    is_wanted = settings.local_drone and settings.local_builds
    here = is_wanted and uid() == 0 and core.host.find_program(PROGRAM) is not None
    return "builds of packages (local_builds)" if here else ""


def drones(
    core: Core, settings: LocalSettings, swarm: Swarm, binhost: Binhost, build_logs: BuildLogs
) -> "list[LocalDrone]":
    """Return the drone, nothing where it is switched off or there is no emerge."""
    if not settings.local_drone or core.host.find_program(PROGRAM) is None:
        return []
    from .service import LocalDrone  # a dozen modules, a megabyte, that hosts without Portage do without

    return [LocalDrone(core, settings, swarm, binhost, build_logs)]
