"""Puts together what enters drones: approvals, ssh, probes, self-healing and terminals."""

from attrs import frozen

from appliance.plugin import Core, Service

from .approval import Approval, Approvals
from .healing import Healing
from .healing_steps import Taken, take
from .ladder import Step
from .ping_rounds import PingRounds
from .probing import Prober
from .ssh import Ssh
from .ssh_connections import SshConnections
from .ssh_keys import SshKeys
from .ssh_settings import SshSettings
from .swarm import Swarm
from .terminal import Terminals


@frozen(kw_only=True, eq=False)
class SshParts:
    """What enters drones."""

    approvals: Approvals
    keys: SshKeys
    connections: SshConnections
    ssh: Ssh
    prober: Prober
    rounds: PingRounds
    healing: Healing
    terminals: Terminals

    @property
    def services(self) -> list[Service]:
        """The parts that run for as long as the appliance does, in the order in which they start."""
        return [self.approvals, self.connections, self.rounds, self.healing]


def build(core: Core, settings: SshSettings, swarm: Swarm) -> SshParts:
    """Make the parts; the swarm tells self-healing of drones that it grounds."""
    approvals = Approvals(core, core.folder)
    keys = SshKeys(core.folder, settings.ssh_connect_seconds)
    connections = SshConnections(approvals, core.folder)
    ssh = Ssh(approvals, keys, connections, settings)
    prober = Prober(core, ssh, settings)

    async def act(approval: Approval, step: Step) -> Taken:
        return await take(ssh, approval, step, settings)

    healing = Healing(core, swarm, approvals, prober, act, settings)
    swarm.on_grounded.append(healing.saw_grounding)
    return SshParts(
        approvals=approvals,
        keys=keys,
        connections=connections,
        ssh=ssh,
        prober=prober,
        rounds=PingRounds(swarm, approvals, prober),
        healing=healing,
        terminals=Terminals(core, ssh, approvals, settings),
    )
