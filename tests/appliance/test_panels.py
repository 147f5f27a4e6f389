"""Panels of plugins: how often they are read, and what a bad one costs."""

import sys

import trio
from trio.testing import MockClock

from appliance.contract import Panel, PanelContent, PanelRow
from appliance.panels import Panels


async def test_a_panel_is_read_at_most_as_often_as_it_asks_for(autojump_clock: MockClock) -> None:
    reads: list[float] = []

    def read() -> PanelContent:
        reads.append(trio.current_time())
        return PanelContent(rows=[PanelRow(label="a", value=str(len(reads)))])

    panels = Panels()
    panels.add("acme", [Panel(name="card", title="Acme", read=read, refresh_seconds=5)])
    assert (await panels.items())[0]["rows"][0]["value"] == "1"
    await trio.sleep(4)
    assert (await panels.items())[0]["rows"][0]["value"] == "1"
    await trio.sleep(2)
    assert (await panels.items())[0]["rows"][0]["value"] == "2"


async def test_a_panel_that_fails_or_hangs_shows_it_in_its_own_card(autojump_clock: MockClock) -> None:
    async def good() -> PanelContent:
        return PanelContent(note="fine")

    async def hung() -> PanelContent:
        await trio.sleep_forever()
        return PanelContent()

    panels = Panels()
    panels.add(
        "acme",
        [
            Panel(name="raises", title="R", read=lambda: 1 / 0),  # type: ignore[arg-type, return-value]
            Panel(name="exits", title="E", read=lambda: sys.exit(1)),
            Panel(name="hangs", title="H", read=hung),
            Panel(name="lies", title="L", read=lambda: "text"),  # type: ignore[arg-type, return-value]
            Panel(name="works", title="W", read=good),
        ],
    )
    items = {item["name"]: item for item in await panels.items()}
    assert "ZeroDivisionError" in items["raises"]["error"]
    assert "SystemExit" in items["exits"]["error"]
    assert items["hangs"]["error"] == "it takes too long to read"
    assert "PanelContent, not str" in items["lies"]["error"]
    assert (items["works"]["error"], items["works"]["note"]) == ("", "fine")
