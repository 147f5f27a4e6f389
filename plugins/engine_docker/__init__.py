"""Tasks in containers of Docker or Podman."""

from pathlib import Path
from typing import Any

from appliance.plugin import Host, TaskEngine, hookimpl

from .engine import DockerEngine
from .settings import DockerSettings

appliance_api = 1


@hookimpl
def appliance_settings() -> type[Any]:
    """Name the class behind ``[plugins.engine_docker]``."""
    return DockerSettings


@hookimpl
def appliance_task_engines(
    host: Host, settings: DockerSettings | None, folder: Path, appliance_id: str
) -> list[TaskEngine]:
    """Offer one engine on every host: a daemon that is installed later is found then."""
    return [DockerEngine(settings or DockerSettings(), host, folder, appliance_id)]
