"""The card on the overview: what is built, what is blocked, and who builds."""

from collections.abc import Iterator
from typing import Final, Protocol

from appliance.plugin import Panel, PanelContent, PanelRow

from .states import Figures

HOUR_S: Final = 3600
MINUTE_S: Final = 60
REFRESH_SECONDS: Final = 1.0
"""Its figures are in memory: reading them costs nothing."""


class Counting(Protocol):
    """The swarm, of which only the figures are needed."""

    def status(self) -> Figures:
        """Return them."""
        ...


def panel(swarm: Counting) -> Panel:
    """Return the card."""

    def read() -> PanelContent:
        found = swarm.status()
        return PanelContent(rows=list(_rows(found)), note="Paused: nothing is given out." if found.paused else "")

    return Panel(name="swarm", title="Build swarm", read=read, refresh_seconds=REFRESH_SECONDS)


def _rows(found: Figures) -> Iterator[PanelRow]:
    drones = f"{found.drones_online} of {found.drones}"
    yield PanelRow(label="Drones online", value=drones, level="info" if found.drones_online else _lack(found))
    yield PanelRow(label="Given out", value=str(found.delegated))
    yield PanelRow(label="Needed", value=str(found.needed))
    if found.blocked:
        yield PanelRow(label="Blocked", value=str(found.blocked), level="warning")
    if (session := found.session) is not None:
        ended = session.completed + session.failed
        percent = 100 * ended / session.total if session.total else None
        yield PanelRow(label="Session", value=_left(session.completed, session.total, found.eta_s), percent=percent)


def _lack(found: Figures) -> str:
    # Nobody misses drones that were never there, or while nothing is to be built.
    return "critical" if found.drones and found.queue_depth else "info"


def _left(completed: int, total: int, eta_s: float | None) -> str:
    built = f"{completed} of {total} built"
    if eta_s is None:
        return built
    if eta_s >= HOUR_S:
        return f"{built}, {eta_s / HOUR_S:.1f} h left"
    return f"{built}, {max(1, round(eta_s / MINUTE_S))} min left"
