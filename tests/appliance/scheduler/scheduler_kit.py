"""A scheduler on a real database, with a scripted engine that outlives it, and without a whole appliance around it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from attrs import define, evolve, field, frozen

from appliance.clock import unix_now_us
from appliance.database import Database
from appliance.devices import Gpu
from appliance.engines import TaskEngine
from appliance.events import Event, EventBus
from appliance.inventory.store import Inventory
from appliance.jobs import Job, JobState, Needs
from appliance.ledger.store import Ledger
from appliance.run.core_parts import MIGRATIONS
from appliance.scheduler.hosts import Machine
from appliance.scheduler.records import JobRecord
from appliance.scheduler.service import Scheduler
from appliance.settings import SchedulerSettings
from appliance.testing import GIB, ScriptedEngine, until

HOST = "host-1"
SMALL = Needs(millicores=100, memory_mib=16)


@define
class ShiftedClock:
    """The real clock, moved on by as much as a test says: waits for hours cost nothing, and time never stands."""

    ahead_us: int = 0

    def __call__(self) -> int:
        """Return the time."""
        return unix_now_us() + self.ahead_us

    def monotonic(self) -> float:
        """Return seconds that go on as this clock does."""
        return trio.current_time() + self.ahead_us / 1_000_000

    def advance(self, seconds: float) -> None:
        """Move on."""
        self.ahead_us += int(seconds * 1_000_000)


@define(eq=False)
class World:
    """What lives longer than one run of the appliance: the disk, the engine, the clock, the host."""

    folder: Path
    engine: ScriptedEngine = field(factory=ScriptedEngine)
    clock: ShiftedClock = field(factory=ShiftedClock)
    settings: SchedulerSettings = field(factory=lambda: SchedulerSettings(memory_reserve_mib=0, storage_reserve_mib=0))
    machine: Machine = field(factory=lambda: Machine(millicores=4000, memory_mib=8192, free_disk_mib=100_000))
    gpus: int = 0
    busy_percent: dict[str, float | None] = field(factory=dict)
    further_engines: tuple[TaskEngine, ...] = ()

    def set(self, **settings: Any) -> None:
        """Change settings, as a reload does."""
        self.settings = evolve(self.settings, **settings)


@frozen
class Run:
    """One run of the scheduler."""

    scheduler: Scheduler
    inventory: Inventory
    ledger: Ledger
    events: EventBus
    database: Database
    world: World

    def job(self, **options: Any) -> Job:
        """Return a small job."""
        given: dict[str, Any] = {"owner": "ana", "image": "bb:1", "needs": SMALL} | options
        return Job(job_id=given.pop("job_id", None) or self.scheduler.new_job_id(), **given)

    async def submit(self, **options: Any) -> str:
        """Submit a small job; return its id."""
        [record] = await self.scheduler.submit([self.job(**options)], who="ana")
        return record.job_id

    async def reaches(self, job_id: str, *states: JobState) -> JobRecord:
        """Wait until a job is in one of these states."""
        await until(lambda: self.scheduler.get(job_id).state in states)
        return self.scheduler.get(job_id)

    async def look(self) -> None:
        """Have done now what is due by the clock."""
        upkeep = self.scheduler._placer.upkeep
        await upkeep.look_at_engines()
        await upkeep.look()
        self.scheduler._desk.wake()

    async def closed(self) -> None:
        """Wait until nothing is left of any attempt."""
        await until(lambda: not self.scheduler._board.active)

    async def told(self, *kinds: str) -> list[Event]:
        """Return the stored events about tasks."""
        return await self.events.history(kinds=kinds or ("task.",), limit=1000)


@asynccontextmanager
async def opened(world: World) -> AsyncIterator[Run]:
    """Open the database and make a scheduler on it that does not run."""
    world.folder.mkdir(exist_ok=True)
    (world.folder / "files").mkdir(exist_ok=True)
    async with Database.open(world.folder / "appliance.db", migrations=MIGRATIONS, now=world.clock) as database:
        events = EventBus(database, world.clock)
        inventory = Inventory(database, local_host_id=HOST)
        ledger = await Ledger.load(database, inventory, world.clock, went_down_at_unix_us=None)
        await inventory.saw_host(HOST, hostname="box", at_unix_us=world.clock())
        if world.gpus:
            await see_gpus(inventory, world, range(world.gpus))
        scheduler = Scheduler(
            database,
            events=events,
            inventory=inventory,
            ledger=ledger,
            folder=world.folder / "files",
            settings=lambda: world.settings,
            now=world.clock,
            host_id=HOST,
            machine=lambda: world.machine,
            monotonic=world.clock.monotonic,
        )
        yield Run(scheduler, inventory, ledger, events, database, world)


@asynccontextmanager
async def running(world: World, *, engines: Sequence[TaskEngine] | None = None) -> AsyncIterator[Run]:
    """Run a scheduler; the end of the block is as abrupt as a kill: nothing more is written, what runs goes on."""
    async with opened(world) as made:
        offered = [world.engine, *world.further_engines] if engines is None else engines
        made.scheduler.use(offered, gpu_utilization=world.busy_percent.get)
        async with trio.open_nursery() as nursery:
            await nursery.start(made.scheduler.run)
            yield made
            nursery.cancel_scope.cancel()


async def see_gpus(inventory: Inventory, world: World, numbers: Sequence[int]) -> None:
    """Have the host report these of its GPUs, of 80 GiB each."""
    gpus = [
        Gpu(gpu_id=f"GPU-{number}", index=number, vendor="nvidia", model="Scripted 80G", vram_total_bytes=80 * GIB)
        for number in numbers
    ]
    await inventory.saw_gpus(HOST, gpus, at_unix_us=world.clock())


__all__ = ["HOST", "SMALL", "Run", "ShiftedClock", "World", "opened", "running", "see_gpus"]
