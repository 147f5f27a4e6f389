"""Upkeep of the series: late buckets, the tail, silent hosts, retention and the disk budget, in small steps."""

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import trio
from attrs import define, field

from appliance.clock import Now
from appliance.database import Database
from appliance.errors import Busy, StorageFailed
from appliance.series.limits import DAY_US, HOUR_US, Retention
from appliance.series.pruning import RAW, TIERS, forget_step, oldest, prune_all, series_before, set_pruned, used_bytes
from appliance.series.store import SeriesStore
from appliance.series.value_store import names_before, prune_values

DRAIN_SECONDS: Final = 1.0
KEEP_SECONDS: Final = 60.0

SILENT_US: Final = 2 * HOUR_US
"""A host that has said nothing for this long gets its open buckets built."""

ALWAYS_KEPT_US: Final = 2 * HOUR_US
"""Raw samples that no budget deletes: open buckets are built from them."""

BUDGET_STEPS: Final = 6
"""Hours that one pass may delete for the budget's sake."""


@define
class Keeper:
    """Does what readers and writers need not wait for. Everything it does may be interrupted at any point."""

    database: Database
    now: Now
    store: SeriesStore
    retention: Callable[[], Retention]
    pruned: list[int] = field(factory=lambda: [0] * len(TIERS))
    """Until when each tier is pruned, raw first."""
    has_late: bool = True
    """Late samples have been stored since the last drain; after a start, perhaps before it."""
    is_over_budget: bool = False
    _settled: dict[int, int] = field(factory=dict, init=False)

    async def run(self) -> None:
        """Work until cancelled."""
        next_keep = trio.current_time()
        while True:
            try:
                await self.drain()
                if trio.current_time() >= next_keep:
                    next_keep = trio.current_time() + KEEP_SECONDS
                    await self.keep()
            except (Busy, StorageFailed):
                # A full disk or a busy writer is told by the database itself; nothing here is lost by waiting.
                self.has_late = True
            await trio.sleep(DRAIN_SECONDS)

    async def keep(self) -> None:
        """Do all upkeep once."""
        await self.drain()
        while await self.database.write(self.store.move_tail):
            pass
        await self._settle()
        await self.forget()
        for tier in TIERS:
            await self._prune_by_age(tier)
        await self._prune_values()
        await self._prune_by_budget()
        longest = max(self.retention().kept_us(tier) for tier in TIERS)
        await self.database.write(lambda conn: self.store.forget_layouts(conn, self.now() - longest - DAY_US))

    async def drain(self) -> None:
        """Build the buckets anew that late samples changed."""
        if not self.has_late:
            return
        self.has_late = False
        while await self.database.write(lambda conn: self.store.drain(conn, self.pruned)):
            pass

    async def forget(self) -> None:
        """Delete what is left of forgotten hosts."""
        while await self.database.write(forget_step):
            pass

    async def _settle(self) -> None:
        silent_since = self.now() - SILENT_US
        for series_id, at in await self.database.read(lambda conn: self.store.silent(conn, silent_since)):
            if self._settled.get(series_id) != at:
                await self.database.write(lambda conn, series_id=series_id: self.store.settle(conn, series_id))  # type: ignore[misc]
                self._settled[series_id] = at

    # -- pruning. Only hours that exist are deleted, one a tier and pass: a clock that is wrong for some minutes,
    # be it by years, costs some of the oldest hours and not the history.

    async def _prune_by_age(self, tier: int) -> None:
        await self._prune_hour(tier, self.now() - self.retention().kept_us(tier))

    async def _prune_hour(self, tier: int, before_unix_us: int) -> bool:
        """Delete the oldest hour of a tier if all of it is before a moment; return whether there was one."""
        first = await self.database.read(partial(oldest, tier=tier))
        if first is None:
            return False
        until = first - first % HOUR_US + HOUR_US
        if until > before_unix_us:
            return False

        await self.database.write(lambda conn: set_pruned(conn, tier, until))
        self.pruned[tier + 1] = max(self.pruned[tier + 1], until)

        left: Sequence[int] = await self.database.read(partial(series_before, tier=tier, until_unix_us=until))
        while left:
            left = await self.database.write(partial(self._prune, tier=tier, series_ids=left, until_unix_us=until))
        return True

    def _prune(
        self, conn: sqlite3.Connection, tier: int, series_ids: Sequence[int], until_unix_us: int
    ) -> Sequence[int]:
        self.store.forget_memory()  # of a host that was silent for long, the newest sample may go
        return prune_all(conn, tier, series_ids, until_unix_us)

    async def _prune_values(self) -> None:
        for tier in TIERS:
            until = self.now() - self.retention().kept_us(tier)
            # Asked first: of thousands of names hardly any has something to delete, and a write each is dear.
            for number in await self.database.read(partial(names_before, tier=tier, until_unix_us=until)):
                step = partial(prune_values, tier=tier, name=number, until_unix_us=until)
                while await self.database.write(step):
                    pass

    async def _prune_by_budget(self) -> None:
        budget = self.retention().disk_budget_bytes
        for _ in range(BUDGET_STEPS):
            self.is_over_budget = self.database.read_now(used_bytes) > budget
            if not self.is_over_budget or not await self._prune_something():
                return

    async def _prune_something(self) -> bool:
        kept = self.now() - ALWAYS_KEPT_US
        for tier in TIERS:
            if await self._prune_hour(tier, kept if tier == RAW else kept - DAY_US):
                return True
        return False
