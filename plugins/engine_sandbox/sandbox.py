"""The engine ``sandbox``: tasks in sandboxes of bubblewrap."""

import os
import re
from pathlib import Path
from typing import Final

from attrs import define, field

from appliance.plugin import EngineStatus, Launch

from .arguments import OWN_ETC, PATH, Stage, Surroundings, command_of, options
from .engine import KeptEngine, output_of, refused
from .gpus import access, driver_libraries, has_gpus
from .kept import Recipe
from .records import AttemptFolder

VERSION_MIN: Final = (0, 8)


@define(eq=False)
class SandboxEngine(KeptEngine):
    """Tasks in sandboxes of bubblewrap, with limits by control groups."""

    bwrap: str = field(default="", init=False)
    version: str = field(default="", init=False)
    libraries: dict[str, str] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.name = "sandbox"
        self._status = self.says("starting", "has not looked yet")

    def place(self) -> Path:
        """Return where the folders of attempts are."""
        return self.folder / "attempts"

    async def lacking(self) -> EngineStatus | None:
        """Look for bubblewrap."""
        found = self.host.find_program("bwrap")
        if found is None:
            message = "bubblewrap (bwrap) is not on this host"
            return self.says("absent", message, hint="apt install bubblewrap")
        version = (await output_of(found, "--version")).strip()
        numbers = re.search(r"(\d+)\.(\d+)", version)
        if numbers is None or (int(numbers[1]), int(numbers[2])) < VERSION_MIN:
            return self.says("unavailable", f"{version or found}: 0.8 or newer is needed")
        self.bwrap, self.version = found, version
        if has_gpus(self.host):
            self.libraries = driver_libraries(await output_of("ldconfig", "-p"))
        etc = self.folder / "etc"
        etc.mkdir(mode=0o755, exist_ok=True)
        for name, text in OWN_ETC.items():
            (etc / name).write_text(text)
            (etc / name).chmod(0o644)
        return None

    def described(self) -> str:
        """Return bubblewrap's version, and as whom tasks run."""
        whom = "tasks run as users of their own" if os.geteuid() == 0 else "tasks run as our own user, in sandboxes"
        gpus = ", GPUs not proven on such a host" if has_gpus(self.host) else ""
        return f"{self.version} at {self.bwrap}, {whom}, root read-only, no network{gpus}"

    def advice(self) -> str:
        """Tell what mostly stands in the way."""
        if "INVOCATION_ID" in self.host.environment:
            return (
                "the unit may forbid it: packaging/appliance-sandbox.conf, put into"
                " /etc/systemd/system/appliance.service.d, lets it"
            )
        return "user namespaces may be off: see sysctl kernel.unprivileged_userns_clone and user.max_user_namespaces"

    def recipe(self, launch: Launch, folder: AttemptFolder) -> Recipe:
        """Return how a sandbox is made."""
        image, root = self.images.named(launch.image)
        command = command_of(launch, image.command)
        gpus = access(self.host, launch.gpu_ids)
        data = self.folder.parent.parent
        for volume in launch.volumes:
            source = volume.source.resolve()
            if source.is_relative_to(data) or data.is_relative_to(source) or not source.exists():
                raise refused(
                    f"the volume {volume.name} cannot be lent: {source}", "it must exist, apart from our data"
                )
        record, request, limits = self.base(launch, has_init=True)
        stage = Stage(is_used=record.uid is not None)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        around = Surroundings(
            host=self.host,
            root=root,
            own_etc=self.folder / "etc",
            writable=folder.path / "space" if record.has_space else folder.path,
            libraries=self.libraries,
            host_folders=self.settings.host_folders,
            hidden=(data,),
            shared_memory_bytes=launch.memory_mib << 20 or memory // 2,
        )
        told = options(launch, around, gpus, stage)
        request |= {
            "argv": [self.bwrap, "--", *command],
            "options": told,
            "variables": {"PATH": PATH, "LANG": "C.UTF-8"},
            "groups": self.groups(gpus) if record.uid is not None else [],
            "stage": stage.binds,
            "is_sandbox": True,
            "cwd": "/",
        }
        return Recipe(record=record, request=request, limits=limits)
