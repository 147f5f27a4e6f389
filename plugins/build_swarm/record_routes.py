"""What is kept, over the public surface: the protocol log, figures over time, and SQL. None of it is documented."""

import math
from typing import Any, Final

import trio
from attrs import field, frozen
from attrs.validators import and_, ge, le, max_len, optional

from appliance.plugin import BadInput, Call, NotFound, Role

from .records.metrics import number_of
from .records.store import Filter
from .state import SwarmState
from .states import Drone
from .surfaces import KEYED, READERS, public
from .wire.moments import SECOND_US, seconds
from .wire.plain import plain, plain_values

ENTRIES_MAX: Final = 2000
BUCKETS_MAX: Final = 500
ROWS_MAX: Final = 500
DEFAULT_SECONDS: Final = 3600
TIMES_FROM: Final = 1_000_000_000
"""A ``since`` from here on is a Unix time, below it an id; as in /events."""
TIME_MAX: Final = 253_402_300_799
"""The last second of the year 9999."""
PAGE_TYPES: Final = {"heartbeat": ("register", ""), "completion": ("complete", ""), "delegation": ("work_request", "/")}
"""Words of the documented admin page that no entry has: the type that is meant, and what the package must hold."""
_WORD: Final[Any] = max_len(255)
_TIME: Final = optional(and_(ge(0), le(TIME_MAX)))


@frozen
class EntriesQuery:
    """Which entries."""

    since: float | None = field(default=None, validator=_TIME)
    """A Unix time, or (below 1e9) the id of the last entry that the caller has; without it the newest are given."""
    type: str = field(default="", validator=_WORD)
    """As entries say it, or as the documented admin page does."""
    drone: str = field(default="", validator=_WORD)
    """Id or name."""
    package: str = field(default="", validator=_WORD)
    """A part of the atom."""
    min_latency: float = field(default=0.0, validator=and_(ge(0.0), le(1e9)))
    """Milliseconds."""
    limit: int = field(default=200, validator=ge(1))


@public.get("/api/v1/protocol", caller=READERS, access="open", query=EntriesQuery)
async def protocol(call: Call[None]) -> dict[str, Any]:
    """List what was asked and answered, oldest first, without bodies."""
    state: SwarmState = call.state
    query: EntriesQuery = call.query
    since = query.since or 0.0
    is_time = since >= TIMES_FROM
    msg_type, package = PAGE_TYPES.get(query.type, (query.type, ""))
    found = await state.records.protocol.entries(
        Filter(
            after_id=0 if is_time else math.floor(since),
            since_unix_us=round(since * SECOND_US) if is_time else 0,
            msg_type=msg_type,
            drone=query.drone,
            package=query.package or package,
            min_latency_ms=query.min_latency,
            limit=min(query.limit, ENTRIES_MAX),
        )
    )
    listed = [_entry(each) for each in found]
    return {"entries": listed, "history": listed}  # the second is what the public page reads


@frozen
class OneQuery:
    """Which entry."""

    id: int = field(default=0, validator=and_(ge(0), le(2**53)))


@public.get("/api/v1/protocol/detail", caller=READERS, access="open", query=OneQuery)
async def protocol_detail(call: Call[None]) -> dict[str, Any]:
    """Show one entry with what was sent and answered, without what may be a secret."""
    state: SwarmState = call.state
    found = await state.records.protocol.entry(call.query.id)
    if found is None:
        raise NotFound("entry", str(call.query.id), hint="the log is kept for 24 hours")
    return _entry(found)


@frozen
class SinceQuery:
    """Since when."""

    since: float | None = field(default=None, validator=_TIME)


@public.get("/api/v1/protocol/stats", caller=READERS, access="open", query=SinceQuery)
async def protocol_stats(call: Call[None]) -> dict[str, Any]:
    """Count messages by kind, with how long their answers took in milliseconds."""
    state: SwarmState = call.state
    found = await state.records.protocol.statistics(round((call.query.since or 0) * SECOND_US))
    return {
        "total": sum(each["count"] for each in found),
        "by_type": found,
        "dropped": state.records.protocol.dropped,
    }


@frozen
class DensityQuery:
    """Which time, in how many parts; the last hour in a hundred."""

    start: float | None = field(default=None, validator=_TIME)
    end: float | None = field(default=None, validator=_TIME)
    buckets: int = field(default=100, validator=ge(1))


@public.get("/api/v1/protocol/density", caller=READERS, access="open", query=DensityQuery)
async def protocol_density(call: Call[None]) -> dict[str, Any]:
    """Count messages in equal parts of a time."""
    state: SwarmState = call.state
    query: DensityQuery = call.query
    end = query.end if query.end is not None else state.core.now() / SECOND_US
    start = query.start if query.start is not None else end - DEFAULT_SECONDS
    if end - start < 1e-3:
        raise BadInput("start comes before end", field="start", hint="both are Unix seconds")
    counts = await state.records.protocol.density(
        round(start * SECOND_US), round(end * SECOND_US), min(query.buckets, BUCKETS_MAX)
    )
    return {"density": counts, "start": start, "end": end}


@frozen
class AtQuery:
    """When; now by default."""

    at: float | None = field(default=None, validator=_TIME)


@public.get("/api/v1/protocol/snapshot", caller=READERS, access="open", query=AtQuery)
async def protocol_snapshot(call: Call[None]) -> dict[str, Any]:
    """Show how queue and drones were at a time, as far as figures are kept; to within 15 seconds."""
    state: SwarmState = call.state
    at = call.query.at if call.query.at is not None else state.core.now() / SECOND_US
    rows = await state.records.metrics.at(round(at * SECOND_US))
    drones = [row for row in rows if row["drone_id"]]
    shown: dict[str, Any] = {}
    for row in rows:
        if not row["drone_id"]:
            shown = {
                "timestamp": seconds(row["unix_us"]),
                "paused": row["status"] == "paused",
                "needed": row["needed"],
                "delegated": row["delegated"],
                "received": row["received"],
                "queue_received": row["received"],
                "blocked": row["blocked"],
                "queue_blocked": row["blocked"],
                "queue_depth": row["needed"] + row["delegated"],
                "nodes": len(drones),
                "nodes_online": sum(each["status"] == "online" for each in drones),
            }
    return {
        "timestamp": at,
        "status": shown,
        "nodes": [
            {
                "id": row["drone_id"],
                "name": row["drone"],
                "status": row["status"],
                "current_task": plain(row["current_task"]) or None,
                "cpu_percent": row["cpu_percent"],
                "ram_percent": row["ram_percent"],
                "load_1m": row["load_1m"],
            }
            for row in drones
        ],
    }


@frozen
class MetricsQuery:
    """Which figures: of the queue, or of one drone."""

    since: float | None = field(default=None, validator=_TIME)
    node: str = field(default="", validator=_WORD)
    """Id or name."""


@public.get("/api/v1/metrics", caller=READERS, access="open", query=MetricsQuery)
async def metrics(call: Call[None]) -> dict[str, Any]:
    """Show figures over time, of the last hour by default, at most 500 rows; and how things are now."""
    state: SwarmState = call.state
    query: MetricsQuery = call.query
    now = state.core.now()
    since = now - DEFAULT_SECONDS * SECOND_US if query.since is None else round(query.since * SECOND_US)
    drone_id = ""
    if query.node:
        known = state.swarm.find_drone(query.node)
        drone_id = known.drone_id if known is not None else query.node
    rows = await state.records.metrics.history(drone_id=drone_id, since_unix_us=since, limit=ROWS_MAX)
    figures = state.swarm.status()
    return {
        "timestamp": seconds(now),
        "history": [_row(each) for each in rows],
        "current_queue": {
            "needed": figures.needed,
            "delegated": figures.delegated,
            "received": figures.received,
            "blocked": figures.blocked,
            "failed": figures.failed,
        },
        "drones": {drone.name: _now(drone) for drone in state.swarm.drones()},
    }


@frozen
class SqlQuery:
    """A query."""

    q: str = field(default="", validator=max_len(65_536))


@public.get("/api/v1/sql/query", caller=KEYED, role=Role.OPERATOR, query=SqlQuery)
async def sql_query(call: Call[None]) -> dict[str, Any]:
    """Run one SELECT over the swarm's tables; at most 1000 rows."""
    state: SwarmState = call.state
    found = await trio.to_thread.run_sync(
        state.records.explorer.query, call.query.q, limiter=state.records.queries, abandon_on_cancel=True
    )
    columns = plain_values(found.columns)
    rows = [dict(zip(columns, plain_values(row), strict=True)) for row in found.rows]
    return {"columns": columns, "rows": rows, "count": len(rows), "truncated": found.is_cut}


@public.get("/api/v1/sql/tables", caller=KEYED, role=Role.OPERATOR)
async def sql_tables(call: Call[None]) -> dict[str, Any]:
    """List the tables that a query can read, with their rows."""
    state: SwarmState = call.state
    found = await trio.to_thread.run_sync(
        state.records.explorer.tables, limiter=state.records.queries, abandon_on_cancel=True
    )
    return {"tables": found}


@public.get("/api/v1/sql/schema", caller=KEYED, role=Role.OPERATOR)
async def sql_schema(call: Call[None]) -> dict[str, Any]:
    """List the tables that a query can read, with their columns."""
    state: SwarmState = call.state
    return {
        "schema": [
            {"name": name, "columns": columns, "sql": f"CREATE VIEW {name} ({', '.join(columns)})"}
            for name, columns in state.records.explorer.schema().items()
        ]
    }


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    shown = dict(row)
    shown["timestamp"] = seconds(shown.pop("unix_us"))
    for name in ("drone_id", "package", "session_id", "source_node"):
        shown[name] = shown[name] or None
    return plain_entry(shown)


def plain_entry(shown: dict[str, Any]) -> dict[str, Any]:
    """Return an entry in whose texts no tag begins: anybody's request is in it."""
    return {name: plain(value) if isinstance(value, str) else value for name, value in shown.items()}


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "timestamp": seconds(row["unix_us"]),
        "node_id": row["drone_id"] or None,
        "node": row["drone"] or None,
        "cpu_percent": _rounded(row["cpu_percent"]),
        "ram_percent": _rounded(row["ram_percent"]),
        "load_1m": _rounded(row["load_1m"]),
        "queue_needed": row["needed"],
        "queue_delegated": row["delegated"],
        "queue_received": row["received"],
        "queue_blocked": row["blocked"],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _now(drone: Drone) -> dict[str, Any]:
    return {
        "id": drone.drone_id,
        "status": drone.status,
        "cpu_percent": number_of(drone.metrics, "cpu_percent"),
        "ram_percent": number_of(drone.metrics, "ram_percent"),
        "load_1m": number_of(drone.metrics, "load_1m"),
        "current_task": plain(drone.current_task) or None,
    }
