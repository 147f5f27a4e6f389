"""A binary host on a real database, without the rest of the appliance."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from attrs import define, field

from appliance.clock import Now, unix_now_us
from appliance.credentials.kinds import Caller, Kind, Role
from appliance.database import Database
from plugins.build_swarm.binhost.binhost import Binhost
from plugins.build_swarm.binhost.models import Release
from plugins.build_swarm.binhost.names import of_atom
from plugins.build_swarm.binhost.schema import MIGRATIONS
from plugins.build_swarm.binhost.staging import Stored
from plugins.build_swarm.binhost_settings import BinhostSettings
from tests.plugins.build_swarm.binhost.packages import gpkg, sha256
from tests.plugins.build_swarm.binhost.portage import entries_of

SECONDS = 30.0
OPERATOR = Caller(kind=Kind.ADMIN_KEY, role=Role.OPERATOR, name="ana")


def drone(name: str) -> Caller:
    """Return whom a drone's credential stands for."""
    return Caller(kind=Kind.DRONE, subject=name)


async def chunks(data: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    """Yield a body as it arrives."""
    for start in range(0, len(data), size):
        await trio.lowlevel.checkpoint()
        yield data[start : start + size]


def path_of(cpv: str, build: int = 1) -> str:
    """Return where Portage puts a build."""
    found = of_atom(cpv)
    assert found is not None
    return f"{found[0]}/{found[1]}/{found[2]}-{build}.gpkg.tar"


@define(kw_only=True)
class Host:
    """The binary host, and what drones and clients do to it."""

    binhost: Binhost
    assigned: dict[str, list[str]] = field(factory=dict)

    async def put(self, cpv: str, by: str = "drone-01", *, build: int = 1, seen: bool = True, **values: Any) -> Stored:
        """Upload a package, and wait until the index names it."""
        data = gpkg(cpv, BUILD_ID=str(build), **values)
        path = path_of(cpv, build)
        stored = await self.binhost.upload(path, chunks(data), sha256=sha256(data), caller=drone(by))
        if seen:
            assert await self.binhost.staging.seen(within_seconds=SECONDS)
        return stored

    def staged(self) -> dict[str, dict[str, str]]:
        """Return what the index of the staging area says, by path."""
        return entries_of(self.binhost.staged_file("Packages").path.read_text())

    def current(self) -> dict[str, dict[str, str]]:
        """Return what the index of the current release says, by path."""
        return entries_of(self.binhost.current_file("Packages").path.read_text())

    async def release(self, version: str = "") -> Release:
        """Make a release of what is staged."""
        return await self.binhost.releases.create(version, notes="", by="ana")

    def files(self, below: str) -> Iterator[Path]:
        """Yield the regular files below a part of the folder."""
        return (path for path in (self.folder / below).rglob("*") if path.is_file())

    @property
    def folder(self) -> Path:
        """Where everything lies."""
        return self.binhost.staging.objects.folder


@asynccontextmanager
async def opened(folder: Path, *, now: Now = unix_now_us, **settings: Any) -> AsyncIterator[Host]:
    """Run a binary host below a folder."""
    await trio.Path(folder).mkdir(exist_ok=True)
    migrations = {"build_swarm": MIGRATIONS}
    async with Database.open(folder / "test.db", migrations=migrations) as database, trio.open_nursery() as nursery:
        assigned: dict[str, list[str]] = {}
        said = BinhostSettings(**({"binhost_free_bytes_min": 0} | settings))
        binhost = Binhost.make(
            folder / "binhost",
            database=database,
            now=now,
            settings=said,
            assigned=lambda name: assigned.get(name, []),
        )
        await nursery.start(binhost.run)
        yield Host(binhost=binhost, assigned=assigned)
        nursery.cancel_scope.cancel()
