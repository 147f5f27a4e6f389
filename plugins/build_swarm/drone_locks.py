"""Locks on the worlds of drones: set and taken over ssh, and set again when the time of an unlocking is over."""

from typing import Any, Final

import structlog
import trio
from attrs import define

from appliance.plugin import ApplianceError, Core

from .admin_settings import AdminSettings
from .approval import Approval, Approvals
from .drone_configs import DroneConfigs
from .drone_world import LOCK, command
from .ssh import Ssh
from .ssh_command import SshFailed
from .swarm import Swarm
from .wire.plain import plain

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 15.0
SECONDS_MAX: Final = 7 * 86_400
DEADLINE_SECONDS: Final = 30.0
SECOND_US: Final = 1_000_000
AT: Final = "relock_unix_us"
"""Kept beside the fields of a drone's configuration."""


@define(eq=False)
class DroneLocks:
    """Locks and unlocks drones; also the service that locks again."""

    core: Core
    swarm: Swarm
    approvals: Approvals
    ssh: Ssh
    configs: DroneConfigs
    settings: AdminSettings
    name: str = "drone locks"

    async def lock(self, approval: Approval) -> None:
        """Lock a drone's world against changes; errors as of `Ssh.run`."""
        await self._change(approval, "+i")
        await self.configs.set(approval.drone_name, {"locked": 1, AT: None})

    async def unlock(self, approval: Approval, seconds: float) -> None:
        """Allow changes of a drone's world; errors as of `Ssh.run`.

        :param seconds: after which it is locked again, also over a restart; 0: never.
        """
        await self._change(approval, "-i")
        at = self.core.now() + round(seconds * SECOND_US) if seconds else None
        await self.configs.set(approval.drone_name, {"locked": 0, AT: at})

    async def _change(self, approval: Approval, flag: str) -> None:
        path = self.settings.admin_world_file
        ran = await self.ssh.run(approval, command(LOCK, flag, path), deadline_s=DEADLINE_SECONDS)
        if ran.status != 0:
            said = plain(ran.stderr.strip()[:200]) or f"status {ran.status}"
            raise SshFailed("command", f"chattr {flag} {path}: {said}", drone_name=approval.drone_name)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Lock again what is due, until cancelled; what cannot be reached is tried again."""
        task_status.started()
        while True:
            await self.look()
            await trio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Lock again what is due now."""
        now = self.core.now()
        due = [each.drone for each in self.configs.all() if (at := _at(each.fields)) is not None and at <= now]
        for name in due:
            drone = self.swarm.find_drone(name)
            if drone is None:
                continue
            try:
                await self.lock(self.approvals.of(drone))
            except ApplianceError as error:
                log.warning("swarm.not_locked_again", drone=name, reason=error.message)
            else:
                self.swarm.chronicle.note("control", f"{name} is locked again", drone=name)


def _at(fields: Any) -> int | None:
    found: int | None = fields.get(AT)
    return found
