"""Payloads on real parts of core, and drones that are folders of this host: the scripts really run, in a shell here."""

import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import trio
from attrs import define, evolve, field

from appliance.audit import Audit
from appliance.database import Database
from appliance.events import EventBus
from appliance.run.core_parts import MIGRATIONS as CORE_MIGRATIONS
from appliance.testing import SteppingClock
from plugins.build_swarm.approval import Approval, NotApproved
from plugins.build_swarm.payloads import hands as scripts
from plugins.build_swarm.payloads.catalogue import Catalogue
from plugins.build_swarm.payloads.contents import Contents
from plugins.build_swarm.payloads.deploying import Deployer
from plugins.build_swarm.payloads.hands import Hands
from plugins.build_swarm.payloads.journal import Journal
from plugins.build_swarm.payloads.models import By, NewVersion, PayloadVersion
from plugins.build_swarm.payloads.service import Payloads
from plugins.build_swarm.payloads.settings import PayloadSettings
from plugins.build_swarm.schema import MIGRATIONS
from plugins.build_swarm.service_scripts import RESTART
from plugins.build_swarm.ssh import Ran
from plugins.build_swarm.ssh_command import SshFailed
from plugins.build_swarm.states import Drone
from tests.plugins.build_swarm.ssh_kit import Fleet

BINARY = "/usr/local/bin/swarm-drone"
BY = By(name="ana", who={"who_kind": "pat", "who_name": "ana"})


def approval(name: str) -> Approval:
    return Approval(
        drone_name=name,
        address="192.0.2.1",
        port=22,
        user="root",
        host_key="ssh-ed25519 AAAA",
        drone_type="lxc",
        seen_address="192.0.2.1",
        approved_by="ana",
        approved_unix_us=1,
    )


@define(eq=False)
class FolderDrones:
    """Ways into drones, each a folder; keeps the promises of the real ones (see test_ssh_promises)."""

    folder: Path
    faults: dict[tuple[str, str], SshFailed] = field(factory=dict)
    """By drone and step: keep, put, sha256sum, back, restart, pgrep, rm."""
    steps: list[tuple[str, str]] = field(factory=list)
    """What was done, oldest first."""
    holds: dict[tuple[str, str], trio.Event] = field(factory=dict)
    """A step waits for its event."""
    deadlines: dict[str, float] = field(factory=dict)
    """What the last copy was given."""
    restarted: list[str] = field(factory=list)
    """Services, oldest first."""
    reached: trio.Event = field(factory=trio.Event)
    """Set when a step waits."""

    def path(self, drone: str, path: str = BINARY) -> Path:
        """Return where a drone's file is."""
        return self.folder / drone / path.lstrip("/")

    def write(self, drone: str, text: str, path: str = BINARY) -> Path:
        """Make a file of a drone."""
        made = self.path(drone, path)
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_text(text)
        return made

    def files(self, drone: str) -> dict[str, str]:
        """Return every file of a drone, with what is in it."""
        root = self.folder / drone
        return {f"/{one.relative_to(root)}": one.read_text() for one in sorted(root.rglob("*")) if one.is_file()}

    async def run(self, approval: Approval, argv: Sequence[str], *, deadline_s: float) -> Ran:
        drone = approval.drone_name
        step = _STEPS.get(argv[2], argv[0]) if argv[0] == "sh" else argv[0]
        await self._step(drone, step)
        if step == "restart":
            self.restarted.append(argv[-1])
        if step in ("restart", "pgrep"):
            return Ran(status=0, stdout="", stderr="")
        await trio.Path(self.folder / drone).mkdir(parents=True, exist_ok=True)
        moved = [str(self.folder / drone) + part if part.startswith("/") else part for part in argv]
        ended = await trio.run_process(
            moved, check=False, capture_stdout=True, capture_stderr=True, env={"PATH": os.defpath, "LC_ALL": "C"}
        )
        return Ran(status=ended.returncode, stdout=ended.stdout.decode(), stderr=ended.stderr.decode())

    async def put(
        self, approval: Approval, path: str, source: Path, *, mode: int, sha256: str, deadline_s: float
    ) -> None:
        self.deadlines["put"] = deadline_s
        await self._step(approval.drone_name, "put")
        self._store(self.path(approval.drone_name, path), await trio.Path(source).read_bytes(), mode, sha256)

    def _store(self, target: Path, data: bytes, mode: int, sha256: str) -> None:
        assert hashlib.sha256(data).hexdigest() == sha256
        target.parent.mkdir(parents=True, exist_ok=True)
        new = target.with_name(".new")
        new.write_bytes(data)
        new.chmod(mode)
        new.replace(target)

    async def _step(self, drone: str, step: str) -> None:
        self.steps.append((drone, step))
        if (held := self.holds.get((drone, step))) is not None:
            self.reached.set()
            await held.wait()
        if (fault := self.faults.get((drone, step))) is not None:
            raise fault


_STEPS = {scripts._KEEP: "keep", scripts._BACK: "back", RESTART: "restart"}


@define(eq=False)
class Granted:
    """Approvals of every drone but some."""

    refused: set[str] = field(factory=set)

    def of(self, drone: Drone) -> Approval:
        if drone.name in self.refused:
            raise NotApproved(drone.name)
        return approval(drone.name)


@define(eq=False)
class Sick:
    """Says of some drones that they did not come back."""

    names: set[str] = field(factory=set)
    asked: list[str] = field(factory=list)

    async def __call__(self, hands: Hands, drone: Drone) -> str:
        self.asked.append(drone.name)
        return "it was not seen to run" if drone.name in self.names else ""


@define(eq=False, kw_only=True)
class Box:
    """Payloads, and all that they stand on."""

    database: Database
    now: SteppingClock
    events: EventBus
    audit: Audit
    folder: Path
    settings: PayloadSettings = field(factory=PayloadSettings)
    notes: list[tuple[str, str]] = field(factory=list)
    fleet: Fleet = field(factory=Fleet)
    approvals: Granted = field(factory=Granted)
    sick: Sick = field(factory=Sick)
    drones: FolderDrones = field(init=False)
    payloads: Payloads = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.drones = FolderDrones(self.folder / "drones")
        self.restart()

    def restart(self) -> None:
        """Make everything anew, as the next run of the appliance does."""
        core = cast(Any, self)
        catalogue = Catalogue(core, Contents(self.folder / "payloads"), self.settings.payload_bytes_max)
        deployer = Deployer(
            settings=self.settings,
            service="swarm-drone",
            approvals=self.approvals,
            ssh=self.drones,
            catalogue=catalogue,
            journal=Journal(core=core, note=self._note, monotonic=trio.current_time),
        )
        self.payloads = Payloads(core=core, fleet=self.fleet, catalogue=catalogue, deployer=deployer, health=self.sick)

    def _note(self, type: str, message: str, **more: Any) -> None:
        self.notes.append((type, message))

    @property
    def catalogue(self) -> Catalogue:
        return self.payloads.catalogue

    async def add(self, version: str, content: bytes | str = "", *, type: str = "drone_binary") -> PayloadVersion:
        """Keep a version; its content is its name where none is given."""
        data = content.encode() if isinstance(content, str) else content
        async with self.catalogue.incoming() as written:
            await written.write(data or f"program {version}".encode())
            new = NewVersion(payload_type=type, version=version, created_by="ana")
            return (await self.catalogue.add(new, written)).version

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Run the service meanwhile."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.payloads.work.run)
            try:
                yield
            finally:
                nursery.cancel_scope.cancel()


@asynccontextmanager
async def opened(folder: Path, **changes: Any) -> AsyncIterator[Box]:
    """Make a box on a database of its own."""
    now = SteppingClock()
    (folder / "keys").mkdir(mode=0o700)
    migrations = {**CORE_MIGRATIONS, "build_swarm": MIGRATIONS}
    async with Database.open(folder / "appliance.db", migrations=migrations, now=now, inline=True) as database:
        yield Box(
            database=database,
            now=now,
            events=EventBus(database, now),
            audit=Audit(database, folder / "keys", now),
            folder=folder,
            settings=evolve(PayloadSettings(), **changes),
        )


__all__ = ["BINARY", "BY", "Box", "Fleet", "FolderDrones", "Granted", "Sick", "approval", "opened"]
