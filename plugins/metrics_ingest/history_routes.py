"""The history endpoint of the metrics API."""

from typing import Any, Final

import msgspec
import trio

from appliance.plugin import PERSON, Answer, Call, Surface, Window

from . import wire
from .bottleneck import LABELS
from .history import METRICS, points_json
from .intake import FUTURE_US
from .state import State

DEFAULT_MINUTES: Final = 60
MAX_POINTS: Final = 1500
MINUTE_US: Final = 60_000_000


def minutes_of(text: str | None, most: int) -> int:
    """Return the length of a history: 1 to ``most`` minutes, 60 for what is no integer."""
    try:
        # As the documented server does: blanks and a sign are welcome, beyond 4,300 digits it is no integer.
        asked = int(text or "")
    except ValueError:
        asked = DEFAULT_MINUTES
    return max(1, min(most, asked))


def stride_of(window: Window) -> int:
    """Return how many samples a point stands for, rounded."""
    return max(1, round(window.sample_count / max(1, len(window.times_unix_us))))


def declare(api: Surface) -> None:
    """Declare the endpoint on the document's surface."""
    api.get("/api/metrics/history", caller=PERSON)(history)


async def history(call: Call[None]) -> Answer:
    """Show how a server went, as points for charts.

    ``server`` is a slug or a number (as for ``latest``), ``minutes`` the length of the history up to now: 1 to
    ``history_max_minutes``, 60 where it is absent or no integer. Up to 1,500 samples are the points, and ``stride`` is
    1. Beyond that a point is a bucket of 10 s, 1 min, 10 min or 1 h, the finest that gives at most 1,500 points;
    ``stride`` is the number of samples behind a point, rounded, and ``collected_at`` where its bucket begins. No peak
    is lost: utilisation, temperature, memory and fan speeds are the stride's maximum, rates (``*_bps``) and averages
    over devices (``*_avg_*``) its mean, and ``bottleneck`` is the verdict of its newest sample.
    """
    state: State = call.state
    asked = wire.query(call.head)
    server = state.servers.select(asked.get("server"))
    if server is None:
        return Answer(
            model={
                "ok": True,
                "minutes": 0,
                "point_count": 0,
                "stride": 1,
                "servers": [],
                "selected_server": None,
                "points": [],
            }
        )
    minutes = minutes_of(asked.get("minutes"), state.settings.history_max_minutes)
    now = state.core.now()
    begin, end = max(0, now - minutes * MINUTE_US), now + FUTURE_US
    window = await state.core.series.window(
        server.series_id, metrics=METRICS, from_unix_us=begin, to_unix_us=end, max_points=MAX_POINTS
    )
    verdicts = await state.verdicts(server, begin, end)
    points = await trio.to_thread.run_sync(points_json, window, verdicts, LABELS)
    said: dict[str, Any] = {
        "ok": True,
        "minutes": minutes,
        "point_count": len(window.times_unix_us),
        "stride": stride_of(window),
        "servers": state.server_rows(),
        "selected_server": state.server_row(server),
        "backend_version": wire.BACKEND_VERSION,
        "min_agent_version": wire.MIN_AGENT_VERSION,
        "points": msgspec.Raw(points),
    }
    return Answer(model=said)
