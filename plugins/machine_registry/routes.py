"""The documented endpoints: agents register and beat, and may look around in their own pool."""

from typing import Any, Final

import msgspec
import trio

from appliance.plugin import (
    PERSON,
    ApplianceError,
    Call,
    Caller,
    Conflict,
    Forbidden,
    Head,
    Kind,
    NotAuthenticated,
    Role,
    Surface,
)

from . import quantities, wire
from .life import State, Status
from .machines import Beat, Registration
from .models import DEFAULT_PROVIDER, SURFACE, Machine
from .state import RegistryState
from .tokens import machines_max

PREFIX: Final = "/api/v1/machine"
AGENTS: Final = frozenset({Kind.MACHINE, Kind.WORKER})
BODY_BYTES: Final = 65_536
AT_ONCE: Final = 256
"""Machines that are put into a list before others have their turn."""
VERSION_CHARACTERS: Final = 64
GONE_HINT: Final = "register again: restart the agent (under systemd with Restart=always)"


def authenticate(head: Head, state: RegistryState) -> Caller | None:
    """Decide which agent calls, before anything of the body is looked at; GPU counts are left to core."""
    if "workspace" in head.path_values:
        return None
    credential = state.core.credentials.find(_token(head), AGENTS)
    if credential is None:
        raise NotAuthenticated(wire.INVALID_TOKEN)
    if head.method == "POST":
        _check_content_type(head)
    return Caller(
        kind=credential.kind,
        subject=credential.subject,
        scope=credential.scope,
        credential_id=credential.credential_id,
        scopes=credential.scopes,
    )


def _token(head: Head) -> str:
    """Return the token sent, with or without ``Bearer``; empty for none, and for several."""
    values = [value for name, value in head.headers if name == b"authorization"]
    if len(values) != 1:
        return ""
    text = values[0].decode("latin-1").strip()
    return text[7:].strip() if text[:7].lower() == "bearer " else text


def _check_content_type(head: Head) -> None:
    said = (head.header(b"content-type") or "").partition(";")[0].strip().lower()
    if said != "application/json":
        raise wire.Refused(400, wire.INVALID_PAYLOAD, hint="send Content-Type: application/json")


api = Surface(
    SURFACE, prefixes=(PREFIX,), errors=wire.render_error, authenticate=authenticate, slash="strip", trust=False
)


@api.post(f"{PREFIX}/register", caller=AGENTS, body=wire.Register, limit_bytes=BODY_BYTES)
async def register(call: Call[wire.Register]) -> dict[str, Any]:
    """Register a machine; it is ready from its first keepalive on.

    A machine that registers again is registered until it beats. The body's token is never looked at. ``cpu``,
    ``memory`` and ``gpu_count`` are read as documented, which is not as Kubernetes reads them: "8" is 8 millicores.
    """
    state, body = call.state, call.body
    wire.check_register(body)
    said = _registration(call)
    try:
        machine = await state.machines.register(said, call.caller.credential_id, machines_max(call.caller.scopes))
    except (Forbidden, Conflict):
        raise
    except ApplianceError as error:
        raise wire.Refused(500, "Failed to register machine", hint=error.message) from error
    return wire.registered(machine)


def _registration(call: Call[wire.Register]) -> Registration:
    state: RegistryState = call.state
    body = call.body
    _refuse_other(call.caller, body.pool_name, body.machine_id)
    cpu, memory = quantities.cpu_millicores(body.cpu), quantities.memory_mib(body.memory)
    gpus = quantities.gpu_count(body.gpu_count)
    if cpu is None:
        raise wire.Refused(500, "Invalid machine cpu value", hint='$.cpu: write millicores, such as "8000m"')
    if memory is None:
        raise wire.Refused(500, "Invalid machine memory value", hint='$.memory: write "16Gi", "32768Mi" or MiB')
    if gpus is None:
        raise wire.Refused(500, "Invalid gpu count", hint='$.gpu_count: write a count in a string, such as "1"')
    if state.pools.named(body.pool_name) is None:
        known = ", ".join(pool.name for pool in state.pools.all()) if call.caller.kind is Kind.WORKER else ""
        raise wire.Refused(500, "Invalid pool name", hint=f"$.pool_name: one of {known}" if known else "")
    return Registration(
        key=(body.provider_name or DEFAULT_PROVIDER, body.pool_name, body.machine_id),
        hostname=body.hostname or f"machine-{body.machine_id}",
        cpu_millicores=cpu,
        memory_mib=memory,
        gpu_count=gpus,
        private_ip=body.private_ip,
    )


def _refuse_other(caller: Caller, pool: str, machine_id: str) -> None:
    """Raise `Forbidden` for a token that is bound to another pool or machine."""
    if caller.kind is Kind.MACHINE and (caller.scope != pool or caller.subject not in ("", machine_id)):
        raise Forbidden(wire.INVALID_TOKEN)


@api.post(f"{PREFIX}/keepalive", caller=AGENTS, body=wire.Keepalive, limit_bytes=BODY_BYTES, hot=True)
async def keepalive(call: Call[wire.Keepalive]) -> msgspec.Raw:
    """Keep a machine ready for five more minutes. Each figure is finite and no greater than 2^53."""
    state: RegistryState = call.state
    body = call.body
    key = wire.names(body)
    _refuse_other(call.caller, key[1], key[2])
    if body.metrics is not None:
        wire.check_metrics(body.metrics)
    machine = state.machines.get(key)
    if machine is None or machine.is_local:
        raise _gone()
    found = state.machines.state(machine)
    if found is State.PENDING or (found is State.EXPIRED and not _may_return(state, machine)):
        raise _gone()
    version = wire.printable(body.agent_version, VERSION_CHARACTERS)
    beat = Beat(
        version, body.metrics, wire.inference_of(body.inference), (call.head.peer[0] if call.head.peer else "", version)
    )
    if found is State.READY or found is State.LATE:
        state.machines.beat(machine, beat)
        return msgspec.Raw(wire.kept(machine))
    try:
        ready = await state.machines.become_ready(machine, beat)
    except ApplianceError as error:
        raise wire.Refused(500, "Failed to update keepalive", hint=error.message) from error
    if ready is None:
        raise _gone()
    return msgspec.Raw(wire.kept(ready))


def _may_return(state: RegistryState, machine: Machine) -> bool:
    return state.settings.revive_on_keepalive and machine.status is not Status.PENDING


def _gone() -> wire.Refused:
    return wire.Refused(500, wire.GONE, code="machine_not_found", hint=GONE_HINT)


@api.get(f"{PREFIX}/config", caller=AGENTS)
async def config(call: Call[None]) -> dict[str, None]:
    """Tell the gateway's configuration: null, since machines need nothing but this address."""
    return {"config": None}


@api.get(f"{PREFIX}/list", caller=AGENTS)
async def machines(call: Call[None]) -> msgspec.Raw:
    """List the machines that are ready: of the token's own pool, with a worker token of all.

    ``pool_name`` and ``provider_name`` narrow it down.
    """
    state: RegistryState = call.state
    query = wire.query(call.head)
    pool, provider = query.get("pool_name"), query.get("provider_name")
    items: list[bytes] = []
    for number, machine in enumerate(state.machines.listed()):
        if number % AT_ONCE == AT_ONCE - 1:
            await trio.lowlevel.checkpoint()
        if call.caller.kind is Kind.MACHINE and machine.pool != call.caller.scope:
            continue
        if (not pool or machine.pool == pool) and (not provider or machine.provider == provider):
            items.append(wire.listed(machine, state.gpu_name(machine)))
    return msgspec.Raw(b"[" + b",".join(items) + b"]")


@api.get(PREFIX + "/{workspace}/gpus", caller=PERSON | {Kind.WORKSPACE}, role=Role.OPERATOR)
async def gpus(call: Call[None]) -> dict[str, int]:
    """Count the GPUs of a workspace's ready machines by name; needs its own token, or an operator's."""
    state: RegistryState = call.state
    name = call.path["workspace"]
    if call.caller.kind is Kind.WORKSPACE and call.caller.scope != name:
        raise Forbidden(wire.INVALID_TOKEN)
    workspace = state.settings.workspaces.get(name)
    return state.gpu_counts(None if workspace is None else workspace.pools)
