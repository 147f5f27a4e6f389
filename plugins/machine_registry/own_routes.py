"""Our own endpoints for what the documented API lacks: pools, and making, marking and deleting machines."""

from typing import Any, Final

from attrs import field, frozen
from attrs.validators import and_, ge, gt, le, matches_re, max_len, optional
from msgspec import Struct

from appliance.plugin import (
    PERSON,
    BadInput,
    Call,
    Conflict,
    MarkKind,
    NotFound,
    Role,
    Surface,
    insert_credential,
    to_unix_s,
)

from . import quantities, tokens
from .agents import commands
from .introduction import introduce
from .life import State, is_listed
from .models import DEFAULT_PROVIDER, NAME_PATTERN, SURFACE, Machine, Pool
from .removal import remove
from .state import RegistryState
from .telemetry import VALUES

REASON_CHARACTERS: Final = 200
DAY_US: Final = 86_400_000_000
HOUR_US: Final = 3_600_000_000
TIME_MAX_S: Final = 2**33

api = Surface(SURFACE, prefixes=("/api/appliance/machines", "/api/appliance/pools"), unknown_fields="refuse")


class PoolItem(Struct, frozen=True, kw_only=True):
    """One pool and what it has."""

    name: str
    gpu: str
    """What its GPUs are called; empty for machines without."""
    provider: str
    is_configured: bool
    """Written in TOML, or always there: it cannot be deleted here."""
    machine_count: int
    """Expired ones too."""
    ready_count: int
    gpu_count: int
    """Of the ready machines."""
    free_gpu_count: int
    """As they reported last."""


class PoolPage(Struct, frozen=True, kw_only=True):
    """All pools."""

    items: tuple[PoolItem, ...]
    next: None = None


@frozen(kw_only=True)
class NewPool:
    """A pool to be made."""

    name: str = field(validator=matches_re(NAME_PATTERN))
    gpu: str = field(default="", validator=matches_re(rf"(?:{NAME_PATTERN})?"))
    provider: str = field(default=DEFAULT_PROVIDER, validator=matches_re(NAME_PATTERN))


class MachineItem(Struct, frozen=True, kw_only=True):
    """One machine; what no keepalive has told is null."""

    id: str
    pool: str
    provider: str
    hostname: str
    state: str
    """``pending``, ``registered``, ``ready``, ``late`` or ``expired``."""
    is_local: bool
    is_cordoned: bool
    is_draining: bool
    mark_reason: str
    host_id: str
    """In the inventory and the series."""
    cpu_millicores: int
    memory_bytes: int
    gpu: str
    gpu_count: int
    free_gpu_count: int | None
    private_ip: str
    agent_version: str
    created_unix_s: float
    registered_unix_s: float | None
    last_keepalive_unix_s: float | None
    deadline_in_seconds: float | None
    """Until it expires; null for the local machine and for one that has expired."""
    cpu_percent: float | None
    memory_percent: float | None
    disk_total_bytes: int | None
    disk_free_bytes: int | None
    worker_count: int | None
    container_count: int | None
    cache_usage_percent: float | None


class MachinePage(Struct, frozen=True, kw_only=True):
    """Machines, in the order in which they were made."""

    items: tuple[MachineItem, ...]
    next: None = None


@frozen(kw_only=True)
class MachineQuery:
    """Which machines."""

    pool: str | None = None
    state: str | None = field(default=None, validator=optional(matches_re("pending|registered|ready|late|expired")))


@frozen(kw_only=True)
class Which:
    """Tells machines of one id in several pools apart."""

    pool: str | None = None
    provider: str | None = None


@frozen(kw_only=True)
class Past(Which):
    """Which figures of a machine, and over which span: the last hour, unless it says otherwise."""

    metrics: str = field(validator=max_len(1000))
    """Names with commas in between, of the keepalive's figures that no host has: ``free_gpu_count`` and the like."""
    from_unix_s: float | None = field(default=None, validator=optional(and_(ge(0), le(TIME_MAX_S))))
    to_unix_s: float | None = field(default=None, validator=optional(and_(ge(0), le(TIME_MAX_S))))
    max_points: int = field(default=600, validator=and_(ge(1), le(1500)))


@frozen(kw_only=True)
class Deletion(Which):
    """Which machine, and whether the token that it registered with ends too."""

    revoke_token: bool = False


@frozen(kw_only=True)
class NewMachine:
    """A machine to be: its token, and what the token may."""

    pool: str
    machine_id: str | None = field(default=None, validator=optional(matches_re(r"[0-9a-fA-F]{8}")))
    """8 hexadecimal digits, as the agents want it: then the token serves this machine alone. Random without it."""
    expires_in_days: float | None = field(default=None, validator=optional(and_(gt(0), le(36_500))))
    machines_max: int | None = field(default=None, validator=optional(and_(ge(1), le(20_000))))
    """How many machines may register with the token; any number without it."""


class MadeMachine(Struct, frozen=True, kw_only=True):
    """A machine's token, which is shown this once, and how its agent is started."""

    id: str
    pool: str
    provider: str
    token: str
    token_id: str
    commands: dict[str, str]
    """By agent: ``python`` and ``go``."""
    note: str


@frozen(kw_only=True)
class Reason:
    """Why a machine is marked."""

    reason: str = field(default="", validator=max_len(REASON_CHARACTERS))


# ---------------------------------------------------------------- pools


@api.get("/api/appliance/pools", caller=PERSON, answer=PoolPage)
async def pools(call: Call[None]) -> PoolPage:
    """List the pools with what they have."""
    state: RegistryState = call.state
    return PoolPage(items=tuple(_pool_items(state, state.pools.all())))


def _pool_items(state: RegistryState, wanted: list[Pool]) -> list[PoolItem]:
    by_pool: dict[str, list[Machine]] = {pool.name: [] for pool in wanted}
    for machine in state.machines.all():
        by_pool.get(machine.pool, []).append(machine)
    return [_pool_item(state, pool, by_pool[pool.name]) for pool in wanted]


def _pool_item(state: RegistryState, pool: Pool, machines: list[Machine]) -> PoolItem:
    ready = [machine for machine in machines if is_listed(state.machines.state(machine))]
    return PoolItem(
        name=pool.name,
        gpu=pool.gpu,
        provider=pool.provider,
        is_configured=pool.is_configured,
        machine_count=len(machines),
        ready_count=len(ready),
        gpu_count=sum(machine.gpu_count for machine in ready),
        free_gpu_count=sum(machine.metrics.free_gpu_count for machine in ready if machine.metrics is not None),
    )


@api.post("/api/appliance/pools", caller=PERSON, role=Role.OPERATOR, body=NewPool, answer=PoolItem, status=201)
async def create_pool(call: Call[NewPool]) -> PoolItem:
    """Make a pool; machines can register in it at once."""
    state, body = call.state, call.body
    pool = await state.pools.create(name=body.name, gpu=body.gpu, provider=body.provider)
    return _pool_items(state, [pool])[0]


@api.delete("/api/appliance/pools/{name}", caller=PERSON, role=Role.OPERATOR)
async def delete_pool(call: Call[None]) -> dict[str, str]:
    """Delete a pool that has no machines; its tokens serve nothing from then on."""
    state: RegistryState = call.state
    await state.pools.delete(call.path["name"], state.machines.counts())
    return {"deleted": call.path["name"]}


# ---------------------------------------------------------------- machines


@api.get("/api/appliance/machines", caller=PERSON, query=MachineQuery, answer=MachinePage)
async def machines(call: Call[None]) -> MachinePage:
    """List machines, expired ones too."""
    state, wanted = call.state, call.query
    found = [each for each in state.machines.all() if wanted.pool in (None, each.pool)]
    items = (_item(state, each) for each in found)
    return MachinePage(items=tuple(item for item in items if wanted.state in (None, item.state)))


@api.get("/api/appliance/machines/{machine_id}", caller=PERSON, query=Which, answer=MachineItem)
async def machine(call: Call[None]) -> MachineItem:
    """Show one machine."""
    return _item(call.state, _one(call))


@api.get("/api/appliance/machines/{machine_id}/series", caller=PERSON, query=Past)
async def past(call: Call[None]) -> dict[str, Any]:
    """Show how a machine's own figures went; CPU and memory are series of its host, as of every other.

    Each has times of its own: a figure that is and stays 0 takes no room.
    """
    state, wanted, found = call.state, call.query, _one(call)
    until = state.core.now() + 1 if wanted.to_unix_s is None else int(wanted.to_unix_s * 1_000_000)
    since = until - HOUR_US if wanted.from_unix_s is None else int(wanted.from_unix_s * 1_000_000)
    names = [name for name in wanted.metrics.split(",") if name]
    unknown = next((name for name in names if name not in VALUES), None)
    if unknown is not None:
        raise BadInput(f"no figure {unknown[:64]!r}", field="metrics", hint=f"one of {', '.join(VALUES)}")
    shown = []
    for name in names:
        window = await state.core.series.window_values(
            f"machine:{found.host_id}", name, from_unix_us=since, to_unix_us=until, max_points=wanted.max_points
        )
        shown += [
            {
                "metric": name,
                "step_seconds": window.step_seconds,
                "at_unix_s": [to_unix_s(at) for at in window.times_unix_us],
                "min": column.minimum,
                "max": column.maximum,
                "mean": column.mean,
            }
            for column in window.columns
        ]
    return {"host_id": found.host_id, "series": shown}


@api.post("/api/appliance/machines", caller=PERSON, role=Role.OPERATOR, body=NewMachine, answer=MadeMachine, status=201)
async def create(call: Call[NewMachine]) -> MadeMachine:
    """Make a machine and its token; it has an hour to register, and its token counts until it is revoked."""
    state, body = call.state, call.body
    made, minted = await make(
        state,
        body.pool,
        machine_id=body.machine_id or "",
        expires_in_days=body.expires_in_days,
        machines_max=body.machines_max,
    )
    shown, note = commands(state.core.public_url(), made, minted.secret)
    return MadeMachine(
        id=made.machine_id,
        pool=made.pool,
        provider=made.provider,
        token=minted.secret,
        token_id=minted.credential.credential_id,
        commands=shown,
        note=note,
    )


async def make(
    state: RegistryState,
    pool_name: str,
    *,
    machine_id: str = "",
    expires_in_days: float | None = None,
    machines_max: int | None = None,
) -> tuple[Machine, Any]:
    """Make a machine with its token, both or neither; see `create`. Raises `NotFound` for the pool."""
    pool = state.pools.named(pool_name)
    if pool is None:
        raise NotFound("pool", pool_name[:64], hint="POST /api/appliance/pools makes one")
    now = state.core.now()
    name = machine_id or tokens.new_machine_id()
    minted = tokens.mint(
        pool=pool.name,
        machine_id=machine_id,
        machines=machines_max,
        label=f"machine {name}",
        expires_unix_us=None if expires_in_days is None else now + int(expires_in_days * DAY_US),
        now_unix_us=now,
    )
    made = await state.machines.create(
        pool, name, minted.credential.credential_id, lambda connection: insert_credential(connection, minted)
    )
    state.core.credentials.remember(minted)
    return made, minted


@api.delete("/api/appliance/machines/{machine_id}", caller=PERSON, role=Role.OPERATOR, query=Deletion)
async def delete(call: Call[None]) -> dict[str, Any]:
    """Delete a machine with its history; with ``revoke_token=true`` the token that it registered with ends too."""
    state, found = call.state, _one(call)
    ended = await remove(state.core, state.machines, found, revoke_token=call.query.revoke_token)
    return {"deleted": found.machine_id, "revoked_tokens": ended}


@api.post(
    "/api/appliance/machines/{machine_id}/cordon",
    caller=PERSON,
    role=Role.OPERATOR,
    query=Which,
    body=Reason,
    answer=MachineItem,
)
async def cordon(call: Call[Reason]) -> MachineItem:
    """Keep new work away from a machine."""
    return await _mark(call, MarkKind.CORDONED)


@api.post(
    "/api/appliance/machines/{machine_id}/drain",
    caller=PERSON,
    role=Role.OPERATOR,
    query=Which,
    body=Reason,
    answer=MachineItem,
)
async def drain(call: Call[Reason]) -> MachineItem:
    """Keep new work away from a machine, and let what runs there end."""
    return await _mark(call, MarkKind.DRAINING)


@api.post(
    "/api/appliance/machines/{machine_id}/uncordon", caller=PERSON, role=Role.OPERATOR, query=Which, answer=MachineItem
)
async def uncordon(call: Call[None]) -> MachineItem:
    """Let new work come to a machine again."""
    state, found = call.state, _one(call)
    for kind in state.marks(found):
        if kind is not MarkKind.UNHEALTHY:  # that one was found, not set by a person
            await state.core.inventory.clear_mark(found.host_id, kind)
    return _item(state, found)


async def _mark(call: Call[Reason], kind: MarkKind) -> MachineItem:
    state, found = call.state, _one(call)
    if state.machines.state(found) is State.PENDING:
        raise Conflict("this machine has never registered", hint="delete it instead")
    if not found.is_local:
        await introduce(state.core, found)
    await state.core.inventory.set_mark(
        found.host_id, kind, reason=call.body.reason, who=call.caller.name, at_unix_us=state.core.now()
    )
    return _item(state, found)


def _one(call: Call[Any]) -> Machine:
    state: RegistryState = call.state
    return state.machines.one(call.path["machine_id"], pool=call.query.pool, provider=call.query.provider)


def _item(state: RegistryState, machine: Machine) -> MachineItem:
    found, metrics, marks = state.machines.state(machine), machine.metrics, state.marks(machine)
    left_us = machine.deadline_us - state.machines.clock()
    memory = machine.memory_mib * quantities.MIB
    return MachineItem(
        id=machine.machine_id,
        pool=machine.pool,
        provider=machine.provider,
        hostname=machine.hostname,
        state=found.value,
        is_local=machine.is_local,
        is_cordoned=MarkKind.CORDONED in marks,
        is_draining=MarkKind.DRAINING in marks,
        mark_reason=next((reason for reason in marks.values() if reason), ""),
        host_id=machine.host_id,
        cpu_millicores=machine.cpu_millicores,
        memory_bytes=memory,
        gpu=state.gpu_name(machine),
        gpu_count=machine.gpu_count,
        free_gpu_count=None if metrics is None else metrics.free_gpu_count,
        private_ip=machine.private_ip,
        agent_version=machine.agent_version,
        created_unix_s=to_unix_s(machine.created_unix_us),
        registered_unix_s=_seconds(machine.registered_unix_us),
        last_keepalive_unix_s=_seconds(machine.last_keepalive_unix_us),
        deadline_in_seconds=None if machine.is_local or left_us <= 0 else round(left_us / 1_000_000, 1),
        cpu_percent=None if metrics is None else metrics.cpu_utilization_pct,
        memory_percent=None if metrics is None else metrics.memory_utilization_pct,
        disk_total_bytes=None if metrics is None else metrics.total_disk_space_bytes,
        disk_free_bytes=None if metrics is None else metrics.total_disk_free_bytes,
        worker_count=None if metrics is None else metrics.worker_count,
        container_count=None if metrics is None else metrics.container_count,
        cache_usage_percent=None if metrics is None else metrics.cache_usage_pct,
    )


def _seconds(unix_us: int | None) -> float | None:
    return None if unix_us is None else to_unix_s(unix_us)
