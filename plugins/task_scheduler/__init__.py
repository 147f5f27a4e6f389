"""Container tasks, as the documented API has them: tasks, workers, files, and their live streams."""

from typing import Any

from appliance.plugin import Command, Core, Migration, Parts, hookimpl

from .schema import MIGRATIONS
from .settings import TaskSettings
from .setup import build

appliance_api = 1


@hookimpl
def appliance_settings() -> type[Any]:
    """Name the class behind ``[plugins.task_scheduler]``."""
    return TaskSettings


@hookimpl
def appliance_migrations() -> list[Migration]:
    """Give the table of registered workers."""
    return list(MIGRATIONS)


@hookimpl
def appliance_commands() -> list[Command]:
    """Offer ``appliance task`` and ``appliance run``."""
    return [
        Command(
            name="task",
            help="Submit container tasks, list them, read their logs and fetch their files.",
            target="plugins.task_scheduler.commands:task",
            answers_help=True,
        ),
        Command(
            name="run",
            help="Run a container task, follow its output and end as it does.",
            target="plugins.task_scheduler.commands:run",
            answers_help=True,
        ),
    ]


@hookimpl
def appliance_setup(core: Core) -> Parts:
    """Serve the documented endpoints and our own; core's scheduler runs the tasks."""
    return build(core)
