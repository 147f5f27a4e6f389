"""The service that keeps this host listed, and lets it build where an operator has said so."""

import os
import re
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import structlog
import trio
from attrs import define, field

from appliance.plugin import ApplianceError, Core, Readiness

from ..binhost.binhost import Binhost
from ..build_logs.service import BuildLogs
from ..drone import host, portage
from ..drone.drone import Drone
from ..drone.models import Options
from ..drone.spool import Spool
from ..models import NAME_PATTERN
from ..swarm import Swarm
from .server import LocalServer
from .settings import LocalSettings

log = structlog.get_logger(__name__)

STOP_SECONDS: Final = 5.0
BEHIND_NAME: Final = "-local"
"""The host may have a drone of its own besides, of its own name."""
FOLDER: Final = "local-drone"
SHOWN_ONLY: Final = "shown-only"
"""A file that says that it was we who paused the drone, and no operator."""
BY: Final = "local_builds"


@define(eq=False)
class LocalDrone:
    """This host in its own swarm."""

    core: Core
    settings: LocalSettings
    swarm: Swarm
    binhost: Binhost
    build_logs: BuildLogs
    uid: Callable[[], int] = os.geteuid
    name: str = "swarm-local-drone"
    problem: str | None = field(default=None, init=False)
    """Why it does not build though it should."""

    @property
    def readiness(self) -> Readiness:
        """Says why this host does not build though it should."""
        return Readiness(name="swarm-local-drone", check=lambda: self.problem)

    @property
    def drone_name(self) -> str:
        """How it is called in the swarm."""
        return f"{(host.host_name() or 'host')[: 63 - len(BEHIND_NAME)]}{BEHIND_NAME}"

    @property
    def drone_id(self) -> str:
        """Its id: that of this appliance, never the machine's own."""
        drone_id = self.core.host_id.replace("-", "")
        assert re.fullmatch(NAME_PATTERN, drone_id)
        return drone_id

    @property
    def builds(self) -> bool:
        """Whether it may build, and can."""
        return self.settings.local_builds and self.uid() == 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be a drone until cancelled; what was being built is handed back by the next start."""
        folder = self.core.folder / FOLDER
        await trio.to_thread.run_sync(partial(folder.mkdir, mode=0o700, exist_ok=True))
        if self.settings.local_builds and not self.builds:
            self.problem = "local_builds needs an appliance that runs as root: emerge does not build otherwise"
            log.warning("local_drone.cannot_build", reason=self.problem)
        options = await trio.to_thread.run_sync(self._options, folder)
        server = LocalServer(self.core, self.swarm, self.binhost, self.build_logs, self.drone_id, self.drone_name)
        spool = Spool(folder)
        spool.open()
        drone = Drone(
            options=options,
            server=server,
            spool=spool,
            figures=host.Figures(folder),
            tell=lambda line: log.info("local_drone", said=line),
        )
        try:
            await self._set_paused(drone, server, folder / SHOWN_ONLY)
            task_status.started()
            await drone.run()
        finally:
            spool.close()

    async def _set_paused(self, drone: Drone, server: LocalServer, shown_only: Path) -> None:
        """Register, and pause what may not build: work must never be kept for it."""
        await server.register(drone.about())
        was_ours = await trio.to_thread.run_sync(shown_only.exists)
        try:
            if not self.builds:
                await trio.to_thread.run_sync(shown_only.touch)
                if not self.swarm.drone(self.drone_id).paused:
                    await self.swarm.pause_drone(self.drone_id, True, by=BY)
            elif was_ours:
                await self.swarm.pause_drone(self.drone_id, False, by=BY)
                await trio.to_thread.run_sync(partial(shown_only.unlink, missing_ok=True))
        except ApplianceError as error:
            log.warning("local_drone.not_set", reason=error.message)
            raise

    def _options(self, folder: Path) -> Options:
        words = shlex.split(self.settings.local_build_command)
        program = self.core.host.find_program(words[0]) or words[0]
        return Options(
            drone_id=self.drone_id,
            name=self.drone_name,
            build_argv=(program, *words[1:]),
            state_dir=folder,
            pkgdir=portage.packages_folder() if self.builds else folder,
            tree=host.TREE,
            cores=len(os.sched_getaffinity(0)),
            ram_gb=host.ram_gb(),
            stop_seconds=STOP_SECONDS,
        )
