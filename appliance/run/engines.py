"""Asks plugins for their task engines, each with its own settings and folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance.engines import TaskEngine
from appliance.host import Host
from appliance.loading import Plugin, Plugins


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
