"""`Series`: what the rest of the appliance asks for readings, present and past.

Whose clock counts: a sample's own time places it. One stamped more than a minute ahead of our clock is refused, and so
is one before what is still kept while newer ones of its host are there, so neither can hide what is true now nor make
retention delete the wrong hours. Any other is stored where it belongs, and is the latest only when it is newer than the
latest. Should our own clock be set back, readings taken now replace a latest that lies in the future.
"""

import math
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from typing import Final

import trio
from attrs import define, field, frozen

from appliance.clock import Now
from appliance.database import Database
from appliance.devices import HostSample
from appliance.errors import BadInput
from appliance.series.flatten import SampleLike, read, sample_of
from appliance.series.keeper import Keeper
from appliance.series.limits import FUTURE_SECONDS, MAX_KEY_CHARACTERS, MAX_MAGNITUDE, Retention
from appliance.series.pack import Row
from appliance.series.pruning import TIERS, pruned_until, start_forgetting, used_bytes
from appliance.series.rates import GAP_US, Rates, rates_of
from appliance.series.reading import read_values, read_window
from appliance.series.recovery import newest_samples
from appliance.series.store import SeriesStore, Stored
from appliance.series.value_store import put_value
from appliance.series.window import Wanted, Window, check_span, check_window

FUTURE_US: Final = FUTURE_SECONDS * 1_000_000
FRESH_US: Final = 10_000_000
PREFIX: Final = "host:"
FIELD: Final = "taken_at_unix_us"

Within = Callable[[sqlite3.Connection, Sequence[Stored]], None]
"""Writes more in the transaction of samples; told what became of each."""


@frozen(kw_only=True)
class Reading:
    """One sample and what it tells beside the one before it."""

    host_id: str
    at_unix_us: int
    """When the sample was taken."""
    is_new: bool = True
    """False when a sample of this moment was stored before, which stays; this is what was sent again."""
    is_recovered: bool = False
    """Read back from the disk: what is never stored (processes, cores, file systems) is missing."""
    rates: Rates
    """What the counters tell beside the sample before."""
    interval_seconds: float | None
    """Since the sample before; ``None`` on the first, and where no rate is derived since that lies too far behind."""
    _given: SampleLike | None = field(repr=False)
    _row: Row = field(repr=False)

    @cached_property
    def sample(self) -> HostSample:
        """The sample itself."""
        given = self._given
        return given if isinstance(given, HostSample) else sample_of(self.host_id, self._row)

    @property
    def row(self) -> Row:
        """The sample's numbers as they are stored, for those who want them all and quickly."""
        return self._row


@frozen(kw_only=True)
class Usage:
    """How much the series hold, for the status page and `appliance doctor`."""

    used_bytes: int
    """Pages of the database in use."""
    budget_bytes: int
    is_over_budget: bool
    """True when nothing more may be pruned and the database is still larger than its budget."""
    pruned_until_unix_us: Sequence[int]
    """Raw, 10 s, 1 min, 10 min, 1 h; 0 where nothing was pruned yet."""
    waiting_buckets: int
    """Buckets that late samples changed and that are not built anew yet."""


@define
class Series:
    """Time series of hosts and of plugins' values. Its `run` is a service; what it stores needs no flush."""

    database: Database
    now: Now
    retention: Retention = field(factory=Retention)
    """Replace it to change the retention while running."""
    name: str = field(default="series", init=False)
    _store: SeriesStore = field(init=False)
    _latest: dict[str, tuple[Row, Reading]] = field(factory=dict, init=False)
    _keeper: Keeper = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._store = SeriesStore(lambda: self.database.rollbacks)
        self._keeper = Keeper(self.database, self.now, self._store, lambda: self.retention)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Recover the latest readings, then move, rebuild and prune until cancelled."""
        await self.recover()
        task_status.started()
        await self._keeper.run()

    async def recover(self) -> None:
        """Read what was the latest of each host, and what is pruned; `run` does this first."""
        limit = self.now() + FUTURE_US
        found = await self.database.read(lambda conn: list(self._recovered(conn, limit)))
        for host_id, row, reading in found:
            self._latest.setdefault(host_id, (row, reading))
        self._keeper.pruned = await self.database.read(pruned_until)

    def _recovered(self, conn: sqlite3.Connection, limit: int) -> Iterator[tuple[str, Row, Reading]]:
        for key, near, row in newest_samples(conn, self._store, PREFIX, limit):
            host_id = key.removeprefix(PREFIX)
            yield host_id, row, _recovered(host_id, near, row)

    # -- samples

    async def append(
        self, sample: SampleLike, *, within: Within | None = None, patience_seconds: float = 0.0
    ) -> Reading:
        """Store a sample durably and return it with its rates; see `append_all`."""
        return (await self.append_all((sample,), within=within, patience_seconds=patience_seconds))[0]

    async def append_all(
        self, samples: Sequence[SampleLike], *, within: Within | None = None, patience_seconds: float = 0.0
    ) -> list[Reading]:
        """Store samples durably, all or none, and return each with its rates.

        Numbers that no device can mean (not-a-number, negative totals, beyond 2^53) count as not reported. A second
        sample of the same moment changes nothing: the first stays.

        :param within: writes what belongs to the samples in the same transaction, such as a caller's own row; like
            every write function it may run twice and touches nothing but its connection. What it raises undoes all.
        :param patience_seconds: how long they may wait for others to share their commit; see `Database.write`.
        :raises BadInput: its time is too far ahead or behind, or a device has no usable name; ``field`` says which.
        :raises TooLarge: more devices than a host has.
        :raises StorageFailed: the database cannot take it now.
        """
        rows: list[tuple[str, Row]] = []
        cleaned: list[SampleLike] = []
        for sample in samples:
            self._check_time(sample.taken_at_unix_us)
            if not 0 < len(sample.host_id) <= MAX_KEY_CHARACTERS:
                raise BadInput("a host's id is 1 to 200 characters", field="host_id")
            clean, row = read(sample)
            cleaned.append(clean)
            rows.append((PREFIX + sample.host_id, row))
        readings: list[Reading] = []

        kept_from = self._kept_from()

        def write(conn: sqlite3.Connection) -> list[Stored]:
            stored = [self._store.put(conn, key, row, kept_from_unix_us=kept_from) for key, row in rows]
            if within is not None:
                within(conn, stored)
            return stored

        def remember(stored: list[Stored]) -> None:
            for sample, (_, row), one in zip(cleaned, rows, stored, strict=True):
                reading = _reading(sample, one, row)
                readings.append(reading)
                self._remember(reading, row, one)

        await self.database.write(write, on_commit=remember, patience_seconds=patience_seconds)
        return readings

    def _check_time(self, at_unix_us: int) -> None:
        now = self.now()
        if at_unix_us > now + FUTURE_US:
            raise BadInput(
                f"the sample is stamped {(at_unix_us - now) / 1e6:.0f} s ahead of this appliance's clock",
                hint="set the clocks of both machines (NTP)",
                field=FIELD,
            )
        if at_unix_us < 0:
            raise BadInput("the sample is stamped before 1970", hint="set the clock of its machine", field=FIELD)

    def _kept_from(self) -> int:
        pruned = self._keeper.pruned
        # Behind the raw samples that are gone a bucket could not be built whole, nor the rate across the border.
        return max(self.now() - self.retention.kept_us(-1), pruned[0] + GAP_US if pruned[0] else 0, *pruned[1:4], 0)

    def _remember(self, reading: Reading, row: Row, stored: Stored) -> None:
        host_id = reading.host_id
        if stored.newest_unix_us != row.at_unix_us:
            self._keeper.has_late = True
        known = self._latest.get(host_id)
        if known is not None and not (stored.is_new and self._replaces(known[0].at_unix_us, row.at_unix_us)):
            return
        self._latest[host_id] = row, reading

    def _replaces(self, known_at: int, at: int) -> bool:
        now = self.now()
        return at >= known_at or (known_at > now and now - FRESH_US <= at <= now)

    def latest(self, host_id: str) -> Reading | None:
        """Return the newest reading of a host, from memory; ``None`` when there never was one."""
        known = self._latest.get(host_id)
        return None if known is None else known[1]

    def hosts(self) -> tuple[str, ...]:
        """Return the ids of the hosts that have a latest reading."""
        return tuple(self._latest)

    async def raw(self, host_id: str, from_unix_us: int, to_unix_us: int, limit: int = 1000) -> list[Reading]:
        """Return up to ``limit`` stored samples of a span open at its end, oldest first, with their rates."""

        def read(conn: sqlite3.Connection) -> list[Reading]:
            series_id = self._store.series_id(conn, PREFIX + host_id)
            if series_id is None:
                return []
            found = self._store.neighbours(conn, series_id, from_unix_us, to_unix_us, limit)
            return [_recovered(host_id, near, row) for near, row in found]

        return await self.database.read(read)

    async def count(self, host_id: str, from_unix_us: int, to_unix_us: int) -> int:
        """Return how many raw samples lie in a span open at its end."""

        def read(conn: sqlite3.Connection) -> int:
            series_id = self._store.series_id(conn, PREFIX + host_id)
            return 0 if series_id is None else self._store.count(conn, series_id, from_unix_us, to_unix_us)

        return await self.database.read(read)

    async def window(
        self,
        host_id: str,
        *,
        metrics: Collection[str | Wanted] = (),
        from_unix_us: int,
        to_unix_us: int,
        max_points: int = 1500,
        devices: Collection[str] | None = None,
    ) -> Window:
        """Return how metrics went, from the finest tier that holds the span in at most ``max_points`` points.

        :param metrics: names of `METRICS`, all of them when empty; a `Wanted` asks for some figures only.
        :param devices: restricts device metrics to these GPUs, disks, interfaces or fans.
        :raises BadInput: an unknown metric, or a span that ends before it begins.
        """
        check_window(metrics, from_unix_us, to_unix_us, max_points)
        retained = self._keeper.pruned

        def read(conn: sqlite3.Connection) -> Window:
            series_id = self._store.series_id(conn, PREFIX + host_id)
            return read_window(
                conn,
                self._store,
                series_id,
                metrics=frozenset(metrics),
                devices=None if devices is None else frozenset(devices),
                span=(from_unix_us, to_unix_us),
                max_points=max_points,
                pruned=retained,
            )

        return await self.database.read(read)

    async def forget(self, host_id: str) -> None:
        """Delete everything of a host; it is out of sight at once and off the disk when this returns."""
        key = PREFIX + host_id

        def gone(_: bool) -> None:
            self._latest.pop(host_id, None)

        def forget(conn: sqlite3.Connection) -> bool:
            self._store.forget_memory()
            return start_forgetting(conn, key)

        await self.database.write(forget, on_commit=gone)
        await self._keeper.forget()

    # -- values of plugins

    async def append_value(self, series: str, name: str, at_unix_us: int, value: float) -> None:
        """Store one number of a plugin durably; kept and rolled up like the hosts' series.

        :param series: the plugin's own, such as ``build_swarm``.
        :param name: what the number is, with its unit: ``queue_length``, ``build_seconds``.
        :raises BadInput: the value is no finite number, or its time is too far ahead or behind.
        """
        await self.append_values([(series, name, at_unix_us, value)])

    async def append_values(self, values: Sequence[tuple[str, str, int, float]]) -> None:
        """Store many numbers, each (series, name, time, value), as `append_value` does: all of them or none."""
        kept_from = self._kept_from()
        for series, name, at_unix_us, value in values:
            for label, text in (("series", series), ("name", name)):
                if not 0 < len(text) <= MAX_KEY_CHARACTERS:
                    raise BadInput(f"1 to {MAX_KEY_CHARACTERS} characters", field=label)
            if not (math.isfinite(value) and abs(value) <= MAX_MAGNITUDE):
                raise BadInput("the value is no finite number of ordinary size", field="value")
            self._check_time(at_unix_us)
            if at_unix_us < kept_from:
                hint = "keep raw samples longer"
                raise BadInput("the value is older than what is kept", hint=hint, field="at_unix_us")

        def write(conn: sqlite3.Connection) -> None:
            for series, name, at_unix_us, value in values:
                put_value(conn, series, name, at_unix_us, float(value))

        await self.database.write(write)

    async def window_values(
        self, series: str, name: str, *, from_unix_us: int, to_unix_us: int, max_points: int = 1500
    ) -> Window:
        """Return how a plugin's value went; one column named ``name``, none when nothing was ever stored."""
        check_span(from_unix_us, to_unix_us, max_points)
        now = self.now()
        retained = [now - self.retention.kept_us(tier) for tier in TIERS]

        def read(conn: sqlite3.Connection) -> Window:
            return read_values(
                conn, series, name, span=(from_unix_us, to_unix_us), max_points=max_points, pruned=retained
            )

        return await self.database.read(read)

    def usage(self) -> Usage:
        """Return how much is stored and how far pruning has come; a few microseconds."""
        used = self.database.read_now(used_bytes)
        return Usage(
            used_bytes=used,
            budget_bytes=self.retention.disk_budget_bytes,
            is_over_budget=self._keeper.is_over_budget,
            pruned_until_unix_us=tuple(self._keeper.pruned),
            waiting_buckets=self.database.read_now(self._store.waiting),
        )

    async def keep(self) -> None:
        """Do now what `run` does about once a minute: rebuild, move, settle, prune."""
        await self._keeper.keep()


def _reading(sample: SampleLike, stored: Stored, row: Row) -> Reading:
    return Reading(
        host_id=sample.host_id,
        at_unix_us=row.at_unix_us,
        rates=stored.rates,
        interval_seconds=_interval_seconds(stored.before, row),
        is_new=stored.is_new,
        given=sample,
        row=row,
    )


def _recovered(host_id: str, before: Row | None, row: Row) -> Reading:
    return Reading(
        host_id=host_id,
        at_unix_us=row.at_unix_us,
        rates=rates_of(before, row),
        interval_seconds=_interval_seconds(before, row),
        is_recovered=True,
        given=None,
        row=row,
    )


def _interval_seconds(before: Row | None, row: Row) -> float | None:
    return None if before is None else (row.at_unix_us - before.at_unix_us) / 1_000_000
