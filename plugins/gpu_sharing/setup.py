"""Puts the parts of GPU sharing together."""

import trio

from appliance.plugin import Core, Parts, SteadyClock

from . import own_routes, routes
from .book import Book
from .intake import Intake
from .licensing import Licensing
from .linking import Linker
from .plans import Plan
from .releases import Releases
from .settings import SharingSettings
from .state import SharingState
from .upkeep import Upkeep


def build(core: Core) -> Parts:
    """Make the parts on what core offers."""
    settings: SharingSettings = core.settings

    def plan_of(person_id: str) -> Plan:
        person = core.people.get(person_id) if person_id else None
        return settings.plan("" if person is None else person.name)

    book = Book(core, SteadyClock(core.now, trio.current_time), plan_of)
    linker = Linker(core, book)
    state = SharingState(
        core=core,
        settings=settings,
        book=book,
        intake=Intake(core, book, linker.follow),
        licensing=Licensing(core, book),
        releases=Releases(core.folder / "releases"),
    )
    return Parts(
        surfaces=[routes.api.bind(state), own_routes.api.bind(state)],
        services=[linker, Upkeep(core, book)],
    )
