"""The dashboard's panels that plugins contribute, read at most as often as each asks for."""

import inspect
from collections.abc import Sequence
from typing import Any

import structlog
import trio
from attrs import asdict, define, field

from appliance.contract import Panel, PanelContent

log = structlog.get_logger(__name__)

READ_SECONDS = 2.0
"""How long one panel may take; the others do not wait longer for it."""


@define(eq=False)
class _Shown:
    plugin: str
    panel: Panel
    read_at: float = float("-inf")
    item: dict[str, Any] = field(factory=dict)


class Panels:
    """Every panel; one that fails shows its error in its own card."""

    def __init__(self) -> None:
        self._shown: list[_Shown] = []

    def add(self, plugin: str, panels: Sequence[Panel]) -> None:
        """Show panels of a plugin, after those that are there."""
        self._shown += [_Shown(plugin, panel) for panel in panels]

    async def items(self) -> list[dict[str, Any]]:
        """Return all panels as JSON items: plugin, name, title, rows, note, error."""
        async with trio.open_nursery() as nursery:
            for one in self._shown:
                if trio.current_time() - one.read_at >= one.panel.refresh_seconds:
                    nursery.start_soon(self._read, one)
        return [one.item for one in self._shown]

    async def _read(self, one: _Shown) -> None:
        one.read_at = trio.current_time()
        content, error = PanelContent(), "it takes too long to read"
        with trio.move_on_after(READ_SECONDS):
            try:
                answer = one.panel.read()
                content = await answer if inspect.isawaitable(answer) else answer
                if not isinstance(content, PanelContent):
                    raise TypeError(f"a panel answers PanelContent, not {type(content).__name__}")  # noqa: TRY301
                error = ""
            except (Exception, SystemExit) as failure:
                content, error = PanelContent(), f"{type(failure).__name__}: {failure}"[:300]
                log.warning("panel.failed", plugin=one.plugin, panel=one.panel.name, exc_info=failure)
        one.item = {
            "plugin": one.plugin,
            "name": one.panel.name,
            "title": one.panel.title,
            "rows": [asdict(row) for row in content.rows],
            "note": content.note,
            "error": error,
        }
