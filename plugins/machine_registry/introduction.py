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


async def introduce(core: Core, machine: Machine) -> None:
    """Note a machine's host and its name; writes only what is new."""
    inventory, hostname = core.inventory, machine.hostname or machine.machine_id
    await inventory.saw_host(machine.host_id, hostname=hostname, at_unix_us=core.now())
    await inventory.link(SURFACE, machine.foreign_id, machine.host_id)


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
        """Introduce one machine."""
        key = self.machines.new_hosts.pop()
        machine = self.machines.get(key)
        if machine is None or machine.registered_unix_us is None:
            await trio.lowlevel.checkpoint()
            return
        try:
            await introduce(self.core, machine)
        except ApplianceError as error:  # tried again when it registers again, or at the next start
            log.warning("machine.not_in_inventory", machine=machine.foreign_id, reason=error.message)
