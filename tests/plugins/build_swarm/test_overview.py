"""The card on the overview tells what is built and what is wrong, and nothing that is not."""

from typing import Any

import pytest
from attrs import frozen

from appliance.plugin import PanelContent
from plugins.build_swarm.overview import panel
from plugins.build_swarm.states import Figures, Session, Timing

NOTHING: dict[str, Any] = {
    "drones": 0,
    "drones_online": 0,
    "total_cores": 0,
    "needed": 0,
    "delegated": 0,
    "received": 0,
    "blocked": 0,
    "failed": 0,
    "paused": False,
    "session": None,
    "timing": Timing(),
    "eta_s": None,
}


@frozen
class Counted:
    figures: Figures

    def status(self) -> Figures:
        return self.figures


def shown(**figures: Any) -> PanelContent:
    content = panel(Counted(Figures(**NOTHING | figures))).read()
    assert isinstance(content, PanelContent)
    return content


def session(**counts: Any) -> Session:
    return Session(session_id="session-1", name="World", **counts)


def test_card_of_a_swarm_without_drones_warns_of_nothing() -> None:
    content = shown()
    assert [(row.label, row.value, row.level) for row in content.rows] == [
        ("Drones online", "0 of 0", "info"),
        ("Given out", "0", "info"),
        ("Needed", "0", "info"),
    ]
    assert content.note == ""


def test_card_tells_of_the_session_of_blocked_packages_and_of_a_pause() -> None:
    content = shown(
        drones=3,
        drones_online=2,
        needed=5,
        delegated=2,
        blocked=1,
        paused=True,
        session=session(total=10, completed=2, blocked=1),
        eta_s=600.0,
    )
    rows = {row.label: row for row in content.rows}
    assert rows["Drones online"].value == "2 of 3"
    assert (rows["Blocked"].value, rows["Blocked"].level) == ("1", "warning")
    assert (rows["Session"].value, rows["Session"].percent) == ("2 of 10 built, 10 min left", 30)
    assert content.note.startswith("Paused")


@pytest.mark.parametrize(
    ("figures", "level"),
    [
        ({"drones": 2, "needed": 1}, "critical"),
        ({"drones": 2}, "info"),
        ({"needed": 1}, "info"),
        ({"drones": 2, "drones_online": 1, "needed": 1}, "info"),
    ],
)
def test_card_warns_when_packages_wait_and_every_drone_is_away(figures: dict[str, int], level: str) -> None:
    assert shown(**figures).rows[0].level == level


@pytest.mark.parametrize(
    ("eta_s", "words"),
    [
        (None, "0 of 4 built"),
        (0.0, "0 of 4 built, 1 min left"),
        (90.0, "0 of 4 built, 2 min left"),
        (9000.0, "0 of 4 built, 2.5 h left"),
    ],
)
def test_card_tells_how_long_it_takes_as_far_as_is_known(eta_s: float | None, words: str) -> None:
    assert shown(session=session(total=4), eta_s=eta_s).rows[-1].value == words


def test_card_of_an_empty_session_has_no_bar() -> None:
    assert shown(session=session()).rows[-1].percent is None
