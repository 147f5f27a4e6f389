"""What the push proxy is told of agents: that they are there, and when their configuration changes."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

import trio
from attrs import define, field

from appliance.plugin import Core, Kind, NotFound

from .book import Book
from .models import Agent

CHECK_SECONDS: Final = 30.0
"""How often a silent stream asks whether its agent is still there."""


@define(eq=False)
class AgentChanges:
    """Told of every changed agent; see `push_stream.Changes`."""

    core: Core
    book: Book
    _news: dict[str, trio.Event] = field(factory=dict, init=False)
    _waiting: dict[str, list[str]] = field(factory=dict, init=False)
    _restarts: dict[str, trio.Event] = field(factory=dict, init=False)

    def tell(self, agent: Agent) -> None:
        """Note that an agent's configuration has changed, or that it is gone; quick."""
        for events in (self._news, self._restarts):
            event = events.pop(agent.agent_id, None)
            if event is not None:
                event.set()

    def restart(self, agent: Agent, worker_id: str) -> None:
        """Ask an agent to restart one of its workers, if it listens."""
        event = self._restarts.pop(agent.agent_id, None)
        if event is not None:
            self._waiting.setdefault(agent.agent_id, []).append(worker_id)
            event.set()

    def authenticate(self, secret: str) -> str | None:
        """Return the agent of a secret."""
        credential = self.core.credentials.find(secret, frozenset({Kind.AGENT}))
        return None if credential is None or not self.knows(credential.subject) else credential.subject

    def knows(self, agent_id: str) -> bool:
        """Whether there is such an agent."""
        return self._agent(agent_id) is not None

    def _agent(self, agent_id: str) -> Agent | None:
        try:
            return self.book.agent(agent_id)
        except NotFound:
            return None

    async def subscribe(self, agent_id: str) -> AsyncIterator[int]:
        """Yield an agent's versions, the present one first; end when it is gone."""
        told = -1
        while (agent := self._agent(agent_id)) is not None:
            if agent.config_version > told:
                told = agent.config_version
                yield told
                continue
            with trio.move_on_after(CHECK_SECONDS):
                await self._news.setdefault(agent_id, trio.Event()).wait()

    async def restarts(self, agent_id: str) -> AsyncIterator[Sequence[str]]:
        """Yield the workers that an agent is to restart; end when it is gone."""
        while self._agent(agent_id) is not None:
            workers = self._waiting.pop(agent_id, [])
            if workers:
                yield workers
                continue
            with trio.move_on_after(CHECK_SECONDS):
                await self._restarts.setdefault(agent_id, trio.Event()).wait()
