"""Whether a worker's limits hold, and why or why not: said wherever they are shown.

*Enforced* is said of what really is: a worker on MIG instances, which have no more than they were made with; or one
that runs under an MPS daemon of ours, started while that daemon answered. Anything else is advisory, with the reason.
"""

from collections.abc import Callable
from typing import Final, Protocol

from attrs import define

from . import launching, mps
from .admission import advisory
from .mig import UNPROVEN
from .models import Agent, Worker
from .wire.render import Limits, limits_of

BY_MIG: Final = "its MIG instance has no more than it was made with"
BY_MPS: Final = "MPS holds each of its processes to its part, as long as that keeps the variables it was started with"
NO_INSTANCE: Final = (
    "not all of its GPUs are MIG instances: plan one with `appliance share mig plan`, and give it its id"
)
SHARED_INSTANCE: Final = "others use its MIG instance, too, and nothing keeps their hands off its part"
FOREIGN: Final = (
    f"somebody else's MPS control daemon at {launching.MPS_PIPE} is told its part; nothing here can check it"
)
NOT_NVIDIA: Final = "only GPUs of NVIDIA can be held to a part of them"
NOT_RUNNING: Final = "it does not run: MPS will hold its processes once it does"
OLDER: Final = "it was started before its MPS control daemon, and is started again"


class Starter(Protocol):
    """What runs the workers of this host."""

    @property
    def mps(self) -> mps.Mps:
        """Runs the MPS daemons."""

    def is_held_by_mps(self, worker_id: str) -> bool:
        """Whether a worker runs, and was started under the daemon of ours that answers now."""


@define(eq=False)
class Enforcement:
    """Of this host's workers; what other hosts do is theirs."""

    running: Starter
    mig_proof: Callable[[], str] = lambda: UNPROVEN
    """Tells in words what has been seen of MIG on this host."""

    def limits(self, worker: Worker, agent: Agent) -> Limits:
        """Return what holds for a worker."""
        beside = limits_of(worker, agent)
        if not agent.is_local or not worker.claim.is_fraction:
            return beside
        if worker.gpu_ids and all(gpu_id.startswith("MIG-") for gpu_id in worker.gpu_ids):
            return self._in_instances(worker, agent)
        if worker.isolation_mode == "hard":
            return Limits(limits="advisory", reason=NO_INSTANCE)
        if self.running.is_held_by_mps(worker.worker_id):
            others = _beside(worker, agent)
            if others:
                return Limits(limits="advisory", reason=f"MPS holds its own processes, but there is one {others}")
            return Limits(limits="enforced", reason=f"{BY_MPS}; {UNPROVEN}")
        return Limits(limits="advisory", reason=self._why_not(worker, agent))

    def _in_instances(self, worker: Worker, agent: Agent) -> Limits:
        others = [each for each in agent.workers.values() if each is not worker and each.claim.holds]
        if any(set(each.gpu_ids) & set(worker.gpu_ids) for each in others):
            return Limits(limits="advisory", reason=SHARED_INSTANCE)
        sizes = " and ".join(f"{gpu.vram_mb} MB" for gpu in agent.gpus if gpu.gpu_id in worker.gpu_ids)
        return Limits(limits="enforced", reason=f"{BY_MIG} ({sizes or 'it is not there now'}); {self.mig_proof()}")

    def _why_not(self, worker: Worker, agent: Agent) -> str:
        if not mps.wants(worker, agent):
            return NOT_NVIDIA
        held = self.running.mps.state(worker.worker_id)
        if held is not None:
            return held.why or (OLDER if worker.status == "running" else NOT_RUNNING)
        if launching.has_foreign_mps(worker):
            return FOREIGN
        return mps.MISSING if mps.is_missing() else NOT_RUNNING


def _beside(worker: Worker, agent: Agent) -> str:
    """Return in words who runs on a worker's GPUs without limits, so that its part is not its own; empty for nobody."""
    others = [each for each in agent.workers.values() if each is not worker and each.status != "stopped"]
    return advisory(True, worker.gpu_ids, [each.claim for each in others if each.claim.holds]).removeprefix(
        "advisory: "
    )
