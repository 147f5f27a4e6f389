"""Puts the parts of this plugin together."""

import os
from pathlib import Path

from appliance.plugin import Host, TaskEngine, unix_now_us

from .extracting import Caps
from .images import Images
from .process import SAME_USER, ProcessEngine
from .sandbox import SandboxEngine
from .settings import SandboxSettings


def images_of(settings: SandboxSettings, folder: Path) -> Images:
    """Return the images in the plugin's folder."""
    return Images(folder / "images", Caps(bytes_max=settings.image_bytes_max), unix_now_us)


def engines(host: Host, settings: SandboxSettings, folder: Path, appliance_id: str) -> list[TaskEngine]:
    """Return the engines, best first."""
    images = images_of(settings, folder)
    found: list[TaskEngine] = [SandboxEngine(host, folder, appliance_id, settings, images)]
    if settings.process:
        found.append(ProcessEngine(host, folder, appliance_id, settings, images))
    return found


def runs_as_us(settings: SandboxSettings) -> str:
    """Return in words what may run as our own user though it is others'."""
    return SAME_USER if settings.process and settings.unsafe_same_uid and os.geteuid() != 0 else ""
