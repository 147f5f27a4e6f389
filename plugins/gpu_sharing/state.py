"""What the handlers of GPU sharing share."""

from collections.abc import Callable

from attrs import define, field, frozen

from appliance.plugin import Core, Rate

from . import life
from .book import Book
from .codes import DeadCodes
from .intake import Intake
from .licensing import Licensing
from .linking import forget_host
from .mig import MigPlanner
from .models import Agent, Share, Worker
from .releases import Releases
from .settings import SharingSettings
from .wire.render import Limits, limits_of


@frozen(kw_only=True)
class Passed:
    """What has passed through the relay for a share."""

    connections_live: int = 0
    bytes_total: int = 0
    problem: str = ""


@define(eq=False, kw_only=True)
class SharingState:
    """One for each running appliance."""

    core: Core
    settings: SharingSettings
    book: Book
    intake: Intake
    licensing: Licensing
    releases: Releases
    mig: MigPlanner
    dead: DeadCodes = field(factory=DeadCodes)
    misses: Rate = field(factory=lambda: Rate(per_minute=30))
    """Of links that lead nowhere, by address: codes cannot be tried out."""
    limits: Callable[[Worker, Agent], Limits] = limits_of
    """Whether a worker's limits hold."""
    serve: Callable[[Share], int | None] = lambda share: None
    """Lets the relay of this host stand in front of a share; returns its port, ``None`` for shares of other hosts."""
    withdraw: Callable[[str], object] = lambda share_id: None
    """Takes a share, by id, from the relay."""
    passed: Callable[[Share], "Passed"] = lambda share: Passed()
    """Tells what has passed through the relay for a share."""
    why_not_running: Callable[[Worker, Agent], str] = lambda worker, agent: ""
    """Tells in words why a worker of this host does not run; empty for one that does, and for other hosts'."""
    redeemed: Callable[[Share, str], None] = lambda share, address: None
    """Tells the relay that an address has followed a share's link."""

    def __attrs_post_init__(self) -> None:
        # Not by those who delete: a share that is made while its worker waits to be deleted goes with it, too.
        self.book.dropped = self.withdraw

    def status(self, agent: Agent) -> life.AgentStatus:
        """Return what an agent is now."""
        return life.agent_status(
            agent.last_seen_unix_us,
            now_unix_us=self.core.now(),
            has_shut_down=agent.has_shut_down,
            is_local=agent.is_local,
        )

    def short_link_base(self) -> str:
        """Return what short links begin with."""
        return self.settings.short_link_base or self.core.public_url()

    def codes(self, worker: Worker) -> list[str]:
        """Return the codes to send for a worker: never none, see `codes.DeadCodes`."""
        return self.dead.listed(worker.worker_id, self.book.live_codes(worker.worker_id))

    async def forget(self, agent: Agent) -> None:
        """Delete an agent with all that hangs on it."""
        await self.book.delete_agent(agent)
        await self.core.series.forget(agent.host_id)
        await forget_host(self.core, self.book, agent)

    async def forget_worker(self, agent: Agent, worker: Worker) -> None:
        """Delete a worker with its shares."""
        await self.book.delete_worker(agent, worker)

    async def forget_share(self, share: Share) -> None:
        """Delete a share; whoever is connected through it is cut off."""
        await self.book.delete_share(share)
