"""A swarm on a real database, with clocks that stand until they are moved and a disk that can be made to fail."""

import sqlite3
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import trio
from attrs import define, evolve, field

from appliance.database import Database
from appliance.plugin import StorageFailed
from appliance.testing import SteppingClock
from plugins.build_swarm import queue_schema
from plugins.build_swarm.queue_settings import QueueSettings
from plugins.build_swarm.states import Completed, Heartbeat, Package, Queued, QueueRequest, Registered, Report, Work
from plugins.build_swarm.swarm import Swarm

T = TypeVar("T")


class PowerCut(BaseException):
    """The appliance is gone, in the middle of whatever it did."""


@define(eq=False)
class Disk:
    """A database whose writes can be made to fail."""

    database: Database
    fails: bool = False
    """Every write fails, and nothing of it is stored."""
    fails_once: bool = False
    """The next one does."""
    cut: str = ""
    """``before`` or ``after``: the power goes at the next write, before it is stored or after."""
    writes: int = 0

    async def write(self, fn: Callable[[sqlite3.Connection], T], **options: Any) -> T:
        self.writes += 1
        if self.cut == "before":
            raise PowerCut
        if self.fails or self.fails_once:
            self.fails_once = False
            raise StorageFailed("the disk is full")
        result: T = await self.database.write(fn, **options)
        if self.cut:
            raise PowerCut
        return result

    async def read(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        return await self.database.read(fn)

    def read_now(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        return self.database.read_now(fn)


@define(eq=False)
class Announced:
    """The bus, as far as the swarm uses it."""

    told: list[str] = field(factory=list)

    def announce(self, kind: str, data: Any, **_: Any) -> None:
        self.told.append(kind)


@define(eq=False)
class Core:
    """What the swarm sees of core."""

    database: Disk
    now: SteppingClock
    name: str = "build_swarm"
    events: Announced = field(factory=Announced)


@define(eq=False)
class Bench:
    """A swarm, and what its tests turn."""

    disk: Disk
    wall: SteppingClock
    steady: SteppingClock
    settings: QueueSettings
    swarm: Swarm = field(init=False)
    core: Core = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Start again on what the disk has."""
        self.disk.fails = self.disk.fails_once = False
        self.disk.cut = ""
        self.core = Core(self.disk, self.wall)
        self.swarm = Swarm(cast(Any, self.core), self.settings, clock=self.steady)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.wall.advance(seconds)
        self.steady.advance(seconds)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and what it makes due happen."""
        self.advance(seconds)
        await self.swarm.tick()

    async def beat(self, name: str = "a", task: str = "", *, drone_id: str = "", **said: Any) -> Registered:
        """Register a drone, or let it beat."""
        said.setdefault("capabilities", {"cores": 16, "ram_gb": 32.0})
        return await self.swarm.register(
            Heartbeat(drone_id=drone_id or f"id-{name}", name=name, address="192.0.2.1", current_task=task, **said)
        )

    async def queue(self, *names: str, **request: Any) -> Queued:
        """Queue packages."""
        return await self.swarm.queue(QueueRequest(atoms=tuple(atom(name) for name in names), **request))

    async def work(self, name: str = "a") -> Work:
        """Ask for work."""
        return await self.swarm.work(f"id-{name}")

    async def given(self, name: str = "a") -> str | None:
        """Ask for work; return the short name of the package."""
        package = (await self.work(name)).package
        return None if package is None else package.key.partition("/")[2]

    async def report(self, drone: str, name: str, outcome: str = "success", **said: Any) -> Completed:
        """Report a package by its short name."""
        return await self.swarm.complete(Report(drone=f"id-{drone}", atom=atom(name), outcome=outcome, **said))

    async def built(self, drone: str = "a", outcome: str = "success", **said: Any) -> str | None:
        """Ask for work and report it; return the short name of the package."""
        name = await self.given(drone)
        if name is not None:
            assert (await self.report(drone, name, outcome, **said)).accepted
        return name

    def state(self, name: str) -> str:
        """Return the state of the newest package of a short name."""
        return self.package(name).state.value

    def package(self, name: str) -> Package:
        """Return the newest package of a short name."""
        return self.swarm.desk.book.newest[atom(name)]

    def stored(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Ask the disk."""
        return self.disk.read_now(lambda connection: connection.execute(sql, values).fetchall())

    def events(self, type: str = "") -> list[str]:
        """Return the messages of the last events."""
        return [event.message for event in self.swarm.chronicle.recent(type=type)]


class Kept:
    """A bench that stays open from one call to the next, in an event loop of its own."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._is_open, self._closed = threading.Event(), trio.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()
        self._is_open.wait()
        if self._failure is not None:
            raise self._failure

    def _live(self) -> None:
        try:
            trio.run(self._open)
        except BaseException as failure:
            self._failure = failure
            self._is_open.set()

    async def _open(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        with tempfile.TemporaryDirectory() as folder:
            async with opened(Path(folder), **self._settings) as self.bench:
                self._is_open.set()
                await self._closed.wait()

    def run(self, fn: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        """Run something in its loop."""
        return trio.from_thread.run(fn, *arguments, trio_token=self._token)

    def close(self) -> None:
        """Close it."""
        self._token.run_sync_soon(self._closed.set)
        self._thread.join()


def atom(name: str) -> str:
    """Return the atom of a short name."""
    return f"=app-test/{name}-1"


@asynccontextmanager
async def opened(folder: Path, **settings: Any) -> AsyncIterator[Bench]:
    """Open a swarm on a new database."""
    migrations = {"build_swarm": queue_schema.MIGRATIONS}
    async with Database.open(folder / "a.db", inline=True, migrations=migrations) as database:
        yield Bench(Disk(database), SteppingClock(), SteppingClock(), evolve(QueueSettings(), **settings))
