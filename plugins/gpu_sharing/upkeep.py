"""What GPU sharing does besides answering: ends what is over, writes behind who lives, and tells of who does not."""

import sqlite3
from typing import Final

import structlog
import trio
from attrs import define, field

from appliance.plugin import ApplianceError, Core

from . import life, store
from .book import Book
from .models import SURFACE, Agent, Share, Worker

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 1.0
WRITE_SECONDS: Final = 5.0
PRUNE_SECONDS: Final = 3600.0
REDEEMED_US: Final = 24 * 3_600_000_000
INSTALLS_US: Final = 7 * 24 * 3_600_000_000
GRACE_SECONDS: Final = 2.0
ONE_BY_ONE: Final = 10
"""More than so many agents that go at once, or shares that end, are told of in one sentence."""


@define(eq=False)
class Upkeep:
    """Looks once a second."""

    core: Core
    book: Book
    name: str = "sharing-upkeep"
    _over: dict[str, int] | None = field(default=None, init=False)
    """Shares whose end was told of, each with its time, as they are stored; ``None`` before the first look."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look until cancelled; no agent is told a version before it is stored."""
        await self.book.store_versions()
        task_status.started()
        write_at = prune_at = trio.current_time()
        try:
            while True:
                try:
                    await self.look()
                    if trio.current_time() >= write_at:
                        write_at = trio.current_time() + WRITE_SECONDS
                        await self.book.write_behind()
                    if trio.current_time() >= prune_at:
                        prune_at = trio.current_time() + PRUNE_SECONDS
                        await self.prune()
                except ApplianceError as error:  # a full disk: done at the next look
                    log.warning("sharing_upkeep.not_stored", reason=error.message)
                await trio.sleep(LOOK_SECONDS)
        finally:
            with trio.move_on_after(GRACE_SECONDS, shield=True):
                await self.book.write_behind()

    async def look(self) -> None:
        """End what is over, and tell what has changed."""
        await self._end_workers()
        await self._end_shares()
        await self._tell()

    async def _end_workers(self) -> None:
        now = self.book.clock()
        for agent in self.book.agents():
            ended = [
                worker
                for worker in agent.workers.values()
                if worker.status == "stopping" and self._has_stopped(agent, worker, now)
            ]
            for worker in ended:
                worker.status, worker.pid, worker.connections = life.WorkerStatus.STOPPED.value, None, {}
            if ended:
                await self.book.store_agent(agent, ended)

    @staticmethod
    def _has_stopped(agent: Agent, worker: Worker, now: int) -> bool:
        if agent.is_local:  # our own runner tells what it does
            return False
        if worker.stopping_since_us is None:  # it was stopping when we started
            worker.stopping_since_us = now
        return life.has_stopped(
            stopping_since_us=worker.stopping_since_us,
            listed_us=worker.listed_us,
            fetched_us=agent.fetched_us,
            report_us=agent.heard_us,
            now_us=now,
        )

    async def _end_shares(self) -> None:
        """Let agents fetch their configuration without the codes that are over, and tell of each once.

        Also of what ended while we were down: what was told is stored, after it was.
        """
        if self._over is None:
            self._over = await self.core.database.read(store.over)
        now, told = self.core.now(), self._over
        over = [share for share in self.book.shares() if share.is_over(now)]
        fresh = {share.share_id: share for share in over if told.get(share.share_id) != share.expires_unix_us}
        if not fresh:
            return
        for agent_id in dict.fromkeys(share.agent_id for share in fresh.values()):
            await self.book.store_agent(self.book.agent(agent_id), bumped=True)
        ended = {share_id: share.expires_unix_us or 0 for share_id, share in fresh.items()}
        await self._tell_over(list(fresh.values()))
        await self.core.database.write(lambda connection: store.put_over(connection, ended))
        self._over = {share.share_id: told[share.share_id] for share in over if share.share_id in told} | ended

    async def _tell_over(self, shares: list[Share]) -> None:
        if len(shares) > ONE_BY_ONE:
            await self._publish("shares.expired", f"{len(shares)} shares have expired", "info", "")
            return
        for share, agent in [(share, self.book.agent(share.agent_id)) for share in shares]:
            words = f"the share {share.share_id} of agent {agent.hostname} has expired"
            await self._publish("share.expired", words, "info", agent.host_id, share_id=share.share_id)

    async def _tell(self) -> None:
        now, changed = self.core.now(), []
        for agent in self.book.agents():
            status = life.agent_status(
                agent.last_seen_unix_us, now_unix_us=now, has_shut_down=agent.has_shut_down, is_local=agent.is_local
            )
            if status != agent.told:
                before, agent.told = agent.told, status.value
                if before and status is not life.AgentStatus.PENDING:
                    changed.append(agent)
        if len(changed) > ONE_BY_ONE:
            count = sum(agent.told == life.AgentStatus.OFFLINE for agent in changed)
            words = f"{count} agents are offline, {len(changed) - count} are online again"
            await self._publish("agents.changed", words, "warning" if count else "info", "")
            return
        for agent in changed:
            is_off = agent.told == life.AgentStatus.OFFLINE
            why = "has shut down" if agent.has_shut_down else "has not reported for three minutes"
            words = f"agent {agent.hostname} {why if is_off else 'is online'}"
            level = "warning" if is_off and not agent.has_shut_down else "info"
            await self._publish(f"agent.{agent.told}", words, level, agent.host_id)

    async def _publish(self, kind: str, words: str, level: str, subject: str, **facts: str) -> None:
        await self.core.events.publish(
            f"sharing.{kind}", words, level=level, subject=subject, source=SURFACE, data=facts
        )

    async def prune(self) -> None:
        """Forget who followed links long ago, and install tokens that nobody asks about any more."""
        now = self.core.now()

        def write(connection: sqlite3.Connection) -> None:
            store.forget_redemptions(connection, now - REDEEMED_US)
            store.forget_installs(connection, now - INSTALLS_US)

        await self.core.database.write(write)
