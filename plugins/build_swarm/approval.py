"""Which drones the swarm may enter over ssh: those that an operator has approved, as they were when he did.

Anybody who reaches the public port can register a drone of any name, so a name alone proves nothing. An approval fixes
name, address, port, user, host key and type. It ends when the drone comes from another address than it did then, and
when an operator takes it back; what is not approved is never connected to.
"""

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
import trio
from attrs import asdict, define, evolve, field, frozen

from appliance.plugin import ApplianceError, BadInput, Call, Conflict, Core, NotFound

from . import approval_store as store
from .host_keys import HostKey, write_known_hosts
from .models import SURFACE, is_name
from .ssh_settings import USER_PATTERN

log = structlog.get_logger(__name__)

TYPES: Final = ("lxc", "qemu", "bare-metal", "unknown")
"""What a drone can run on; only the first two are ever rebooted."""
RETRY_SECONDS: Final = 5.0
_user: Final = re.compile(USER_PATTERN)


class Addressed(Protocol):
    """What an approval is looked up by: a drone of the swarm."""

    @property
    def name(self) -> str:
        """The drone's name."""
        ...

    @property
    def address(self) -> str:
        """Where its last heartbeat came from; empty when it has sent none."""
        ...


class NotApproved(Conflict):
    """No operator has approved the drone, or it has moved since."""

    def __init__(self, drone_name: str) -> None:
        super().__init__(
            f"drone {drone_name!r} is not approved for ssh",
            hint=f"appliance swarm approve {drone_name if is_name(drone_name) else 'NAME'}",
        )


@frozen(kw_only=True)
class Who:
    """Who asks for something, as the audit log names it."""

    kind: str = "core"
    subject: str = ""
    name: str = ""
    request_id: str = ""
    address: str = ""

    @classmethod
    def of(cls, call: Call[Any]) -> "Who":
        """Return who made a request."""
        return cls(
            kind=call.caller.kind.value,
            subject=call.caller.subject,
            name=call.caller.name,
            request_id=call.request_id,
            address=call.head.peer[0] if call.head.peer is not None else "",
        )

    async def record(self, core: Core, action: str, drone_name: str, /, **detail: Any) -> None:
        """Write down what was done; durable when this returns."""
        await core.audit.record(
            action,
            who_kind=self.kind,
            who_subject=self.subject,
            who_name=self.name,
            object=drone_name,
            detail=detail,
            request_id=self.request_id,
            address=self.address,
        )


@frozen(kw_only=True)
class Approval:
    """What an operator has approved; nothing else is ever connected to under this name."""

    drone_name: str
    address: str
    port: int
    user: str
    host_key: str
    """As in known_hosts, without the host: ``ssh-ed25519 AAAA...``."""
    drone_type: str
    seen_address: str
    """Where the drone's heartbeats came from; from anywhere else, this ends."""
    approved_by: str
    approved_unix_us: int

    @property
    def fingerprint(self) -> str:
        """The host key's fingerprint, as ``ssh-keygen -l`` shows it."""
        return HostKey.read(self.host_key).fingerprint


def read_address(text: str) -> str:
    """Return an address in its one form; raises `BadInput` for what is none that ssh could be given."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise BadInput(f"{text[:80]!r} is no IP address", field="address", hint="such as 10.0.0.175") from None
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            raise BadInput("an address with a zone names no host for good", field="address")
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
    if address.is_unspecified or address.is_multicast:
        raise BadInput(f"{address} is the address of no host", field="address")
    return str(address)


def read_port(port: int) -> int:
    """Return a port that can be connected to; raises `BadInput`."""
    if not 1 <= port <= 65_535:
        raise BadInput("a port is 1 to 65535", field="port")
    return port


def read_user(text: str) -> str:
    """Return the name of a user of the drone; raises `BadInput`."""
    if not _user.fullmatch(text):
        raise BadInput(f"{text[:80]!r} is no name of a user", field="user", hint="such as root")
    return text


def read_type(text: str) -> str:
    """Return a type of drone; raises `BadInput`."""
    if text not in TYPES:
        raise BadInput(f"{text[:80]!r} is no type of drone", field="drone_type", hint=f"one of: {', '.join(TYPES)}")
    return text


@define(eq=False)
class Approvals:
    """The approvals, in memory and durable; a service that makes known_hosts of them and tells of those that ended."""

    core: Core
    folder: Path
    """Where known_hosts is."""
    name: str = "approvals"
    _kept: dict[str, Approval] = field(factory=dict, init=False)
    _ended: list[tuple[Approval, str]] = field(factory=list, init=False)
    _watchers: list[Callable[[Approval], None]] = field(factory=list, init=False)
    _wake: trio.Event = field(factory=trio.Event, init=False)
    _writing: trio.Lock = field(factory=trio.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        rows: list[dict[str, Any]] = self.core.database.read_now(store.approvals)
        self._kept = {row["drone_name"]: Approval(**row) for row in rows}

    @property
    def known_hosts(self) -> Path:
        """The file of the host keys of approved drones, and of no others."""
        return self.folder / "known_hosts"

    def of(self, drone: Addressed) -> Approval:
        """Return a drone's approval.

        :raises NotApproved: it has none, or has one that ends here because the drone has moved.
        """
        approval = self._kept.get(drone.name)
        if approval is None:
            raise NotApproved(drone.name)
        if has_moved(approval, drone.address):
            self._end(approval, drone.address)
            raise NotApproved(drone.name)
        return approval

    def find(self, drone_name: str) -> Approval | None:
        """Return the approval of a name, for showing it; ``None`` for none. What acts on a drone asks `of`."""
        return self._kept.get(drone_name)

    def is_current(self, approval: Approval) -> bool:
        """Whether an approval still counts; that the drone's type was changed since is nothing."""
        kept = self._kept.get(approval.drone_name)
        return kept is not None and evolve(kept, drone_type=approval.drone_type) == approval

    def all(self) -> list[Approval]:
        """Return every approval, by name."""
        return [self._kept[name] for name in sorted(self._kept)]

    def on_ended(self, tell: Callable[[Approval], None]) -> Callable[[], None]:
        """Have ``tell`` called at once with each approval that counts no more; returns what stops that."""
        self._watchers.append(tell)
        return lambda: self._watchers.remove(tell)

    async def approve(self, approval: Approval, *, who: Who) -> Approval:
        """Approve a drone, durable when this returns; an approval of the same name ends.

        :raises BadInput: a name, address, port, user, host key or type that is none.
        :raises Conflict: another drone has the same address and port with another host key.
        """
        if not is_name(approval.drone_name):
            raise BadInput("a drone's name is 1 to 63 letters, digits, dots, dashes and underscores", field="name")
        approval = evolve(
            approval,
            address=read_address(approval.address),
            port=read_port(approval.port),
            user=read_user(approval.user),
            host_key=HostKey.read(approval.host_key).text,
            drone_type=read_type(approval.drone_type),
        )
        async with self._writing:
            self._refuse_second_key(approval)
            await self.core.database.write(lambda connection: store.put(connection, asdict(approval)))
            before = self._kept.get(approval.drone_name)
            self._kept[approval.drone_name] = approval
            if before is not None and before != approval:
                self._tell(before)
            await self._write_known_hosts()
        shown = asdict(approval) | {"fingerprint": approval.fingerprint}
        await who.record(self.core, "swarm.approve", approval.drone_name, **shown)
        await self.core.events.publish(
            "swarm.drone_approved",
            f"drone {approval.drone_name} at {approval.address} is approved for ssh",
            subject=approval.drone_name,
            source=SURFACE,
            data={"address": approval.address, "port": approval.port, "fingerprint": approval.fingerprint},
        )
        return approval

    async def unapprove(self, drone_name: str, *, who: Who) -> Approval:
        """Take an approval back, durable when this returns; connections that it allowed end.

        :raises NotFound: there is none.
        """
        async with self._writing:
            approval = self._kept.get(drone_name)
            if approval is None:
                raise NotFound("approval of drone", drone_name[:80], hint="appliance swarm approved lists them")
            await self._dropped(approval)
            self._kept.pop(drone_name, None)
            self._tell(approval)
            await self._write_known_hosts()
        await who.record(self.core, "swarm.unapprove", drone_name)
        await self.core.events.publish(
            "swarm.drone_unapproved",
            f"drone {drone_name} is no longer approved for ssh",
            subject=drone_name,
            source=SURFACE,
        )
        return approval

    async def set_type(self, drone_name: str, drone_type: str) -> None:
        """Change the type of an approved drone, durable when this returns; nothing for one without an approval."""
        read_type(drone_type)
        async with self._writing:
            approval = self._kept.get(drone_name)
            if approval is None or approval.drone_type == drone_type:
                return
            changed = evolve(approval, drone_type=drone_type)
            await self.core.database.write(lambda connection: store.put(connection, asdict(changed)))
            if self._kept.get(drone_name) == approval:
                self._kept[drone_name] = changed

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write known_hosts, then make durable what `of` found ended, and tell of it, until cancelled."""
        async with self._writing:
            await self._write_known_hosts()
        task_status.started()
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            try:
                await self._write_ended()
            except ApplianceError as error:  # a full disk: in memory it has ended, and `of` ends it again after a start
                log.warning("swarm.approval_not_written", reason=error.message)
                await trio.sleep(RETRY_SECONDS)
                self._wake.set()

    async def _write_ended(self) -> None:
        while self._ended:
            approval, address = self._ended[0]
            async with self._writing:
                await self._dropped(approval)
                await self._write_known_hosts()
            words = f"the approval of drone {approval.drone_name} has ended: it came from {address}"
            words += f", approved was {approval.seen_address}"
            detail = {"address": approval.seen_address, "new_address": address}
            await Who().record(self.core, "swarm.approval_ended", approval.drone_name, **detail)
            await self.core.events.publish(
                "swarm.approval_ended",
                words,
                level="warning",
                subject=approval.drone_name,
                source=SURFACE,
                data=detail,
            )
            self._ended.pop(0)

    def _refuse_second_key(self, approval: Approval) -> None:
        for other in self._kept.values():
            is_same_place = (other.address, other.port) == (approval.address, approval.port)
            if other.drone_name != approval.drone_name and is_same_place and other.host_key != approval.host_key:
                raise Conflict(
                    f"{approval.address} port {approval.port} is approved as drone {other.drone_name} with another key",
                    hint=f"appliance swarm unapprove {other.drone_name}",
                )

    def _end(self, approval: Approval, address: str) -> None:
        del self._kept[approval.drone_name]
        self._ended.append((approval, address))
        self._tell(approval)
        self._wake.set()

    def _tell(self, approval: Approval) -> None:
        for tell in tuple(self._watchers):
            tell(approval)

    async def _dropped(self, approval: Approval) -> None:
        def write(connection: Any) -> None:
            store.drop(connection, approval.drone_name, approval.approved_unix_us)

        await self.core.database.write(write)

    async def _write_known_hosts(self) -> None:
        # One machine may build under two names.
        lines = dict.fromkeys(HostKey.read(one.host_key).line(one.address, one.port) for one in self.all())
        await trio.to_thread.run_sync(write_known_hosts, self.known_hosts, lines)


def has_moved(approval: Approval, address: str) -> bool:
    """Whether a drone's heartbeats come from elsewhere than when it was approved."""
    if not address:
        return False
    try:
        return read_address(address) != approval.seen_address
    except BadInput:  # what comes from nowhere is not where the approved drone is
        return True
