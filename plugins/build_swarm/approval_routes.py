"""Our own endpoints for approvals, and for what an approval allows: pings, logs, self-healing."""

from typing import Any

from attrs import field, frozen
from attrs.validators import and_, ge, le, max_len
from msgspec import Struct

from appliance.plugin import BadInput, Call, Conflict, NotAvailable, Role, to_unix_s

from .approval import Approval, Who, read_address, read_port, read_type, read_user
from .callers import who
from .healing_routes import LINES_MAX, SyslogQuery
from .host_keys import SSH_PORT, HostKey
from .models import is_name
from .own_health import approval_item, ping_item
from .own_models import ApprovalItem, PingItem
from .state import SwarmState
from .surfaces import KEYED, own
from .syslog import read_syslog

APPROVALS = "/api/appliance/swarm/approvals"
DRONE = "/api/appliance/swarm/drones/{name}"
_TEXT: Any = max_len(255)
_PORT: Any = and_(ge(0), le(65_535))


class NamedApproval(Struct, frozen=True, kw_only=True):
    """An approval with the name that it is for."""

    name: str
    address: str
    port: int
    user: str
    drone_type: str
    host_key: str
    host_key_fingerprint: str
    seen_address: str
    """Where the drone's heartbeats came from; from anywhere else, the approval ends."""
    approved_by: str
    approved_unix_s: float


class ApprovalPage(Struct, frozen=True, kw_only=True):
    """All approvals, and what drones need to let us in."""

    items: tuple[NamedApproval, ...]
    public_key: str | None
    """Ours; ``null`` where there is none, and ``reason`` says why."""
    authorized_keys_line: str | None
    """For the drone: our key, good for nothing but what we do."""
    reason: str | None


@frozen(kw_only=True)
class NewApproval:
    """What is approved; what is left out is as the drone is known, or as configured."""

    address: str = field(default="", validator=_TEXT)
    """Where the drone's sshd is; empty: where its heartbeats come from."""
    port: int = field(default=0, validator=_PORT)
    """0: as configured for the drone, else 22."""
    user: str = field(default="", validator=_TEXT)
    host_key: str = field(default="", validator=max_len(16_384))
    """``TYPE BASE64``; empty: the one that the host shows now, which ``fingerprint`` is compared with."""
    fingerprint: str = field(default="", validator=_TEXT)
    """``SHA256:...``: nothing is approved where the host key has another."""
    drone_type: str = field(default="", validator=_TEXT)


class ShownKey(Struct, frozen=True, kw_only=True):
    """A host key that a host has shown."""

    type: str
    host_key: str
    fingerprint: str


class Scan(Struct, frozen=True, kw_only=True):
    """What would be approved, for people to look at first."""

    name: str
    address: str
    port: int
    user: str
    drone_type: str
    keys: tuple[ShownKey, ...]
    """Best first, which would be the one; none where nothing answers."""
    public_key: str
    authorized_keys_line: str


@own.get(APPROVALS, caller=KEYED, answer=ApprovalPage)
async def approvals(call: Call[None]) -> ApprovalPage:
    """List what is approved, with our public key for the drones."""
    state: SwarmState = call.state
    public_key, reason = None, None
    try:
        public_key = await state.ssh_parts.keys.public_key()
    except NotAvailable as lacking:
        reason = lacking.message
    return ApprovalPage(
        items=tuple(map(_named, state.approvals.all())),
        public_key=public_key,
        authorized_keys_line=None if public_key is None else authorized_keys_line(public_key),
        reason=reason,
    )


@own.post(f"{DRONE}/scan", caller=KEYED, role=Role.OPERATOR, body=NewApproval, answer=Scan, audit=False, waits=True)
async def scan(call: Call[NewApproval]) -> Scan:
    """Show what approving a drone would approve: nothing is approved, and no drone is entered."""
    state: SwarmState = call.state
    wanted = _wanted(call)
    public_key = await state.ssh_parts.keys.public_key()
    found = await state.ssh_parts.keys.scan(wanted.address, wanted.port)
    return Scan(
        name=wanted.drone_name,
        address=wanted.address,
        port=wanted.port,
        user=wanted.user,
        drone_type=wanted.drone_type,
        keys=tuple(ShownKey(type=key.type, host_key=key.text, fingerprint=key.fingerprint) for key in found),
        public_key=public_key,
        authorized_keys_line=authorized_keys_line(public_key),
    )


@own.post(
    f"{DRONE}/approve",
    caller=KEYED,
    role=Role.OPERATOR,
    body=NewApproval,
    answer=ApprovalItem,
    audit=False,
    waits=True,
)
async def approve(call: Call[NewApproval]) -> ApprovalItem:
    """Approve a drone for ssh: its name, address, port, user, host key and type, as they are now."""
    state: SwarmState = call.state
    state.ssh_parts.keys.require_programs()
    wanted = _wanted(call)
    key = await _key(state, call.body, wanted)
    if call.body.fingerprint and call.body.fingerprint != key.fingerprint:
        raise Conflict(
            f"the host key's fingerprint is {key.fingerprint}",
            hint="somebody may be in between: compare it with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` there",
        )
    made = await state.approvals.approve(wanted.with_key(key.text), who=Who.of(call))
    await _set_type(state, made, who(call.caller))
    item = approval_item(made)
    assert item is not None
    return item


@own.post(f"{DRONE}/unapprove", caller=KEYED, role=Role.OPERATOR, answer=NamedApproval, audit=False)
async def unapprove(call: Call[None]) -> NamedApproval:
    """Take an approval back: connections that it allowed end."""
    state: SwarmState = call.state
    drone = state.swarm.find_drone(call.path["name"])
    name = drone.name if drone is not None else call.path["name"]  # an approval outlasts the drone
    return _named(await state.approvals.unapprove(name, who=Who.of(call)))


@own.post(f"{DRONE}/ping", caller=KEYED, role=Role.OPERATOR, answer=PingItem, waits=True)
async def ping(call: Call[None]) -> PingItem:
    """Probe a drone now."""
    state: SwarmState = call.state
    item = ping_item(await state.ssh_parts.rounds.one(state.swarm.drone(call.path["name"])))
    assert item is not None
    return item


class Reset(Struct, frozen=True, kw_only=True):
    """What was forgotten."""

    name: str
    previous_level: int


@own.post(f"{DRONE}/reset-escalation", caller=KEYED, role=Role.OPERATOR, answer=Reset)
async def reset_escalation(call: Call[None]) -> Reset:
    """Forget what self-healing has done to a drone."""
    state: SwarmState = call.state
    drone = state.swarm.drone(call.path["name"])
    return Reset(name=drone.name, previous_level=await state.healing.reset(drone.name, by=who(call.caller)))


class LogLines(Struct, frozen=True, kw_only=True):
    """The end of a log."""

    lines: tuple[str, ...]
    is_cut: bool
    error: str | None
    """What the drone said where it has no such log."""


@own.get(f"{DRONE}/syslog", caller=KEYED, role=Role.OPERATOR, query=SyslogQuery, answer=LogLines, waits=True)
async def syslog(call: Call[None]) -> LogLines:
    """Read the end of a log on a drone."""
    state: SwarmState = call.state
    approval = state.approvals.of(state.swarm.drone(call.path["name"]))
    count, deadline_s = min(call.query.lines, LINES_MAX), state.settings.ssh_command_seconds
    found = await read_syslog(state.ssh, approval, call.query.type, count, deadline_s=deadline_s)
    return LogLines(lines=found.lines, is_cut=found.is_cut, error=found.error or None)


def authorized_keys_line(public_key: str) -> str:
    """Return our public key as a drone should keep it: for commands, files and terminals, and for no forwarding.

    The options are those of sshd(8), "AUTHORIZED_KEYS FILE FORMAT".
    """
    return f"restrict,pty {public_key}"


@frozen(kw_only=True)
class _Wanted:
    drone_name: str
    address: str
    port: int
    user: str
    drone_type: str
    seen_address: str
    approved_by: str
    approved_unix_us: int

    def with_key(self, host_key: str) -> Approval:
        return Approval(
            drone_name=self.drone_name,
            address=self.address,
            port=self.port,
            user=self.user,
            host_key=host_key,
            drone_type=self.drone_type,
            seen_address=self.seen_address,
            approved_by=self.approved_by,
            approved_unix_us=self.approved_unix_us,
        )


def _wanted(call: Call[NewApproval]) -> _Wanted:
    """Return what is to be approved, from what is asked and what the swarm knows of the drone."""
    state: SwarmState = call.state
    body = call.body
    drone = state.swarm.find_drone(call.path["name"])
    name = drone.name if drone is not None else call.path["name"]
    if not is_name(name):
        raise BadInput("a drone's name is 1 to 63 letters, digits, dots, dashes and underscores", field="name")
    address = body.address or (drone.address if drone is not None else "")
    if not address:
        raise BadInput(
            f"drone {name!r} has not registered yet", field="address", hint="name its address: --address ADDRESS"
        )
    address = read_address(address)
    known_type = drone.drone_type.value if drone is not None else "unknown"
    configured = state.drone_configs.find(name)
    fields = {} if configured is None else configured.fields
    return _Wanted(
        drone_name=name,
        address=address,
        port=read_port(body.port or fields.get("ssh_port") or SSH_PORT),
        user=read_user(body.user or fields.get("ssh_user") or state.settings.ssh_user),
        drone_type=read_type(body.drone_type or known_type),
        seen_address=read_address(drone.address) if drone is not None and drone.address else address,
        approved_by=who(call.caller),
        approved_unix_us=state.core.now(),
    )


async def _key(state: SwarmState, body: NewApproval, wanted: _Wanted) -> HostKey:
    if body.host_key:
        return HostKey.read(body.host_key)
    found = await state.ssh_parts.keys.scan(wanted.address, wanted.port)
    if not found:
        raise Conflict(
            f"{wanted.address} port {wanted.port} shows no host key", hint="does sshd run there? Or give --host-key"
        )
    # Of several, the one whose fingerprint people have seen.
    return next((key for key in found if key.fingerprint == body.fingerprint), found[0])


async def _set_type(state: SwarmState, approval: Approval, by: str) -> None:
    drone = state.swarm.find_drone(approval.drone_name)
    if drone is not None and drone.drone_type.value != approval.drone_type:
        await state.swarm.set_drone_type(drone.drone_id, type(drone.drone_type)(approval.drone_type), by=by)


def _named(approval: Approval) -> NamedApproval:
    return NamedApproval(
        name=approval.drone_name,
        address=approval.address,
        port=approval.port,
        user=approval.user,
        drone_type=approval.drone_type,
        host_key=approval.host_key,
        host_key_fingerprint=approval.fingerprint,
        seen_address=approval.seen_address,
        approved_by=approval.approved_by,
        approved_unix_s=to_unix_s(approval.approved_unix_us),
    )
