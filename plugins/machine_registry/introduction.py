"""Lets the one inventory know every machine that has registered: as a host, and by the name it has here."""

from typing import Final

import structlog
import trio
from attrs import define

from appliance.plugin import ApplianceError, Core

from .machines import Machines
from .models import SURFACE, Machine

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 1.0
AT_ONCE: Final = 100
"""Machines that are passed over before others have their turn."""


async def introduce(core: Core, machine: Machine) -> None:
    """Note a machine's host and its name; writes only what is new."""
    inventory = core.inventory
    await inventory.saw_host(machine.host_id, hostname=_hostname(machine), at_unix_us=core.now())
    await inventory.link(SURFACE, machine.foreign_id, machine.host_id)


def _hostname(machine: Machine) -> str:
    return machine.hostname or machine.machine_id


@define(eq=False)
class Introducer:
    """Introduces machines as they register, and all at the start."""

    core: Core
    machines: Machines
    name: str = "machine-introductions"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled."""
        task_status.started()
        while True:
            while self.machines.new_hosts:
                await self.step()
            await trio.sleep(LOOK_SECONDS)

    async def step(self) -> None:
        """Introduce one machine, after passing over some that the inventory knows already."""
        await trio.lowlevel.checkpoint()
        for _ in range(min(AT_ONCE, len(self.machines.new_hosts))):
            machine = self.machines.get(self.machines.new_hosts.pop())
            if machine is None or machine.registered_unix_us is None or self._is_known(machine):
                continue
            try:
                await introduce(self.core, machine)
            except ApplianceError as error:  # tried again when it registers again, or at the next start
                log.warning("machine.not_in_inventory", machine=machine.foreign_id, reason=error.message)
            return

    def _is_known(self, machine: Machine) -> bool:
        """Say whether the inventory has all that is told of a machine; one that has just registered is alive."""
        inventory = self.core.inventory
        if inventory.host_of(SURFACE, machine.foreign_id) != machine.host_id:
            return False
        if inventory.host(machine.host_id).hostname != _hostname(machine):
            return False
        inventory.saw(machine.host_id, at_unix_us=machine.registered_unix_us or 0)
        return True
