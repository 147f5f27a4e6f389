"""Reads windows: picks the tier, adds the open bucket, merges what is still too many points."""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby

from appliance.series.gathering import Gatherer
from appliance.series.rollup import TIER_US, Bucket, floor, fold_buckets
from appliance.series.store import SeriesStore, bucket_start
from appliance.series.value_store import Figures, name_id, values
from appliance.series.window import MAX_FIGURES, Choice, Column, Wanted, Window, choices, tier_seconds

Span = tuple[int, int]
COARSEST = len(TIER_US) - 1


def read_window(
    conn: sqlite3.Connection,
    store: SeriesStore,
    series_id: int | None,
    *,
    metrics: Collection[str | Wanted],
    devices: Collection[str] | None,
    span: Span,
    max_points: int,
    pruned: Sequence[int],
) -> Window:
    """Return a host's window; see `Series.window`."""
    newest = None if series_id is None else store.newest(conn, series_id)
    if newest is None:  # silent for so long that only stored buckets are left: none is open
        newest = 2**62
    if series_id is None:
        return _window(span, Choice(0), Gatherer(metrics, devices))
    # What is stored may begin long after the span does: a finer tier may hold all of it then.
    begin, end = _stored_span(conn, store, series_id, newest, span)
    few = store.count(conn, series_id, *span, max_points + 1) <= max_points
    options = choices(begin, end, max_points=max_points, is_raw_fit=few, pruned=pruned)
    for choice in options:
        gatherer = Gatherer(metrics, devices)
        if choice.tier < 0:
            for near, row in store.neighbours(conn, series_id, *span):
                gatherer.add_raw(near, row)
        elif choice.merged > 1:
            for start, bucket in _merged(_all_buckets(conn, store, series_id, newest, choice.tier, span), choice):
                gatherer.add_bucket(start, bucket)
        else:
            _gather_buckets(conn, store, series_id, newest, choice.tier, span, gatherer)
        if gatherer.figure_count <= MAX_FIGURES or choice is options[-1]:
            return _window(span, choice, gatherer)
    raise AssertionError(f"no tier for {span}")


def _stored_span(conn: sqlite3.Connection, store: SeriesStore, series_id: int, newest: int, span: Span) -> Span:
    """Return the part of a span outside of which nothing is stored, its start as well as the coarsest tier knows."""
    begin = floor(newest, COARSEST)  # that bucket is open, and not stored
    for key, *_ in store.packed(conn, series_id, COARSEST, floor(span[0], COARSEST), span[1]):
        begin = min(begin, bucket_start(key))
        break
    begin, end = max(span[0], begin), min(span[1], newest + 1)
    return (begin, end) if begin < end else span


def _window(span: Span, choice: Choice, gatherer: Gatherer) -> Window:
    return Window(
        from_unix_us=span[0],
        to_unix_us=span[1],
        tier_seconds=tier_seconds(choice.tier),
        step_seconds=tier_seconds(choice.tier) * choice.merged,
        times_unix_us=gatherer.times,
        columns=gatherer.columns(),
        devices=gatherer.devices_met,
        sample_count=gatherer.sample_count,
    )


def _gather_buckets(
    conn: sqlite3.Connection,
    store: SeriesStore,
    series_id: int,
    newest: int,
    tier: int,
    span: Span,
    gatherer: Gatherer,
) -> None:
    start, end = floor(span[0], tier), span[1]
    open_from = floor(newest, tier)
    for key, layout_id, count, data in store.packed(conn, series_id, tier, start, min(end, open_from)):
        gatherer.add_packed(bucket_start(key), count, data, store.decoders(conn, layout_id)[1])
    if start <= open_from < end:
        bucket = store.fold_open(conn, series_id, tier, newest)
        if bucket is not None:
            gatherer.add_bucket(open_from, bucket)


def _all_buckets(
    conn: sqlite3.Connection, store: SeriesStore, series_id: int, newest: int, tier: int, span: Span
) -> Iterator[tuple[int, Bucket]]:
    start, open_from = floor(span[0], tier), floor(newest, tier)
    yield from store.buckets(conn, series_id, tier, start, min(span[1], open_from))
    if start <= open_from < span[1]:
        bucket = store.fold_open(conn, series_id, tier, newest)
        if bucket is not None:
            yield open_from, bucket


def _merged(buckets: Iterable[tuple[int, Bucket]], choice: Choice) -> Iterator[tuple[int, Bucket]]:
    step = TIER_US[choice.tier] * choice.merged
    for number, group in groupby(buckets, lambda each: each[0] // step):
        yield number * step, fold_buckets([bucket for _, bucket in group])


def read_values(
    conn: sqlite3.Connection, series: str, name: str, *, span: Span, max_points: int, pruned: Sequence[int]
) -> Window:
    """Return a plugin value's window; see `Series.window_values`."""
    number = name_id(conn, series, name)
    # Raw is tried first, and left when it is too much.
    options = choices(*span, max_points=max_points, is_raw_fit=True, pruned=pruned)
    for choice in options:
        found: list[Figures] = []
        if number is not None:
            start = span[0] if choice.tier < 0 else floor(span[0], choice.tier)
            found = values(conn, number, choice.tier, start, span[1], max_points + 1)
        if choice.tier < 0 and len(found) > max_points:
            continue
        if choice.merged > 1:
            found = list(_merged_values(found, TIER_US[choice.tier] * choice.merged))
        times, columns = _value_columns(name, found)
        return Window(
            from_unix_us=span[0],
            to_unix_us=span[1],
            tier_seconds=tier_seconds(choice.tier),
            step_seconds=tier_seconds(choice.tier) * choice.merged,
            times_unix_us=times,
            columns=columns,
            sample_count=sum(each[4] for each in found),
        )
    raise AssertionError(f"no tier for {span}")


def _merged_values(found: Iterable[Figures], step: int) -> Iterator[Figures]:
    for number, group in groupby(found, lambda each: each[0] // step):
        each = list(group)
        count = sum(part[4] for part in each)
        mean = sum(part[3] * part[4] for part in each) / count
        yield number * step, min(part[1] for part in each), max(part[2] for part in each), mean, count


def _value_columns(name: str, found: Sequence[Figures]) -> tuple[list[int], list[Column]]:
    if not found:
        return [], []
    times, low, high, mean, _ = (list(column) for column in zip(*found, strict=True))
    return [int(at) for at in times], [Column(metric=name, device=None, minimum=low, maximum=high, mean=mean)]
