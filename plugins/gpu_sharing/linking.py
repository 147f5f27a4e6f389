"""Tells the inventory which host an agent is on: the one that has its GPUs, else one of its own."""

from contextlib import suppress

import structlog
import trio
from attrs import define, field

from appliance.plugin import ApplianceError, Core, NotFound

from .book import Book
from .identities import known_gpus
from .models import SURFACE, Agent

log = structlog.get_logger(__name__)


@define(eq=False)
class Linker:
    """Told of agents without waiting, and writes what is new from a service of its own."""

    core: Core
    book: Book
    name: str = "sharing-links"
    _pending: dict[str, None] = field(factory=dict, init=False)
    _news: trio.Event = field(factory=trio.Event, init=False)

    def follow(self, agent: Agent) -> None:
        """Note that an agent is new, or has other GPUs."""
        self._pending[agent.agent_id] = None
        self._news.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled; all agents at the start."""
        for agent in self.book.agents():
            self.follow(agent)
        task_status.started()
        while True:
            await self._news.wait()
            self._news = trio.Event()
            pending, self._pending = list(self._pending), {}
            for agent_id in pending:
                with suppress(NotFound):  # it was deleted meanwhile
                    agent = self.book.agent(agent_id)
                    await self.link(agent)
                    if agent not in self.book.agents():
                        await forget_host(self.core, self.book, agent)

    async def link(self, agent: Agent) -> None:
        """Link an agent to its host."""
        inventory, now, gpus = self.core.inventory, self.core.now(), known_gpus(agent)
        host_id = agent.host_id if agent.is_local else inventory.host_with_gpus([gpu.gpu_id for gpu in gpus])
        host_id = host_id or agent.host_id
        try:
            if host_id != self.core.host_id:  # of this host its own drivers say what it has
                await inventory.saw_host(host_id, hostname=agent.hostname, at_unix_us=now)
                refused = await inventory.saw_gpus(host_id, gpus, at_unix_us=now)
                if refused:
                    log.warning("agent.gpus_are_another_hosts", agent=agent.agent_id, gpus=sorted(refused))
            await inventory.link(SURFACE, agent.agent_id, host_id)
        except ApplianceError as error:  # tried again when its GPUs change, or at the next start
            log.warning("agent.not_linked", agent=agent.agent_id, reason=error.message)


async def forget_host(core: Core, book: Book, agent: Agent) -> None:
    """Let the inventory forget the host of an agent that was deleted, unless somebody else knows that host too."""
    host_id = core.inventory.host_of(SURFACE, agent.agent_id)
    if host_id is None or host_id == core.host_id:
        return
    known = {(SURFACE, each.agent_id) for each in book.agents()}
    others = [alias for alias in core.inventory.host(host_id).aliases if alias[0] != SURFACE or alias in known]
    if not others:
        with suppress(NotFound):
            await core.inventory.forget(host_id)
