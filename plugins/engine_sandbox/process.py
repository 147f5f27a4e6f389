"""The engine ``process``: plain processes, for hosts whose operator has said that this is what they want.

Such a task sees what its user sees on this host, its network included. As root each task is a user of its own, whose
processes end with its control group; else tasks run as the appliance's own user, which must be allowed on purpose.
"""

import os
import shutil
from pathlib import Path
from typing import Any, ClassVar

from attrs import define, evolve

from appliance.plugin import EndReason, EngineStatus, Launch, LaunchFailed

from .arguments import command_of, variables
from .engine import KeptEngine, refused
from .gpus import access
from .images import HOST
from .kept import Recipe
from .records import AttemptFolder

SAME_USER = "tasks of the engine process run as the appliance's own user"


@define(eq=False)
class ProcessEngine(KeptEngine):
    """Tasks as plain processes."""

    mode: ClassVar[int] = 0o711

    def __attrs_post_init__(self) -> None:
        self.name = "process"
        self._status = self.says("starting", "has not looked yet")

    def place(self) -> Path:
        """Return where the folders of attempts are: not in our own folder, which nobody else can go through."""
        if self.settings.process_folder:
            return Path(self.settings.process_folder) / self.appliance_id
        if os.geteuid() == 0:
            return Path("/var/lib/appliance-tasks") / self.appliance_id
        return self.folder / "processes"

    async def lacking(self) -> EngineStatus | None:
        """Look whether tasks have somebody to run as."""
        if os.geteuid() != 0 and not self.settings.unsafe_same_uid:
            return self.says(
                "unavailable",
                "the appliance is not root, so it cannot run tasks as other users",
                hint="unsafe_same_uid = true in [plugins.engine_sandbox] runs them as its own",
            )
        return None

    def described(self) -> str:
        """Return as whom tasks run."""
        whom = "as users of their own" if os.geteuid() == 0 else "as the appliance's own user"
        return f"plain processes {whom}, with this host's files and network"

    def advice(self) -> str:
        """Tell where to look."""
        return f"see {self.folder / 'process-keeper.log'}"

    def says(self, state: Any, message: str, *, hint: str = "", features: frozenset[str] = frozenset()) -> EngineStatus:
        """Return a status of this engine, with what is unsafe about it."""
        unsafe = "" if os.geteuid() == 0 or state != "ok" else SAME_USER
        return evolve(super().says(state, message, hint=hint, features=features), unsafe=unsafe)

    def recipe(self, launch: Launch, folder: AttemptFolder) -> Recipe:
        """Return how a process is started."""
        if launch.image != HOST:
            raise LaunchFailed(
                f"the engine process has no image {launch.image[:100]!r}",
                reason=EndReason.IMAGE,
                hint=f"there are: {HOST}",
            )
        if launch.volumes:
            raise refused("the engine process lends no volumes", "a task sees this host's own folders")
        command = command_of(launch, "")
        gpus = access(self.host, launch.gpu_ids)
        record, request, limits = self.base(launch, has_init=False)
        writable = folder.path / "space" if record.has_space else folder.path
        own = {
            "TMPDIR": str(writable / "tmp"),
            "APPLIANCE_OUTPUT": str(writable / "output"),
        }
        if launch.inputs is not None:
            shutil.copytree(launch.inputs, folder.path / "input", dirs_exist_ok=True)
            own["APPLIANCE_INPUT"] = str(folder.path / "input")
        request |= {
            "argv": command,
            "options": [],
            "variables": own | variables(launch, gpus, home=str(writable / "tmp")),
            "groups": self.groups(gpus) if record.uid is not None else [],
            "stage": [],
            "is_sandbox": False,
            "cwd": str(writable / "tmp"),
        }
        return Recipe(record=record, request=request, limits=limits)
