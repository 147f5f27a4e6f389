"""The JSON twins of the original operator calls (grpc-gateway), in protobuf's JSON: camelCase, int64 as strings."""

from typing import Any, Final

from attrs import field, frozen

from appliance.plugin import (
    PERSON,
    Answer,
    ApplianceError,
    BadInput,
    Call,
    Conflict,
    Head,
    MethodNotAllowed,
    NotAuthenticated,
    NotFound,
    PathNotFound,
    Role,
    Surface,
)

from . import quantities, wire
from .life import State
from .models import GPU_NAMES, SURFACE, Machine
from .own_routes import make
from .removal import remove
from .state import RegistryState

PREFIX: Final = "/api/v1/gateway/machines"
NOT_PERMITTED: Final = "This action is not permitted"
INVALID_POOL: Final = "Invalid pool name"
INVALID_ARGUMENT: Final = 3
NOT_FOUND: Final = 5
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAUTHENTICATED: Final = 16
"""Codes of gRPC (google.rpc.Code)."""


def render_error(error: ApplianceError, head: Head) -> Answer:
    """Render a failure as grpc-gateway does: its code, its words, no details."""
    status, code, words = error.status, INTERNAL, error.message
    if isinstance(error, NotAuthenticated):
        code, words = UNAUTHENTICATED, "invalid or missing token"
    elif isinstance(error, BadInput):
        code = INVALID_ARGUMENT
    elif isinstance(error, PathNotFound | NotFound):
        code = NOT_FOUND
    elif isinstance(error, MethodNotAllowed):
        code = UNIMPLEMENTED
    return Answer(model={"code": code, "message": words, "details": []}, status=status, headers=error.headers)


api = Surface(SURFACE, prefixes=("/api/v1/gateway",), errors=render_error, slash="strip", trust=False)


@frozen(kw_only=True)
class CreateMachine:
    """In which pool a machine is to be made; protobuf's own spelling is taken too."""

    poolName: str = ""  # noqa: N815 (the wire's name)
    pool_name: str = ""


@frozen(kw_only=True)
class Wanted:
    """Which machines: those of one pool, or all; no limit is 0."""

    poolName: str = ""  # noqa: N815 (the wire's name)
    pool_name: str = ""
    limit: int = field(default=0)


def _failed(words: str, **more: Any) -> dict[str, Any]:
    """Return a refusal, which the original answers with status 200."""
    return {"ok": False, "errMsg": words} | more


@api.post(PREFIX, caller=PERSON, body=CreateMachine, limit_bytes=65_536)
async def create(call: Call[CreateMachine]) -> dict[str, Any]:
    """Make a machine and its token, which is shown this once."""
    state, name = call.state, call.body.poolName or call.body.pool_name
    if not call.caller.may(Role.OPERATOR):
        return _failed(NOT_PERMITTED, machine=None)
    if state.pools.named(name) is None:
        return _failed(INVALID_POOL, machine=None)
    made, minted = await make(state, name)
    return {"ok": True, "errMsg": "", "machine": _machine(state, made) | {"registrationToken": minted.secret}}


@api.get(PREFIX, caller=PERSON, query=Wanted)
async def machines(call: Call[None]) -> dict[str, Any]:
    """List machines that have not expired, and which GPUs are to be had."""
    state, wanted = call.state, call.query
    if not call.caller.may(Role.OPERATOR):
        return _failed(NOT_PERMITTED, machines=[], gpus={})
    pool = wanted.poolName or wanted.pool_name
    if pool and state.pools.named(pool) is None:
        return _failed(INVALID_POOL, machines=[], gpus={})
    found = [
        machine
        for machine in state.machines.all()
        if state.machines.state(machine) is not State.EXPIRED and pool in ("", machine.pool)
    ]
    shown = found[: wanted.limit] if wanted.limit > 0 else found
    gpus = dict.fromkeys(GPU_NAMES, False) | {name: count > 0 for name, count in state.gpu_counts(None).items()}
    return {"ok": True, "errMsg": "", "machines": [_machine(state, each) for each in shown], "gpus": gpus}


@api.delete(PREFIX + "/{machine_id}", caller=PERSON, query=Wanted)
async def delete(call: Call[None]) -> dict[str, Any]:
    """Delete a machine; as with the original, its token stays valid."""
    state, wanted = call.state, call.query
    if not call.caller.may(Role.OPERATOR):
        return _failed(NOT_PERMITTED)
    pool = wanted.poolName or wanted.pool_name
    if not pool or state.pools.named(pool) is None:
        return _failed(INVALID_POOL)
    try:
        await remove(state.core, state.machines, state.machines.one(call.path["machine_id"], pool=pool))
    except (NotFound, Conflict) as error:
        return _failed(error.message)
    return {"ok": True, "errMsg": ""}


def _machine(state: RegistryState, machine: Machine) -> dict[str, Any]:
    found, metrics = state.machines.state(machine), machine.metrics
    return {
        "id": machine.machine_id,
        "cpu": str(machine.cpu_millicores),
        "memory": str(machine.memory_mib),
        "gpu": state.gpu_name(machine),
        "gpuCount": machine.gpu_count,
        "status": (State.READY if found is State.LATE else found).value,
        "poolName": machine.pool,
        "providerName": machine.provider,
        "registrationToken": "",
        "tailscaleUrl": "",
        "tailscaleAuth": "",
        "lastKeepalive": wire.seconds(machine.last_keepalive_unix_us),
        "created": wire.seconds(machine.created_unix_us),
        "agentVersion": machine.agent_version,
        "machineMetrics": None if metrics is None else _metrics(machine),
        "userData": "",
    }


def _metrics(machine: Machine) -> dict[str, Any]:
    metrics = machine.metrics
    assert metrics is not None
    memory = quantities.memory_bytes(metrics.total_memory_available) // quantities.MIB
    return {
        "totalCpuAvailable": _int32(metrics.total_cpu_available),
        # In MB, as the document has it: bytes, which agents send, fit no int32.
        "totalMemoryAvailable": _int32(memory),
        "cpuUtilizationPct": metrics.cpu_utilization_pct,
        "memoryUtilizationPct": metrics.memory_utilization_pct,
        "workerCount": _int32(metrics.worker_count),
        "containerCount": _int32(metrics.container_count),
        "freeGpuCount": _int32(metrics.free_gpu_count),
        "cacheUsagePct": metrics.cache_usage_pct,
        "cacheCapacity": _int32(metrics.cache_capacity),
        "cacheMemoryUsage": _int32(metrics.cache_memory_usage),
        "cacheCpuUsage": metrics.cache_cpu_usage,
    }


def _int32(value: int) -> int:
    """Return a figure as its protobuf field holds it; the original's overflows."""
    return min(value, 2**31 - 1)
