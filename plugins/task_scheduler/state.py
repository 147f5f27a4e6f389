"""What the handlers of this API share."""

from attrs import define

from appliance.plugin import Caller, Core, EngineOffer, JobRecord

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

    def way(self, image: str, engine: str = "") -> tuple[str, str]:
        """Return engine (empty for any) and network of a task whose submitter names no network.

        :param engine: the one that the submitter names; where that is empty, an image may be one engine's alone.
        """
        engine = engine or self.core.scheduler.engine_with(image)
        return engine, self.network(engine)

    def network(self, engine: str = "") -> str:
        """Return the network of a task whose submitter names none.

        :param engine: the only one that the task may run on; empty for any.
        """
        if self.settings.network != "auto":
            return self.settings.network
        offers = (each for host in self.core.scheduler.hosts() for each in host.engines)
        return "bridge" if any(_has_network(each) for each in offers if engine in ("", each.name)) else "none"

    def record(self, caller: Caller, job_id: str) -> JobRecord:
        """Return a task that the caller may see; raise `NotFound`, the same for one that does not exist."""
        return seen(caller, self.core.scheduler.get(job_id))


def _has_network(offer: EngineOffer) -> bool:
    is_usable = not offer.blocked and (offer.is_allowed or not offer.unsafe)
    return is_usable and "network" in offer.features
