"""What the registry sees of core, made of the real parts over a clock that stands until it is moved."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from attrs import define, field

from appliance.credentials.store import Credentials
from appliance.database import Database
from appliance.events import Event, EventBus
from appliance.inventory.store import Inventory
from appliance.notices import Notices
from appliance.run.core_parts import MIGRATIONS as CORE_MIGRATIONS
from appliance.series.service import Series
from appliance.testing import SteppingClock
from plugins.machine_registry.machines import Beat, Machines, Registration
from plugins.machine_registry.models import Inference, Machine, Metrics
from plugins.machine_registry.schema import MIGRATIONS
from plugins.machine_registry.settings import RegistrySettings

METRICS = Metrics(
    cpu_utilization_pct=15.5, memory_utilization_pct=42.0, total_memory_available=16_384, free_gpu_count=1
)


@define(eq=False, kw_only=True)
class Parts:
    """Real parts, and the machines on them."""

    database: Database
    now: SteppingClock
    settings: RegistrySettings
    events: EventBus
    notices: Notices
    inventory: Inventory
    series: Series
    credentials: Credentials
    machines: Machines = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.restart()

    @property
    def core(self) -> Any:
        return cast(Any, self)

    def restart(self) -> None:
        """Load the machines as a new run does."""
        self.machines = Machines(self.core, self.now)

    async def register(self, machine_id: str = "1165a9b6", *, pool: str = "default", **changes: Any) -> Machine:
        said: dict[str, Any] = {
            "hostname": "box",
            "cpu_millicores": 8000,
            "memory_mib": 16_384,
            "gpu_count": 1,
            "private_ip": "192.0.2.1",
        }
        registration = Registration(key=("generic", pool, machine_id), **said | changes)
        return await self.machines.register(registration, "cred_1", None)

    async def ready(self, machine_id: str = "1165a9b6", **changes: Any) -> Machine:
        """Register a machine and let it beat."""
        machine = await self.machines.become_ready(await self.register(machine_id, **changes), beat())
        assert machine is not None
        return machine

    async def told(self) -> list[Event]:
        """Return every event so far, oldest first."""
        return await self.events.history(kinds=("machine",), limit=1000)


def beat(
    sender: str = "192.0.2.1",
    *,
    metrics: Metrics | None = METRICS,
    inference: Inference | None = None,
    version: str = "1",
) -> Beat:
    return Beat(version, metrics, inference, (sender, version))


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Parts]:
    """Open the parts on a new database."""
    now = SteppingClock()
    migrations = {**CORE_MIGRATIONS, "machine_registry": MIGRATIONS}
    async with Database.open(folder / "a.db", inline=True, migrations=migrations, now=now) as database:
        events = EventBus(database, now)
        yield Parts(
            database=database,
            now=now,
            settings=RegistrySettings(),
            events=events,
            notices=Notices(database, events, now),
            inventory=Inventory(database),
            series=Series(database, now),
            credentials=await Credentials.load(database, now=now),
        )
