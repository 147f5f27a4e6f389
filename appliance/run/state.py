"""What core's own endpoints are given, once everything is there."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from attrs import frozen

from appliance.config import Item
from appliance.http.api.state import CoreState
from appliance.local_agent.service import LocalAgent
from appliance.notices import Notices
from appliance.scheduler.service import Scheduler
from appliance.settings import Change


@frozen(kw_only=True)
class ApplianceState(CoreState):
    """`CoreState` and what only the whole appliance has."""

    agent: LocalAgent
    notices: Notices
    scheduler: Scheduler
    started_unix_us: int
    panels: Callable[[], Awaitable[list[dict[str, Any]]]]
    """Reads the dashboard's panels."""
    readiness: Callable[[], Sequence[Mapping[str, Any]]]
    """Returns name, ok, required and message of every part."""
    prometheus: Callable[[str], Awaitable[str]]
    """Returns the whole of ``/metrics``, by the names of `appliance.prometheus.NAMES` that are asked for."""
    config_items: Callable[[], tuple[str, Sequence[Item]]]
    """Returns the configuration file's path and every setting in force."""
    reload: Callable[[], Awaitable[Change]]
    """Reads the configuration again; raises `BadConfiguration` and changes nothing then."""
    stop: Callable[[], None]
    """Asks for an orderly stop."""
