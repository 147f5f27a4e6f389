"""All SQL of host series. Every function takes the connection it works on.

What keeps the tiers right: whenever a sample is stored, every bucket that ended before the series' newest sample is
either built or named in ``series_dirty``, in the same transaction. So a crash at any moment needs no repair.

What the writer remembers between two samples (open buckets, which layouts are stored) may be ahead of the file after
a rollback, whoever's failure caused it: then all of it is forgotten and read again.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Final

from attrs import define, field, frozen

from appliance.errors import BadInput, Conflict
from appliance.series.fields import HOST
from appliance.series.limits import HOUR_US
from appliance.series.open import OpenBuckets
from appliance.series.pack import Decoder, Layout, Row, UnknownFormat, decoder, pack_devices, unpack_devices
from appliance.series.packed import BucketDecoder, bucket_decoder, pack_bucket, unpack_bucket
from appliance.series.rates import PACE_TIMES, Pace, Rates, rates_of
from appliance.series.rollup import TIER_SECONDS, TIER_US, Bucket, floor, fold_buckets, fold_samples, vector
from appliance.series.schema import MIGRATIONS, OWNER
from appliance.series.statements import AFTER, BEFORE, INSERT, MOVE, NEWEST, SILENT, SPAN, TIMES

__all__ = ["MIGRATIONS", "OWNER", "SeriesStore", "Stored"]

MAX_SERIES: Final = 2**28
TOO_OLD: Final = "the sample is older than the raw samples that are kept, and newer ones of its host are there"
TOO_OLD_HINT: Final = "set the clocks of both machines, or keep raw samples longer"
OPEN_MAX: Final = 10_240
"""Series whose open buckets are remembered: reading them anew takes ten times as long. Those of 8 GPUs with a few
figures each take some 10 kB, with all figures some 30 kB."""
LAYOUTS_MAX: Final = 16_384
"""Layouts that are remembered."""

MOVED_ROWS: Final = 1000
"""Rows moved or deleted in one write: below 50 ms of the writer's time."""


@frozen
class Stored:
    """What became of a sample."""

    before: Row | None
    """The sample before it, of which its rates are derived; ``None`` too when it lies too far behind."""
    rates: Rates
    newest_unix_us: int
    """The series' newest sample, this one included."""
    after_unix_us: int | None
    """The sample after it; ``None`` when it is the newest."""
    is_new: bool
    """False when a sample of that moment was there already: the first stays."""


def bucket_key(series_id: int, tier: int, at_unix_us: int) -> int:
    """Return the key of the bucket that holds a moment; keys of one tier and series are in order of time."""
    return (tier * MAX_SERIES + series_id) << 32 | floor(at_unix_us, tier) // 1_000_000


def bucket_start(key: int) -> int:
    """Return where the bucket of a key starts."""
    return (key & 0xFFFFFFFF) * 1_000_000


@define
class SeriesStore:
    """Rows and buckets of hosts; readers may share it with the writer, whose memory is its own."""

    rollbacks: Callable[[], int] = lambda: 0
    """How much the writer has undone so far: when that changes, what it remembers may never have happened."""
    _decoders: dict[int, tuple[Decoder, BucketDecoder]] = field(factory=dict, init=False)
    _open: dict[str, OpenBuckets] = field(factory=dict, init=False)
    _saved_until: dict[int, int] = field(factory=dict, init=False)
    """Until when each stored layout is said to be used."""
    _seen_rollbacks: int = field(default=0, init=False)

    def forget_memory(self) -> None:
        """Read everything anew from now on; call it in the write that changes rows behind `put`'s back."""
        self._open.clear()
        self._saved_until.clear()

    # -- keys and layouts

    def series_id(self, conn: sqlite3.Connection, key: str) -> int | None:
        """Return the number of a series, or ``None`` when nothing of it is stored."""
        found = conn.execute("SELECT series_id FROM series_key WHERE key = ?", (key,)).fetchone()
        return None if found is None else int(found[0])

    def make_series(self, conn: sqlite3.Connection, key: str) -> int:
        """Return the number of a series, making it if need be."""
        found = self.series_id(conn, key)
        if found is not None:
            return found
        cursor = conn.execute("INSERT INTO series_key (key) VALUES (?)", (key,))
        assert cursor.lastrowid is not None
        if cursor.lastrowid >= MAX_SERIES:
            raise Conflict("too many series")
        return cursor.lastrowid

    def keys(self, conn: sqlite3.Connection) -> list[tuple[int, str]]:
        """Return every series."""
        return conn.execute("SELECT series_id, key FROM series_key ORDER BY series_id").fetchall()

    def _save_layout(self, conn: sqlite3.Connection, layout: Layout, at_unix_us: int) -> None:
        if self._saved_until.get(layout.layout_id, -1) >= at_unix_us:
            return
        if len(self._saved_until) >= LAYOUTS_MAX:
            self._saved_until.clear()
        found = conn.execute(
            "SELECT used_until_unix_us FROM series_layout WHERE layout_id = ?", (layout.layout_id,)
        ).fetchone()
        if found is not None and found[0] >= at_unix_us:
            self._saved_until[layout.layout_id] = found[0]
            return
        self._saved_until[layout.layout_id] = at_unix_us + HOUR_US
        conn.execute(
            "INSERT INTO series_layout (layout_id, content, used_until_unix_us) VALUES (:id, :content, :until)"
            " ON CONFLICT DO UPDATE SET used_until_unix_us = :until",
            {"id": layout.layout_id, "content": layout.content, "until": at_unix_us + HOUR_US},
        )

    def decoders(self, conn: sqlite3.Connection, layout_id: int) -> tuple[Decoder, BucketDecoder]:
        """Return how rows and buckets of a stored layout are read."""
        known = self._decoders.get(layout_id)
        if known is None:
            found = conn.execute("SELECT content FROM series_layout WHERE layout_id = ?", (layout_id,)).fetchone()
            if found is None:
                raise UnknownFormat(f"series layout {layout_id} is missing")
            read = decoder(found[0])
            known = read, bucket_decoder(read)
            if len(self._decoders) >= LAYOUTS_MAX:
                self._decoders.clear()
            self._decoders[layout_id] = known
        return known

    def forget_layouts(self, conn: sqlite3.Connection, before_unix_us: int) -> int:
        """Delete the layouts that no row can use any more."""
        self._saved_until.clear()
        return conn.execute("DELETE FROM series_layout WHERE used_until_unix_us < ?", (before_unix_us,)).rowcount

    # -- samples

    def put(self, conn: sqlite3.Connection, key: str, row: Row, *, kept_from_unix_us: int = 0) -> Stored:
        """Store a sample and build the buckets that it closes, or mark those that it changes.

        :param kept_from_unix_us: since when buckets can be built anew; a late sample before that raises `BadInput`.
        """
        if self._seen_rollbacks != self.rollbacks():
            self._seen_rollbacks = self.rollbacks()
            self.forget_memory()
        series = self._open.get(key) or self._opened(conn, key)
        before = series.newest
        if before is not None and row.at_unix_us <= before.at_unix_us:
            if row.at_unix_us < kept_from_unix_us:
                raise BadInput(TOO_OLD, hint=TOO_OLD_HINT, field="taken_at_unix_us")
            return self._put_late(conn, series, row, before.at_unix_us)
        series_id = series.series_id
        if series.pace is None:
            series.pace = self.pace(conn, series_id, row.at_unix_us)
        near = series.pace.near(before, row)
        rates = rates_of(near, row)
        self._insert(conn, series_id, row)
        for tier, start, bucket in series.add(row, rates, lambda tier, start: self.fold(conn, series_id, tier, start)):
            self._save_bucket(conn, series_id, tier, start, bucket)
        return Stored(near, rates, row.at_unix_us, None, True)

    def _opened(self, conn: sqlite3.Connection, key: str) -> OpenBuckets:
        if len(self._open) >= OPEN_MAX:
            self._open.pop(next(iter(self._open)))
        series_id = self.make_series(conn, key)
        self._open[key] = opened = OpenBuckets(series_id, self.before(conn, series_id, 2**62))
        return opened

    def _put_late(self, conn: sqlite3.Connection, series: OpenBuckets, row: Row, newest: int) -> Stored:
        at, series_id = row.at_unix_us, series.series_id
        before = self.near(conn, series_id, row)
        moved = conn.execute("SELECT 1 FROM series_raw WHERE series_id = ? AND at_unix_us = ?", (series_id, at))
        if moved.fetchone() is not None or not self._insert(conn, series_id, row):
            return Stored(before, rates_of(before, row), newest, None, False)
        series.doubt()
        # Its own bucket changes, that of the next sample, whose rates are now derived from this one, and those of
        # the samples after that, whose pace it is part of.
        after = sorted(found[0] for sql in AFTER for found in conn.execute(sql, (series_id, at)))[:PACE_TIMES]
        open_from = floor(newest, 0)
        changed = {floor(at, 0), *(floor(each, 0) for each in after)}
        conn.executemany(
            "INSERT INTO series_dirty (series_id, bucket_unix_us) VALUES (?, ?) ON CONFLICT DO NOTHING",
            [(series_id, bucket) for bucket in changed if bucket < open_from],
        )
        return Stored(before, rates_of(before, row), newest, after[0] if after else None, True)

    def _insert(self, conn: sqlite3.Connection, series_id: int, row: Row) -> bool:
        self._save_layout(conn, row.layout, row.at_unix_us)
        values = (
            series_id,
            row.at_unix_us,
            row.layout.layout_id,
            *row.host_gauges,
            *row.host_counters,
            pack_devices(row) if row.blob is None else row.blob,
        )
        return conn.execute(INSERT, values).rowcount == 1

    def newest(self, conn: sqlite3.Connection, series_id: int) -> int | None:
        """Return the moment of the newest sample."""
        # Late samples lie in the tail too, so the tail's newest need not be the series'.
        found = [at for sql in NEWEST for (at,) in conn.execute(sql, (series_id,))]
        return max(found, default=None)

    def before(self, conn: sqlite3.Connection, series_id: int, at_unix_us: int) -> Row | None:
        """Return the last sample earlier than a moment."""
        found = [each for sql in BEFORE for each in conn.execute(sql, (series_id, at_unix_us))]
        return self.row(conn, max(found, key=itemgetter(0))) if found else None

    def pace(self, conn: sqlite3.Connection, series_id: int, at_unix_us: int) -> Pace:
        """Return how often the host reported before a moment."""
        found = {at for sql in TIMES for (at,) in conn.execute(sql, (series_id, at_unix_us))}
        return Pace(sorted(found))

    def near(self, conn: sqlite3.Connection, series_id: int, row: Row) -> Row | None:
        """Return the sample before a stored or a new one, if it is near enough for rates."""
        return self.pace(conn, series_id, row.at_unix_us).near(self.before(conn, series_id, row.at_unix_us), row)

    def neighbours(
        self, conn: sqlite3.Connection, series_id: int, from_unix_us: int, to_unix_us: int, limit: int = -1
    ) -> Iterator[tuple[Row | None, Row]]:
        """Yield (the sample before if near enough for rates, sample) of a span open at its end, oldest first."""
        pace, before = None, None
        for row in self.rows(conn, series_id, from_unix_us, to_unix_us, limit):
            if pace is None:
                pace = self.pace(conn, series_id, row.at_unix_us)
                before = self.before(conn, series_id, row.at_unix_us)
            yield pace.near(before, row), row
            pace.add(row.at_unix_us)
            before = row

    def rows(
        self, conn: sqlite3.Connection, series_id: int, from_unix_us: int, to_unix_us: int, limit: int = -1
    ) -> Iterator[Row]:
        """Yield the samples of a span that is open at its end, oldest first."""
        span = {"series": series_id, "from": from_unix_us, "to": to_unix_us, "limit": limit}
        previous = -1
        for found in conn.execute(f"{SPAN} ORDER BY at_unix_us LIMIT :limit", span):
            if found[0] != previous:
                previous = found[0]
                yield self.row(conn, found)

    def row(self, conn: sqlite3.Connection, found: tuple[Any, ...]) -> Row:
        """Return a sample as its columns were found."""
        at, layout_id, *host, blob = found
        stored = self.decoders(conn, layout_id)[0]
        counters, gauges = unpack_devices(blob, stored)
        split = len(HOST.gauges)
        return Row(
            at_unix_us=at,
            layout=stored.layout,
            host_gauges=tuple(host[:split]),
            host_counters=tuple(host[split:]),
            gauges=gauges,
            counters=counters,
        )

    def count(
        self, conn: sqlite3.Connection, series_id: int, from_unix_us: int, to_unix_us: int, limit: int = -1
    ) -> int:
        """Return how many samples lie in a span that is open at its end; at most ``limit`` of a table are counted."""
        span = {"series": series_id, "from": from_unix_us, "to": to_unix_us, "limit": limit}
        return sum(
            conn.execute(
                f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE series_id = :series"  # noqa: S608
                " AND at_unix_us >= :from AND at_unix_us < :to LIMIT :limit)",
                span,
            ).fetchone()[0]
            for table in ("series_raw", "series_tail")
        )

    def move_tail(self, conn: sqlite3.Connection) -> bool:
        """Move up to `MOVED_ROWS` samples to their place; return whether more are waiting."""
        last = conn.execute(
            "SELECT series_id, at_unix_us FROM series_tail ORDER BY series_id, at_unix_us LIMIT 1 OFFSET ?",
            (MOVED_ROWS - 1,),
        ).fetchone()
        place = {"series": last[0], "at": last[1]} if last else {"series": MAX_SERIES, "at": 0}
        conn.execute(MOVE, place)
        conn.execute("DELETE FROM series_tail WHERE (series_id, at_unix_us) <= (:series, :at)", place)
        return last is not None

    # -- buckets

    def rebuild(self, conn: sqlite3.Connection, series_id: int, tier: int, start_unix_us: int) -> None:
        """Fold a bucket anew from the tier below and store it."""
        bucket = self.fold(conn, series_id, tier, start_unix_us)
        if bucket is not None:
            self._save_bucket(conn, series_id, tier, start_unix_us, bucket)

    def _save_bucket(
        self, conn: sqlite3.Connection, series_id: int, tier: int, start_unix_us: int, bucket: Bucket
    ) -> None:
        self._save_layout(conn, bucket.layout, start_unix_us)
        conn.execute(
            "INSERT INTO series_rollup (bucket_key, layout_id, sample_count, data)"
            " VALUES (:key, :layout, :count, :data) ON CONFLICT DO UPDATE"
            " SET layout_id = :layout, sample_count = :count, data = :data",
            {
                "key": bucket_key(series_id, tier, start_unix_us),
                "layout": bucket.layout.layout_id,
                "count": bucket.sample_count,
                "data": pack_bucket(bucket, is_compressed=tier == 0),
            },
        )

    def fold(self, conn: sqlite3.Connection, series_id: int, tier: int, start_unix_us: int) -> Bucket | None:
        """Return a bucket folded from what is stored of the tier below; ``None`` when nothing is."""
        end = start_unix_us + TIER_US[tier]
        if tier:
            below = [bucket for _, bucket in self.buckets(conn, series_id, tier - 1, start_unix_us, end)]
            return fold_buckets(below) if below else None
        found = self.neighbours(conn, series_id, start_unix_us, end)
        vectors = [(row.layout, vector(near, row)) for near, row in found]
        return fold_samples(vectors) if vectors else None

    def fold_open(self, conn: sqlite3.Connection, series_id: int, tier: int, newest_unix_us: int) -> Bucket | None:
        """Return the bucket that holds the newest sample: what is stored of the tier below, and its open one."""
        start = floor(newest_unix_us, tier)
        if not tier:
            return self.fold(conn, series_id, 0, start)
        stored = self.buckets(conn, series_id, tier - 1, start, floor(newest_unix_us, tier - 1))
        below = [bucket for _, bucket in stored]
        last = self.fold_open(conn, series_id, tier - 1, newest_unix_us)
        below += [last] if last else []
        return fold_buckets(below) if below else None

    def buckets(
        self, conn: sqlite3.Connection, series_id: int, tier: int, from_unix_us: int, to_unix_us: int
    ) -> Iterator[tuple[int, Bucket]]:
        """Yield (start, bucket) of the stored buckets that start in a span open at its end, oldest first."""
        for key, layout_id, count, data in self.packed(conn, series_id, tier, from_unix_us, to_unix_us):
            yield bucket_start(key), unpack_bucket(data, count, self.decoders(conn, layout_id)[1])

    def packed(
        self, conn: sqlite3.Connection, series_id: int, tier: int, from_unix_us: int, to_unix_us: int
    ) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield (key, layout, sample count, data) of the stored buckets that start in a span open at its end."""
        first = -(-max(from_unix_us, 0) // TIER_US[tier]) * TIER_SECONDS[tier]
        last = -(-max(to_unix_us, 0) // TIER_US[tier]) * TIER_SECONDS[tier]
        base = (tier * MAX_SERIES + series_id) << 32
        yield from conn.execute(
            "SELECT bucket_key, layout_id, sample_count, data FROM series_rollup"
            " WHERE bucket_key >= ? AND bucket_key < ? ORDER BY bucket_key",
            (base | min(first, 0xFFFFFFFF), base | min(last, 0xFFFFFFFF)),
        )

    def drain(self, conn: sqlite3.Connection, pruned: Sequence[int], limit: int = 30) -> bool:
        """Rebuild up to ``limit`` marked buckets and all above them; return whether more are waiting.

        :param pruned: until when each tier is pruned, raw first; a bucket whose parts are gone stays as it is.
        """
        marks = conn.execute(
            "SELECT series_id, bucket_unix_us FROM series_dirty ORDER BY series_id, bucket_unix_us LIMIT ?", (limit,)
        ).fetchall()
        starts: dict[int, list[int]] = {}
        for series_id, bucket in marks:
            starts.setdefault(series_id, []).append(bucket)
        for series in self._open.values():
            if series.series_id in starts:
                series.doubt()
        for series_id, buckets in starts.items():
            newest = self.newest(conn, series_id) or 0
            for tier in range(len(TIER_US)):
                changed = sorted({floor(bucket, tier) for bucket in buckets})
                for start in changed:
                    if pruned[tier] <= start < floor(newest, tier):
                        self.rebuild(conn, series_id, tier, start)
        conn.executemany("DELETE FROM series_dirty WHERE series_id = ? AND bucket_unix_us = ?", marks)
        return len(marks) == limit

    def waiting(self, conn: sqlite3.Connection) -> int:
        """Return how many buckets wait to be built anew."""
        return int(conn.execute("SELECT count(*) FROM series_dirty").fetchone()[0])

    def silent(self, conn: sqlite3.Connection, since_unix_us: int) -> list[tuple[int, int]]:
        """Return (series, newest sample) of those that have none since a moment."""
        return conn.execute(SILENT, (since_unix_us,)).fetchall()

    def settle(self, conn: sqlite3.Connection, series_id: int) -> None:
        """Build the buckets that are open, for a host that has fallen silent and may never close them."""
        newest = self.newest(conn, series_id)
        if newest is not None:
            for tier in range(len(TIER_US)):
                self.rebuild(conn, series_id, tier, floor(newest, tier))
