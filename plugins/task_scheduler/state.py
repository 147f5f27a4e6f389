"""What the handlers of this API share."""

from attrs import define

from appliance.plugin import Caller, Core, JobRecord

from .callers import seen
from .settings import TaskSettings
from .telemetry import Telemetry
from .workers import Workers


@define(eq=False, kw_only=True)
class TaskState:
    """One for each running appliance."""

    core: Core
    settings: TaskSettings
    workers: Workers
    telemetry: Telemetry

    def network(self) -> str:
        """Return the network of a task whose submitter names none."""
        if self.settings.network != "auto":
            return self.settings.network
        offers = (engine for host in self.core.scheduler.hosts() for engine in host.engines)
        usable = any(each.is_allowed and not each.blocked and "network" in each.features for each in offers)
        return "bridge" if usable else "none"

    def record(self, caller: Caller, job_id: str) -> JobRecord:
        """Return a task that the caller may see; raise `NotFound`, the same for one that does not exist."""
        return seen(caller, self.core.scheduler.get(job_id))
