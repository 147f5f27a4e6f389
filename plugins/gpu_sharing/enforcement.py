"""Whether a worker's limits hold, and why or why not: said wherever they are shown."""

from attrs import define

from . import launching
from .models import Agent, Worker
from .wire.render import Limits, limits_of

UNPROVEN = "unproven on this host: no check on a real device has run"


@define(eq=False)
class Enforcement:
    """Of this host's workers; what other hosts do is theirs."""

    def limits(self, worker: Worker, agent: Agent) -> Limits:
        """Return what holds for a worker."""
        if not agent.is_local or not worker.claim.is_fraction:
            return limits_of(worker, agent)
        if worker.gpu_ids and all(gpu_id.startswith("MIG-") for gpu_id in worker.gpu_ids):
            return Limits(limits="enforced", reason=f"its MIG instance has no more than it was made with; {UNPROVEN}")
        if worker.isolation_mode == "hard":
            reason = "no MIG instance is among its GPUs: `appliance share mig plan` makes one; give the worker its id"
            return Limits(limits="advisory", reason=reason)
        if launching.has_mps(worker):
            return Limits(limits="enforced", reason=f"MPS holds each process of it to its part; {UNPROVEN}")
        found = limits_of(worker, agent)
        missing = f"no MPS control daemon is at {launching.MPS_PIPE}: nothing holds its processes to their part"
        return Limits(limits="advisory", reason=missing if found.limits == "advisory" else found.reason)
