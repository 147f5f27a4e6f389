"""What the handlers of the machine registry share."""

from attrs import define

from appliance.plugin import Core, MarkKind, NotFound

from .machines import Machines
from .models import ANY_GPU, GPU_NAMES, Machine
from .pools import Pools
from .settings import RegistrySettings


@define(eq=False, kw_only=True)
class RegistryState:
    """One for each running appliance."""

    core: Core
    settings: RegistrySettings
    machines: Machines
    pools: Pools

    def gpu_name(self, machine: Machine) -> str:
        """Return what a machine's GPUs are called: as its pool says, for the local one else as its driver does."""
        return self.pools.gpu_of(machine.pool) or machine.gpu_model

    def gpu_counts(self, pools: tuple[str, ...] | None) -> dict[str, int]:
        """Return how many GPUs the ready machines of some pools (or all) have, by name; known names are always there.

        Those of pools without a name for them count as ``any``.
        """
        counted = dict.fromkeys(GPU_NAMES, 0)
        for machine in self.machines.listed():
            if machine.gpu_count and (pools is None or machine.pool in pools):
                name = self.gpu_name(machine) or ANY_GPU
                counted[name] = counted.get(name, 0) + machine.gpu_count
        return counted

    def marks(self, machine: Machine) -> dict[MarkKind, str]:
        """Return the marks of a machine's host with their reasons."""
        try:
            host = self.core.inventory.host(machine.host_id)
        except NotFound:  # it has never registered
            return {}
        return {mark.kind: mark.reason for mark in host.marks}
