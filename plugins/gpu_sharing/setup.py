"""Puts the parts of GPU sharing together."""

from collections.abc import Callable

import trio
from attrs import define

from appliance.plugin import Core, Parts, Service, SteadyClock

from . import own_routes, routes
from .book import Book
from .bookings import Bookings
from .dwelling import homes_beside
from .enforcement import Enforcement
from .intake import Intake
from .licensing import Licensing
from .linking import Linker
from .local import LocalHost
from .metering import Metering
from .mig import MigPlanner
from .models import Agent, Share, Worker
from .mps import Mps
from .overview import section
from .plans import Plan
from .pushing import AgentChanges
from .relaying import Relaying
from .releases import Releases
from .running import Running
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
    here, planner = _Here.of(core, settings, book), MigPlanner(core)
    state = SharingState(
        core=core,
        settings=settings,
        book=book,
        intake=Intake(core, book, linker.follow),
        licensing=licensing,
        releases=Releases(core.folder / "releases"),
        mig=planner,
        limits=Enforcement(here.running, planner.proof).limits,
        serve=here.serve,
        withdraw=here.withdraw,
        passed=here.relaying.passed,
        redeemed=here.relaying.redeemed,
        why_not_running=here.why_not_running,
    )
    services: list[Service] = [linker, licensing, Upkeep(core, book), *here.services]
    if settings.push_proxy:
        changes = AgentChanges(core, book)
        followers.append(changes.tell)
        services.append(_push_proxy(core, settings, changes))
    return Parts(
        surfaces=[routes.api.bind(state), own_routes.api.bind(state)],
        services=services,
        prometheus=[section(state, here.metering)],
        runs_as_us="a worker's command with unsafe_same_uid" if here.running.uses_own_uid else "",
    )


@define(eq=False)
class _Here:
    """What runs on this host."""

    relaying: Relaying
    running: Running
    metering: Metering
    services: list[Service]

    @classmethod
    def of(cls, core: Core, settings: SharingSettings, book: Book) -> "_Here":
        mps = Mps(core.folder / "mps", core.host_id)
        running = Running(settings, core.folder / "workers", homes_beside(core.folder.parents[1]), core.host_id, mps)
        relaying = Relaying(core, settings, book, running.target)
        bookings = Bookings(core, lambda worker: settings.command(worker.worker_id, worker.name) is not None)
        book.hold, book.let_go = bookings.hold, bookings.let_go
        metering = Metering(core, book, relaying.relay.reports)
        for share in book.shares():
            metering.note(share)
        local = LocalHost(core, book, bookings, relaying, running)
        relays = [relaying.relay, relaying.entrances]
        return cls(relaying, running, metering, [*relays, mps, running, bookings, local, metering])

    def serve(self, share: Share) -> int | None:
        self.metering.note(share)
        return self.relaying.serve(share)

    def withdraw(self, share_id: str) -> None:
        report = self.relaying.withdraw(share_id)
        if report is not None:
            self.metering.closing(report)

    def why_not_running(self, worker: Worker, agent: Agent) -> str:
        return self.running.state(worker.worker_id).why if agent.is_local else ""


def _push_proxy(core: Core, settings: SharingSettings, changes: AgentChanges) -> Service:
    # It takes a tenth of a second to load what makes certificates, which most never need.
    from .push_ca import PushCertificates
    from .push_proxy import PushProxy

    return PushProxy(
        changes=changes,
        authenticate=changes.authenticate,
        certificates=PushCertificates(core.folder / "push", now=core.now),
        listen=settings.push_proxy_listen,
        forward=settings.push_proxy_forward,
    )
