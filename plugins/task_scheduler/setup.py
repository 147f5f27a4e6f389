"""Puts the parts of the task scheduler's API together."""

from appliance.plugin import Core, Parts

from . import (
    file_routes,
    own_file_routes,
    own_log_routes,
    own_overview_routes,
    own_routes,
    own_schedule_routes,
    own_surface,
    routes,
    socket_routes,
    task_routes,
    worker_routes,
)
from .overview import panel
from .state import TaskState
from .telemetry import Telemetry
from .workers import Workers

DECLARED = (
    file_routes,
    own_file_routes,
    own_log_routes,
    own_overview_routes,
    own_routes,
    own_schedule_routes,
    socket_routes,
    task_routes,
    worker_routes,
)
"""Imported for the endpoints that they declare on the two surfaces."""


def build(core: Core) -> Parts:
    """Make the parts on what core offers."""
    workers = Workers(core)
    telemetry = Telemetry(core.scheduler, workers, never_zero=core.settings.never_zero)
    state = TaskState(core=core, settings=core.settings, workers=workers, telemetry=telemetry)
    return Parts(
        surfaces=[routes.api.bind(state), own_surface.api.bind(state)],
        services=[telemetry],
        panels=[panel(core.scheduler)],
    )
