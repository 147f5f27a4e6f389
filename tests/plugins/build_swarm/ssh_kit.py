"""What enters drones, on real parts of core, and drones that are a real sshd on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import trio
from attrs import define, evolve, field

from appliance.audit import Audit, AuditEntry
from appliance.database import Database
from appliance.errors import NotFound
from appliance.events import Event, EventBus
from appliance.notices import Notices
from appliance.run.core_parts import MIGRATIONS as CORE_MIGRATIONS
from appliance.testing import SteppingClock
from plugins.build_swarm.approval import Approval, Approvals, Who
from plugins.build_swarm.healing import Healing
from plugins.build_swarm.probing import Prober
from plugins.build_swarm.schema import MIGRATIONS
from plugins.build_swarm.ssh import Ssh
from plugins.build_swarm.ssh_connections import SshConnections
from plugins.build_swarm.ssh_keys import SshKeys
from plugins.build_swarm.ssh_settings import SshSettings
from plugins.build_swarm.states import Drone, DroneStatus
from plugins.build_swarm.terminal import Terminals
from tests.wire.sshd import Sshd

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGSO4BOcLGRQy69X6zHGoHGnGq5XnWQouQDqyTWx6rT7"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJayt4LZiFXC8jcQ0Ye8ACsS6JdZxmzqG6VrzKo/fRNc"
ANA = Who(kind="pat", subject="p1", name="ana", request_id="r1", address="192.0.2.9")


def an_approval(name: str = "drone-01", **changes: Any) -> Approval:
    """Return an approval of a drone of which nothing else is said."""
    made = Approval(
        drone_name=name,
        address="192.0.2.1",
        port=22,
        user="root",
        host_key=HOST_KEY,
        drone_type="lxc",
        seen_address="192.0.2.1",
        approved_by="ana",
        approved_unix_us=1,
    )
    return evolve(made, **changes)


@define(eq=False)
class Notebook:
    """Keeps what is noted, as the swarm's chronicle does."""

    notes: list[tuple[str, str, dict[str, Any]]] = field(factory=list)

    def note(self, type: str, message: str, *, drone: str = "", details: Any = None) -> None:
        self.notes.append((type, message, dict(details or {})))

    @property
    def types(self) -> list[str]:
        return [type for type, _, _ in self.notes]


@define(eq=False)
class Fleet:
    """The drones of a swarm, and its chronicle."""

    known: dict[str, Drone] = field(factory=dict)
    chronicle: Notebook = field(factory=Notebook)

    def add(self, name: str = "drone-01", *, address: str = "192.0.2.1", **fields: Any) -> Drone:
        made = self.known[name] = Drone(drone_id=f"id-{name}", name=name, address=address, **fields)
        return made

    def find_drone(self, name_or_id: str) -> Drone | None:
        return next((one for one in self.known.values() if name_or_id in (one.name, one.drone_id)), None)

    def drone(self, name_or_id: str) -> Drone:
        found = self.find_drone(name_or_id)
        if found is None:
            raise NotFound("drone", name_or_id)
        return found

    def drones(self, *, offline: bool = True) -> list[Drone]:
        shown = [one for one in self.known.values() if offline or one.status is DroneStatus.ONLINE]
        return sorted(shown, key=lambda one: one.name)


@define(eq=False, kw_only=True)
class Box:
    """What enters drones, and all that it stands on."""

    database: Database
    now: SteppingClock
    events: EventBus
    audit: Audit
    notices: Notices
    folder: Path
    settings: SshSettings = field(factory=SshSettings)
    fleet: Fleet = field(factory=Fleet)
    approvals: Approvals = field(init=False)
    keys: SshKeys = field(init=False)
    connections: SshConnections = field(init=False)
    ssh: Ssh = field(init=False)
    prober: Prober = field(init=False)
    terminals: Terminals = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.restart()

    @property
    def core(self) -> Any:
        """What a plugin is given."""
        return cast(Any, self)

    @property
    def swarm(self) -> Any:
        """The fleet as the swarm that it stands for."""
        return cast(Any, self.fleet)

    def restart(self) -> None:
        """Make everything anew, as the next run of the appliance does."""
        self.approvals = Approvals(self.core, self.folder)
        self.keys = SshKeys(self.folder, self.settings.ssh_connect_seconds)
        self.connections = SshConnections(self.approvals, self.folder)
        self.ssh = Ssh(self.approvals, self.keys, self.connections, self.settings)
        self.prober = Prober(self.core, self.ssh, self.settings)
        self.terminals = Terminals(self.core, self.ssh, self.approvals, self.settings)

    def healing(self, prober: Any, act: Any, **more: Any) -> Healing:
        """Make self-healing over drones that do as they are told."""
        return Healing(self.core, self.swarm, self.approvals, prober, act, self.settings, **more)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Run the services of approvals and connections meanwhile."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.approvals.run)
            await nursery.start(self.connections.run)
            try:
                yield
            finally:
                nursery.cancel_scope.cancel()

    async def approve(self, drone: Sshd, name: str = "drone-01", **changes: Any) -> Approval:
        """Approve a drone that is an sshd, give it our key, and let the swarm know it."""
        drone.authorize(await self.keys.public_key())
        if name not in self.fleet.known:
            self.fleet.add(name, address=drone.address)
        wanted = an_approval(
            name,
            address=drone.address,
            port=drone.port,
            user=drone.user,
            host_key=drone.host_key,
            seen_address=drone.address,
            approved_unix_us=self.now(),
        )
        return await self.approvals.approve(evolve(wanted, **changes), who=ANA)

    async def told(self, prefix: str = "swarm.") -> list[Event]:
        """Return the events that were published."""
        return [event for event in await self.events.history(limit=1000) if event.kind.startswith(prefix)]

    async def audited(self) -> list[AuditEntry]:
        """Return the entries of the audit log, oldest first."""
        return await self.audit.page(limit=1000)


@asynccontextmanager
async def opened(folder: Path, *, inline: bool = False, **settings: Any) -> AsyncIterator[Box]:
    """A box that has just started; ``inline`` for tests under a mock clock."""
    now = SteppingClock()
    own = folder / "plugin"
    own.mkdir(mode=0o700, exist_ok=True)
    (folder / "keys").mkdir(mode=0o700, exist_ok=True)
    migrations = {**CORE_MIGRATIONS, "build_swarm": MIGRATIONS}
    async with Database.open(folder / "a.db", inline=inline, migrations=migrations, now=now) as database:
        events = EventBus(database, now)
        yield Box(
            database=database,
            now=now,
            events=events,
            audit=Audit(database, folder / "keys", now),
            notices=Notices(database, events, now),
            folder=own,
            settings=SshSettings(**settings),
        )
