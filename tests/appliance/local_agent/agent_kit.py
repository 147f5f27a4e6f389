"""An agent with the real things around it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from attrs import define

from appliance.clock import unix_now_us
from appliance.database import Database
from appliance.events import MIGRATIONS as EVENTS
from appliance.events import EventBus
from appliance.inventory.store import MIGRATIONS as INVENTORY
from appliance.inventory.store import Inventory
from appliance.local_agent.service import LocalAgent
from appliance.series.schema import MIGRATIONS as SERIES
from appliance.series.service import Series
from tests.appliance.local_agent.backend_kit import Scripted

HOST = "5b1c0000-0000-4000-8000-000000000001"


@define
class Parts:
    """An agent and what it writes to."""

    agent: LocalAgent
    series: Series
    inventory: Inventory
    events: EventBus


@asynccontextmanager
async def parts(
    tmp_path: Path, *backends: Scripted, sample_seconds: Callable[[], float] = lambda: 0.1
) -> AsyncIterator[Parts]:
    """Give an agent with everything around it."""
    owners = {"events": EVENTS, "inventory": INVENTORY, "series": SERIES}
    async with Database.open(tmp_path / "a.db", migrations=owners) as database:
        inventory = Inventory(database, local_host_id=HOST)
        events, series = EventBus(database, now=unix_now_us), Series(database, now=unix_now_us)
        agent = LocalAgent(
            host_id=HOST,
            backends=backends,
            series=series,
            inventory=inventory,
            events=events,
            sample_seconds=sample_seconds,
        )
        yield Parts(agent, series, inventory, events)
        for backend in backends:
            backend.go.set()
