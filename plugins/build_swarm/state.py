"""What the handlers of the swarm's surfaces share."""

from attrs import define

from appliance.plugin import Core

from .approval import Approvals
from .binhost.binhost import Binhost
from .build_logs.service import BuildLogs
from .cleaning import Plans
from .drone_configs import DroneConfigs
from .drone_locks import DroneLocks
from .healing import Healing
from .payloads.service import Payloads
from .probing import Prober
from .records.parts import Records
from .settings import SwarmSettings
from .ssh import Ssh
from .ssh_setup import SshParts
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
    ssh_parts: SshParts
    """What enters approved drones."""
    binhost: Binhost
    """What drones have built, as staging area and releases."""
    build_logs: BuildLogs
    """The output of builds."""
    drone_configs: DroneConfigs
    """What operators set for single drones."""
    drone_locks: DroneLocks
    """Locks on the worlds of drones."""
    cleaning: Plans
    """What cleaning drones will do, between its two steps."""
    started_unix_us: int
    """When this appliance began to serve."""
    payloads: Payloads
    """What runs on drones, as versions kept here."""
    records: Records
    """What is kept of what goes on."""
    views: Views
    """What clients ask for again and again, encoded once."""
    way_in: WayIn
    """Where callers have reached us."""

    @property
    def approvals(self) -> Approvals:
        """Which drones may be entered."""
        return self.ssh_parts.approvals

    @property
    def ssh(self) -> Ssh:
        """The ways into approved drones."""
        return self.ssh_parts.ssh

    @property
    def prober(self) -> Prober:
        """The newest probe of each drone."""
        return self.ssh_parts.prober

    @property
    def healing(self) -> Healing:
        """Self-healing."""
        return self.ssh_parts.healing
