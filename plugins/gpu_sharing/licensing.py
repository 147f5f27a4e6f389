"""Licences for agents: issued by core, bounded by the owner's plan, and handed to the worker through its agent."""

from contextlib import suppress

import structlog
import trio
from attrs import define

from appliance.plugin import ApplianceError, Core, Lagged

from . import life
from .book import Book
from .models import Agent

log = structlog.get_logger(__name__)

UNLIMITED = 1_000_000
"""What a licence says where the plan has no limit."""


@define(eq=False)
class Licensing:
    """Gives agents their licences; a service that lets all agents fetch new ones when a key is revoked."""

    core: Core
    book: Book
    name: str = "license-renewal"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow revocations until cancelled. One that this run has missed needs nothing: at a start all fetch anew."""
        while True:
            with self.core.events.subscribe("license.key_revoked") as subscription:
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                with suppress(Lagged):
                    async for _ in subscription:
                        await self.renew_all()

    async def renew_all(self) -> None:
        """Raise the configuration version of every agent: what it has been given counts no longer."""
        for agent in self.book.agents():
            await self.book.store_agent(agent, bumped=True)

    async def issue(self, agent: Agent) -> dict[str, str]:
        """Return a fresh licence for an agent, as the wire has it: the vendor's, where one is configured."""
        plan = self.book.plan_of(agent.owner)
        made = self.core.licenses.vendor or await self.core.licenses.issue(
            agent_id=agent.agent_id,
            plan=plan.name,
            max_gpus=UNLIMITED if plan.gpus_per_agent is None else plan.gpus_per_agent,
            max_workers=UNLIMITED if plan.workers is None else plan.workers,
        )
        # A vendor's licence that does not say when it ends is as good as one that was issued now.
        agent.license_expires_unix_us = made.expires_unix_us or self.core.now() + life.LICENSE_SECONDS * life.US
        agent.license_given = made.plain
        return {"plain": made.plain, "encrypted": made.encrypted}

    def _is_due(self, agent: Agent, reported_unix_ms: int | None) -> bool:
        vendor = self.core.licenses.vendor
        if vendor is not None:  # it ends when it ends: only another one is news
            return agent.license_given != vendor.plain
        return life.is_renewal_due(
            reported_unix_ms=reported_unix_ms,
            issued_until_unix_us=agent.license_expires_unix_us or None,
            now_unix_us=self.core.now(),
        )

    async def renewed(self, agent: Agent, reported_unix_ms: int | None) -> dict[str, str] | None:
        """Return a fresh licence when an agent needs one, with a new configuration version: its workers get it so.

        ``None`` lets the agent keep what it has, also while none can be issued: reports must go on.
        """
        if not self._is_due(agent, reported_unix_ms):
            return None
        try:
            made = await self.issue(agent)
        except ApplianceError as error:
            log.warning("license.not_issued", agent=agent.agent_id, reason=error.message)
            return None
        await self.book.store_agent(agent, bumped=True)
        return made
