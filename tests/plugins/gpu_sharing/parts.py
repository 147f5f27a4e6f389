"""What GPU sharing sees of core, made of the real parts over a clock that stands until it is moved."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from attrs import define, field

from appliance.credentials.kinds import Kind
from appliance.credentials.store import Credentials
from appliance.database import Database
from appliance.events import Event, EventBus
from appliance.inventory.store import Inventory
from appliance.ledger.store import Ledger
from appliance.run.core_parts import MIGRATIONS as CORE_MIGRATIONS
from appliance.series.service import Series
from appliance.testing import SteppingClock
from plugins.gpu_sharing import codes
from plugins.gpu_sharing.book import Book
from plugins.gpu_sharing.intake import Intake
from plugins.gpu_sharing.models import Agent, Gpu, Share, Worker
from plugins.gpu_sharing.plans import SHIPPED, Plan
from plugins.gpu_sharing.schema import MIGRATIONS

LOCAL = "host-local"


@define(eq=False, kw_only=True)
class Parts:
    """Real parts, and a book on them."""

    database: Database
    now: SteppingClock
    events: EventBus
    inventory: Inventory
    series: Series
    credentials: Credentials
    ledger: Ledger
    plan: Plan = SHIPPED["team"]
    host_id: str = LOCAL
    book: Book = field(init=False)
    changed: list[str] = field(factory=list)
    """Ids of agents whose change was told."""

    def __attrs_post_init__(self) -> None:
        self.restart()

    @property
    def core(self) -> Any:
        return cast(Any, self)

    def restart(self) -> None:
        """Load everything as a new run does."""
        self.book = Book(
            self.core, self.now, lambda person: self.plan, lambda agent: self.changed.append(agent.agent_id)
        )

    @property
    def intake(self) -> Intake:
        return Intake(self.core, self.book, lambda agent: None)

    async def secret(self, owner: str = "ana") -> str:
        return (await self.credentials.create(Kind.INSTALL, subject=owner)).secret

    def new(self, secret: str, *, gpus: int = 1, hostname: str = "box", ids: str = "GPU-{}") -> Agent:
        made = tuple(
            Gpu(gpu_id=ids.format(place), gpu_index=place, vendor="nvidia", model="H200", vram_mb=1000)
            for place in range(gpus)
        )
        return self.book.new_agent(
            secret,
            hostname=hostname,
            os="linux",
            arch="amd64",
            gpus=made,
            network_ips=("192.0.2.7",),
            reported_from="192.0.2.8",
        )

    async def agent(self, owner: str = "ana", **given: Any) -> Agent:
        """Join an agent."""
        secret = await self.secret(owner)
        made = self.new(secret, **given)
        await self.book.join(made, secret)
        return made

    async def worker(self, agent: Agent, **given: Any) -> Worker:
        wanted: dict[str, Any] = {"name": "part", "gpu_ids": ("GPU-0",), "listen_port": 9100}
        return await self.book.create_worker(agent, **wanted | given)

    def new_share(self, worker: Worker, **given: Any) -> Share:
        wanted: dict[str, Any] = {
            "share_id": codes.new_share_id(),
            "short_code": codes.new_code(),
            "worker_id": worker.worker_id,
            "agent_id": worker.agent_id,
            "owner": "ana",
            "connection_ip": "192.0.2.7",
            "created_unix_us": self.now(),
        }
        return Share(**wanted | given)

    async def share(self, worker: Worker, **given: Any) -> Share:
        return await self.book.create_share(self.new_share(worker, **given))

    async def told(self, kinds: tuple[str, ...] = ("sharing",)) -> list[Event]:
        """Return every event so far, oldest first."""
        return await self.events.history(kinds=kinds, limit=1000)


def default_of(agent: Agent) -> Worker:
    """Return an agent's default worker."""
    return next(worker for worker in agent.workers.values() if worker.is_default)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Parts]:
    """Open the parts on a new database."""
    now = SteppingClock()
    migrations = {**CORE_MIGRATIONS, "gpu_sharing": MIGRATIONS}
    async with Database.open(folder / "a.db", inline=True, migrations=migrations, now=now) as database:
        inventory = Inventory(database, local_host_id=LOCAL)
        yield Parts(
            database=database,
            now=now,
            events=EventBus(database, now),
            inventory=inventory,
            series=Series(database, now),
            credentials=await Credentials.load(database, now=now),
            ledger=await Ledger.load(database, inventory, now, went_down_at_unix_us=None),
        )
