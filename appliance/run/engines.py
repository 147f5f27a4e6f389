"""Asks plugins for their task engines, each with its own settings and folder, and runs them with the scheduler."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from appliance.engines import TaskEngine
from appliance.host import Host
from appliance.loading import Plugin, Plugins
from appliance.scheduler.service import Scheduler
from appliance.supervise import Supervisor

PATIENCE_SECONDS: Final = 0.1
"""How long a start waits for the engines' first look: tasks wait for it by themselves, and people need not."""


def task_engines(
    plugins: Plugins,
    *,
    host: Host,
    settings: Callable[[str], Any],
    folder: Callable[[str], Path],
    appliance_id: str,
) -> dict[str, list[TaskEngine]]:
    """Return the engines of every plugin by the plugin's name, in load order.

    :param settings: returns a plugin's own settings by its name.
    :param folder: returns a plugin's own folder, which exists.
    """
    found: dict[str, list[TaskEngine]] = {}
    taken: dict[str, str] = {}
    for one in list(plugins.running):
        if plugins.implements(one, "appliance_task_engines"):
            try:
                engines = plugins.ask_one(
                    one,
                    "appliance_task_engines",
                    host=host,
                    settings=settings(one.name),
                    folder=folder(one.name),
                    appliance_id=appliance_id,
                )
                found[one.name] = _checked(one, engines, taken)
            except (Exception, SystemExit) as error:
                plugins.fail(one, error)
    return found


def _checked(plugin: Plugin, engines: Any, taken: dict[str, str]) -> list[TaskEngine]:
    if not (isinstance(engines, list) and all(isinstance(one, TaskEngine) for one in engines)):
        raise TypeError("appliance_task_engines must return a list of TaskEngine")
    for one in engines:
        if (
            taken.setdefault(one.name, plugin.name) != plugin.name
            or [each.name for each in engines].count(one.name) > 1
        ):
            raise ValueError(f"there is an engine {one.name!r} already, of the plugin {taken[one.name]}")
    return engines


@asynccontextmanager
async def scheduling(
    scheduler: Scheduler, engines: Mapping[str, Sequence[TaskEngine]], supervisor: Supervisor
) -> AsyncIterator[None]:
    """Run the engines, each as a service of its plugin, and the scheduler on them; in the end it stops before they do.

    What the engines run goes on.
    """
    async with trio.open_nursery() as running_engines:
        async with trio.open_nursery() as starting:
            for plugin, offered in engines.items():
                start = partial(supervisor.start, running_engines, plugin, offered, patience_seconds=PATIENCE_SECONDS)
                starting.start_soon(start)
        async with trio.open_nursery() as nursery:
            await supervisor.start(nursery, "core", [scheduler])
            yield
            nursery.cancel_scope.cancel()
        running_engines.cancel_scope.cancel()
