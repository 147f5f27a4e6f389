"""MIG instances on our own surface: a plan, and its confirmation."""

from typing import Any

from attrs import field, frozen
from attrs.validators import and_, ge, le, max_len, optional

from appliance.plugin import PERSON, Call, Role, Surface, to_unix_s

from . import mig
from .mig_profiles import percent_of
from .state import SharingState


def declare(api: Surface, prefix: str) -> None:
    """Declare the endpoints on a surface."""
    api.post(f"{prefix}/mig/plan", caller=PERSON, role=Role.OPERATOR, body=WantedInstance, status=201)(plan_mig)
    api.post(f"{prefix}/mig/plan/{{plan_id}}/confirm", caller=PERSON, role=Role.ADMIN)(confirm_mig)


@frozen(kw_only=True)
class WantedInstance:
    """What a MIG instance of a GPU of this host shall have at least."""

    gpu_id: str = field(validator=max_len(200))
    vram_mb: int | None = field(default=None, validator=optional(and_(ge(1), le(2**31))))
    compute_percent: int | None = field(default=None, validator=optional(and_(ge(1), le(100))))


async def plan_mig(call: Call[WantedInstance]) -> dict[str, Any]:
    """Say what would be done to give a worker a MIG instance of its own; nothing is done."""
    state, body = call.state, call.body
    made = await state.mig.plan(body.gpu_id, vram_mb=body.vram_mb, compute_percent=body.compute_percent)
    return _plan(state, made)


async def confirm_mig(call: Call[None]) -> dict[str, Any]:
    """Do what a plan of the last ten minutes says, if the GPU is still as it was; ``mig_id`` is for workers to name."""
    state: SharingState = call.state
    made = await state.mig.confirm(call.path["plan_id"])
    instance = {
        "profile": made.profile.name,
        "gpu_instance_id": made.instance_id,
        "mig_id": made.mig_id,
        "memory_mib": made.memory_mib,
    }
    return _plan(state, made.plan) | {"is_done": True, "instance": instance}


def _plan(state: SharingState, plan: mig.Plan) -> dict[str, Any]:
    return {
        "plan_id": plan.plan_id,
        "gpu_id": plan.gpu_id,
        "enables_mig_mode": plan.enables_mode,
        "gpu_instance": {
            "profile": plan.profile.name,
            "profile_id": plan.profile.profile_id,
            "memory_mib": plan.profile.memory_mib,
            "compute_percent": percent_of(plan.profile, plan.facts.profiles),
            "is_estimate": plan.facts.is_estimate,
        },
        "compute_instance": "all of it",
        "commands": [["nvidia-smi", *step] for step in plan.steps],
        "disturbs": list(plan.disturbs),
        "problem": plan.problem,
        "proof": state.mig.proof(),
        "words": plan.words,
        "ends_unix_s": to_unix_s(plan.made_unix_us + mig.PLAN_US),
    }
