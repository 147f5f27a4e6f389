"""Puts the parts of GPU sharing together."""

from collections.abc import Callable

import trio

from appliance.plugin import Core, Parts, Service, SteadyClock

from . import own_routes, routes
from .book import Book
from .intake import Intake
from .licensing import Licensing
from .linking import Linker
from .metering import Metering
from .models import Agent
from .plans import Plan
from .push_ca import PushCertificates
from .push_proxy import PushProxy
from .pushing import AgentChanges
from .releases import Releases
from .settings import SharingSettings
from .state import SharingState
from .upkeep import Upkeep


def build(core: Core) -> Parts:
    """Make the parts on what core offers."""
    settings: SharingSettings = core.settings
    followers: list[Callable[[Agent], None]] = []

    def plan_of(person_id: str) -> Plan:
        person = core.people.get(person_id) if person_id else None
        return settings.plan("" if person is None else person.name)

    def changed(agent: Agent) -> None:
        for follow in followers:
            follow(agent)

    book = Book(core, SteadyClock(core.now, trio.current_time), plan_of, changed)
    linker, licensing = Linker(core, book), Licensing(core, book)
    state = SharingState(
        core=core,
        settings=settings,
        book=book,
        intake=Intake(core, book, linker.follow),
        licensing=licensing,
        releases=Releases(core.folder / "releases"),
    )
    services: list[Service] = [linker, licensing, Upkeep(core, book), Metering(core, book)]
    if settings.push_proxy:
        changes = AgentChanges(core, book)
        followers.append(changes.tell)
        services.append(_push_proxy(core, settings, changes))
    return Parts(surfaces=[routes.api.bind(state), own_routes.api.bind(state)], services=services)


def _push_proxy(core: Core, settings: SharingSettings, changes: AgentChanges) -> PushProxy:
    return PushProxy(
        changes=changes,
        authenticate=changes.authenticate,
        certificates=PushCertificates(core.folder / "push", now=core.now),
        listen=settings.push_proxy_listen,
        forward=settings.push_proxy_forward,
    )
