"""Every agent, worker and share: all in memory, written through. Whatever is acknowledged is durable first.

Only that an agent was heard of is written behind, by `Upkeep`.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import trio
from attrs import define, evolve, field

from appliance.plugin import (
    ApplianceError,
    Conflict,
    Core,
    Gone,
    Kind,
    NotAuthenticated,
    NotFound,
    TooLarge,
    consume_credential,
    insert_credential,
    mint_credential,
    new_id,
    revoke_credentials_of,
)

from . import admission, codes, life, store
from .models import DEFAULT_PORT, DEFAULT_WORKER, SURFACE, Agent, Gpu, Share, Worker
from .plans import Limit, Plan, require_room

AGENTS_MAX: Final = 10_000
WORKERS_MAX: Final = 1000
"""Of one agent."""
SHARES_MAX: Final = 50_000
_SET: Final = ("name", "gpu_ids", "listen_port", "enabled", "vram_mb", "compute_percent", "isolation_mode")
"""What people set of a worker; the rest is reported."""

Owner = str | tuple[str, ...] | None
"""Whose things are meant: a person's id, several, or anybody's."""
Follow = Callable[[Agent], None]
"""Told of every agent whose configuration has changed, after the commit; must be quick."""


@define(eq=False)
class Book:
    """Agents by id, each with its workers; shares by id and by code."""

    core: Core
    clock: Callable[[], int]
    """Microseconds of a clock that never jumps (`SteadyClock`)."""
    plan_of: Callable[[str], Plan]
    """Returns the plan of a person by id."""
    changed: Follow = lambda agent: None
    hold: Callable[[Worker], Awaitable[None]] | None = None
    """Books what a worker of this host holds; raises `Conflict` where something else has it."""
    let_go: Callable[[str], Awaitable[None]] | None = None
    """Gives back what a worker of this host held."""
    dropped: Callable[[str], object] = lambda share_id: None
    """Told of every share that is deleted, with its worker or its agent too, as soon as it is; must be quick."""
    unwritten: set[str] = field(factory=set, init=False)
    """Ids of agents that were heard of since the last writing."""
    _agents: dict[str, Agent] = field(factory=dict, init=False)
    _workers: dict[str, Worker] = field(factory=dict, init=False)
    _shares: dict[str, Share] = field(factory=dict, init=False)
    _by_code: dict[str, Share] = field(factory=dict, init=False)
    _of_worker: dict[str, dict[str, Share]] = field(factory=dict, init=False)
    _locks: dict[str, trio.Lock] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        read = self.core.database.read_now
        now = self.core.now()
        for agent in read(store.agents):
            # A backup that was put back knows less than the agent: what it is told must be newer all the same.
            agent.config_version = life.version_after_start(agent.config_version, now_unix_us=now)
            self._keep(agent)
        for share in read(store.shares):
            self._keep_share(share)

    # ------------------------------------------------------------ reading

    def agents(self, owner: Owner = None) -> list[Agent]:
        """Return a person's agents, or all, oldest first."""
        return [agent for agent in self._agents.values() if _is_of(agent.owner, owner)]

    def find(self, agent_id: str) -> Agent | None:
        """Return an agent where there is one."""
        return self._agents.get(agent_id)

    def agent(self, agent_id: str, owner: Owner = None) -> Agent:
        """Return an agent; one that is somebody else's is not there. Raises `NotFound`."""
        agent = self._agents.get(agent_id)
        if agent is None or not _is_of(agent.owner, owner):
            raise NotFound("agent", agent_id[:64])
        return agent

    def workers(self, owner: Owner = None) -> list[Worker]:
        """Return the workers of a person's agents, or all."""
        return [worker for agent in self.agents(owner) for worker in agent.workers.values()]

    def worker(self, worker_id: str, owner: Owner = None) -> Worker:
        """Return a worker; one of somebody else's agent is not there. Raises `NotFound`."""
        worker = self._workers.get(worker_id)
        if worker is None or not _is_of(self._agents[worker.agent_id].owner, owner):
            raise NotFound("worker", worker_id[:64])
        return worker

    def shares(self, owner: Owner = None) -> list[Share]:
        """Return a person's shares, or all, oldest first."""
        return [share for share in self._shares.values() if _is_of(share.owner, owner)]

    def share(self, share_id: str, owner: Owner = None) -> Share:
        """Return a share; somebody else's is not there. Raises `NotFound`."""
        share = self._shares.get(share_id)
        if share is None or not _is_of(share.owner, owner):
            raise NotFound("share", share_id[:64])
        return share

    def shares_of(self, worker_id: str) -> Iterator[Share]:
        """Yield the shares of a worker."""
        return iter(list(self._of_worker.get(worker_id, {}).values()))

    def by_code(self, code: str) -> Share | None:
        """Return the share behind a short link."""
        return self._by_code.get(code)

    def live_codes(self, worker_id: str) -> list[str]:
        """Return the codes that open a worker now. One that is used up goes on for those who have followed it."""
        shares = self._of_worker.get(worker_id)
        if not shares:
            return []
        now = self.core.now()
        return [share.short_code for share in shares.values() if not share.is_over(now)]

    # ------------------------------------------------------------ agents

    def new_agent(
        self,
        secret: str,
        *,
        hostname: str,
        os: str,
        arch: str,
        gpus: tuple[Gpu, ...],
        network_ips: tuple[str, ...],
        reported_from: str,
    ) -> Agent:
        """Return the agent of an install token, with its default worker; nothing is stored before `join`.

        :raises NotAuthenticated: the token is unknown, expired or used.
        :raises Forbidden: the plan of the token's maker allows no such agent.
        """
        known = self.core.credentials.find(secret, frozenset({Kind.INSTALL}))
        if known is None:
            raise _used()
        self._require_room(known.subject, gpus)
        now = self.core.now()
        agent = Agent(
            agent_id=codes.new_agent_id(),
            owner=known.subject,
            hostname=hostname,
            os=os,
            arch=arch,
            network_ips=network_ips,
            gpus=gpus,
            host_id=new_id("shared"),
            config_version=life.next_version(0, now_unix_us=now),
            reported_from=reported_from,
            created_unix_us=now,
        )
        if gpus:
            worker = self._default_worker(agent, now)
            agent.workers[worker.worker_id] = worker
        return agent

    async def join(self, agent: Agent, secret: str) -> str:
        """Store the agent of an install token, which is used up by it; return the agent's secret.

        :raises NotAuthenticated: the token was used meanwhile; of any number at once exactly one gets through.
        :raises Forbidden: other agents of its owner have taken the last place of the plan meanwhile.
        """
        async with self._lock(agent.owner):
            self._require_room(agent.owner, agent.gpus)
            return await self._join(agent, secret)

    async def _join(self, agent: Agent, secret: str) -> str:
        now = self.core.now()
        minted = mint_credential(Kind.AGENT, now_unix_us=now, subject=agent.agent_id, label=agent.hostname)

        def write(connection: sqlite3.Connection) -> Any:
            used = consume_credential(connection, secret, (Kind.INSTALL,), now_unix_us=now)
            if used is None:
                raise _used()
            self._put_whole(connection, agent)
            insert_credential(connection, minted)
            store.installed(connection, token_id=used.credential_id, agent_id=agent.agent_id, now_unix_us=now)
            return used

        def follow(used: Any) -> None:
            self.core.credentials.consumed(used)
            self.core.credentials.remember(minted)
            self._keep(agent)

        await self.core.database.write(write, on_commit=follow)
        return minted.secret

    def _require_room(self, owner: str, gpus: tuple[Gpu, ...]) -> None:
        plan = self.plan_of(owner)
        require_room(plan, Limit.GPUS_PER_AGENT, used=0, wanted=len(gpus))
        require_room(plan, Limit.AGENTS, used=self._count(self.agents(owner)))
        if gpus:
            require_room(plan, Limit.WORKERS, used=len(self.workers(owner)))
        if len(self._agents) >= AGENTS_MAX:
            raise TooLarge(f"there are {AGENTS_MAX} agents already", hint="delete those that are gone")

    @staticmethod
    def _count(agents: Iterable[Agent]) -> int:
        return sum(not agent.is_local for agent in agents)

    def _default_worker(self, agent: Agent, now: int) -> Worker:
        return Worker(
            worker_id=codes.new_worker_id(),
            agent_id=agent.agent_id,
            name=DEFAULT_WORKER,
            gpu_ids=tuple(gpu.gpu_id for gpu in agent.gpus),
            listen_port=DEFAULT_PORT,
            is_default=True,
            created_unix_us=now,
        )

    async def put_local(self, agent: Agent) -> None:
        """Store the host we run on, as it is now."""

        def follow(_: None) -> None:
            self._keep(agent)
            self.changed(agent)

        is_new = agent.agent_id not in self._agents
        if is_new and agent.gpus and not agent.workers:
            worker = self._default_worker(agent, self.core.now())
            agent.workers[worker.worker_id] = worker

        def write(connection: sqlite3.Connection) -> None:
            if is_new:
                self._put_whole(connection, agent)
            else:
                store.update_agent(connection, agent)

        await self.core.database.write(write, on_commit=follow)

    def _put_whole(self, connection: sqlite3.Connection, agent: Agent) -> None:
        store.put_agent(connection, agent)
        for worker in agent.workers.values():
            store.put_worker(connection, worker)

    async def delete_agent(self, agent: Agent) -> None:
        """Delete an agent with its secret, its workers and their shares.

        :raises Conflict: it is the host we run on.
        """
        if agent.is_local:
            raise Conflict("this is the host that the appliance runs on", hint="disable its workers")

        def write(connection: sqlite3.Connection) -> list[str]:
            store.delete_agent(connection, agent.agent_id)
            return revoke_credentials_of(
                connection, now_unix_us=self.core.now(), subject=agent.agent_id, kind=Kind.AGENT, keep=None
            )

        def follow(ended: list[str]) -> None:
            self.core.credentials.forget(ended)
            self._agents.pop(agent.agent_id, None)
            self.unwritten.discard(agent.agent_id)
            for worker_id in list(agent.workers):
                self._drop_worker(agent, worker_id)
            self.changed(agent)

        async with self._lock(agent.owner):
            self._require_there(agent)
            await self.core.database.write(write, on_commit=follow)

    def heard(self, agent: Agent, *, reported_from: str) -> None:
        """Note that an agent was heard of; on disk within five seconds."""
        agent.heard_us, agent.last_seen_unix_us = self.clock(), self.core.now()
        agent.reported_from = reported_from or agent.reported_from
        self.unwritten.add(agent.agent_id)

    async def store_versions(self) -> None:
        """Store the versions that this start has raised: later ones are greater, even if the clock is set back."""
        versions = {agent.agent_id: agent.config_version for agent in self._agents.values()}
        await self.core.database.write(lambda connection: store.put_versions(connection, versions))

    async def write_behind(self) -> None:
        """Store when agents were heard of last."""
        batch, self.unwritten = self.unwritten, set()
        rows = [
            {"agent_id": agent.agent_id, "seen": agent.last_seen_unix_us, "from": agent.reported_from}
            for agent_id in batch
            if (agent := self._agents.get(agent_id)) is not None
        ]
        if not rows:
            return
        try:
            await self.core.database.write(lambda connection: store.seen(connection, rows))
        except BaseException:
            self.unwritten |= batch
            raise

    async def store_agent(self, agent: Agent, workers: Iterable[Worker] = (), *, bumped: bool = False) -> None:
        """Store an agent, and what was reported of those workers that have changed, as they are in memory."""
        if bumped:
            self._bump(agent)
        rows = list(workers)

        def write(connection: sqlite3.Connection) -> None:
            store.update_agent(connection, agent)
            for worker in rows:
                store.update_worker(connection, worker)

        await self.core.database.write(write)
        if bumped:
            self.changed(agent)

    def _bump(self, agent: Agent) -> None:
        agent.config_version = life.next_version(agent.config_version, now_unix_us=self.core.now())

    # ------------------------------------------------------------ workers

    async def create_worker(
        self,
        agent: Agent,
        *,
        name: str,
        gpu_ids: tuple[str, ...],
        listen_port: int,
        enabled: bool = True,
        vram_mb: int | None = None,
        compute_percent: int | None = None,
        isolation_mode: str | None = None,
    ) -> Worker:
        """Make a worker where it fits; see `admission.admit` for what is refused."""
        async with self._lock(agent.owner):
            self._require_there(agent)
            require_room(self.plan_of(agent.owner), Limit.WORKERS, used=len(self.workers(agent.owner)))
            if len(agent.workers) >= WORKERS_MAX:
                raise TooLarge(f"this agent has {WORKERS_MAX} workers already")
            worker = Worker(
                worker_id=codes.new_worker_id(),
                agent_id=agent.agent_id,
                name=name,
                gpu_ids=gpu_ids,
                listen_port=listen_port,
                enabled=enabled,
                status=life.new_worker_status(enabled=enabled),
                vram_mb=vram_mb,
                compute_percent=compute_percent,
                isolation_mode=isolation_mode,
                created_unix_us=self.core.now(),
            )
            self._admit(agent, worker)
            await self._put_worker(agent, worker)
            return worker

    async def update_worker(self, agent: Agent, worker: Worker, changes: Mapping[str, Any]) -> Worker:
        """Change what is given; one that is disabled while it runs is stopping until it has stopped."""
        async with self._lock(agent.owner):
            self._require_there(agent, worker)
            wanted = evolve(worker, **changes)
            wanted.status = life.switched(worker.status, was_enabled=worker.enabled, enabled=wanted.enabled)
            if worker.enabled and not wanted.enabled:
                wanted.stopping_since_us = self.clock()
            self._admit(agent, wanted)
            await self._put_worker(agent, wanted)
            return worker

    def _require_there(self, agent: Agent, worker: Worker | None = None) -> None:
        """Raise `NotFound` for what was deleted while this request waited for its turn."""
        if self._agents.get(agent.agent_id) is not agent:
            raise _gone("agent", agent.agent_id)
        if worker is not None and self._workers.get(worker.worker_id) is not worker:
            raise _gone("worker", worker.worker_id)

    def _admit(self, agent: Agent, worker: Worker) -> None:
        found = admission.admit(worker.claim, gpus=agent.admissible(self._unfit(agent)), others=agent.claims())
        worker.gpu_ids = found.gpu_ids

    def _unfit(self, agent: Agent) -> dict[str, str]:
        """Return why GPUs of an agent take no new work, by id in lower case; only the inventory's known ones."""
        reasons: dict[str, str] = {}
        host_id = self.core.inventory.host_of(SURFACE, agent.agent_id)
        for gpu in self.core.inventory.gpus(host_id) if host_id else ():
            why = self.core.inventory.why_no_new_work(gpu.gpu_id)
            if why is not None:
                reasons[gpu.gpu_id.lower()] = why
        return reasons

    async def _put_worker(self, agent: Agent, worker: Worker) -> None:
        if agent.is_local and self.hold is not None:
            await self.hold(worker)
        bumped = evolve(agent, workers=agent.workers)
        self._bump(bumped)

        def write(connection: sqlite3.Connection) -> None:
            store.update_agent(connection, bumped)
            store.put_worker(connection, worker)

        def follow(_: None) -> None:
            agent.config_version = max(agent.config_version, bumped.config_version)
            self._keep_worker(agent, worker)
            self.changed(agent)

        try:
            await self.core.database.write(write, on_commit=follow)
        except ApplianceError:
            if agent.is_local:
                await self._hold_as_before(worker.worker_id)
            raise

    async def _hold_as_before(self, worker_id: str) -> None:
        """Undo the booking of a change that could not be stored."""
        known = self._workers.get(worker_id)
        if known is not None and self.hold is not None:
            await self.hold(known)
        elif self.let_go is not None:
            await self.let_go(worker_id)

    def _keep_worker(self, agent: Agent, worker: Worker) -> None:
        """Take a worker over as it was stored; what was reported of it meanwhile stands."""
        known = agent.workers.get(worker.worker_id)
        if known is None:
            agent.workers[worker.worker_id] = self._workers[worker.worker_id] = worker
            return
        known.status = life.switched(known.status, was_enabled=known.enabled, enabled=worker.enabled)
        known.stopping_since_us = worker.stopping_since_us
        for name in _SET:
            setattr(known, name, getattr(worker, name))

    async def delete_worker(self, agent: Agent, worker: Worker) -> None:
        """Delete a worker with its shares."""
        async with self._lock(agent.owner):
            self._require_there(agent, worker)
            bumped = evolve(agent, workers=agent.workers)
            self._bump(bumped)

            def write(connection: sqlite3.Connection) -> None:
                store.update_agent(connection, bumped)
                store.delete_worker(connection, worker.worker_id)

            def follow(_: None) -> None:
                agent.config_version = max(agent.config_version, bumped.config_version)
                self._drop_worker(agent, worker.worker_id)
                self.changed(agent)

            await self.core.database.write(write, on_commit=follow)
            if agent.is_local and self.let_go is not None:
                await self.let_go(worker.worker_id)

    # ------------------------------------------------------------ shares

    async def create_share(self, share: Share) -> Share:
        """Store a share; its worker opens to its code from now on."""
        agent = self._agents[share.agent_id]
        async with self._lock(agent.owner):
            self._require_there(agent, self.worker(share.worker_id))
            require_room(self.plan_of(share.owner), Limit.SHARES, used=len(self.shares(share.owner)))
            if len(self._shares) >= SHARES_MAX:
                raise TooLarge(f"there are {SHARES_MAX} shares already", hint="delete those that are over")
            await self._write_share(agent, share, lambda connection: store.put_share(connection, share))
            return share

    async def store_share(self, share: Share) -> None:
        """Store what has changed of a share, without telling its agent; one that is deleted meanwhile stays so."""
        await self.core.database.write(lambda connection: store.update_share(connection, share))

    async def delete_share(self, share: Share) -> None:
        """Delete a share; its code opens nothing any more."""
        agent = self._agents[share.agent_id]
        async with self._lock(agent.owner):
            self.share(share.share_id)
            await self._write_share(
                agent, share, lambda connection: store.delete_share(connection, share.share_id), gone=True
            )

    async def _write_share(
        self, agent: Agent, share: Share, change: Callable[[sqlite3.Connection], object], *, gone: bool = False
    ) -> None:
        bumped = evolve(agent, workers=agent.workers)
        self._bump(bumped)

        def write(connection: sqlite3.Connection) -> None:
            store.update_agent(connection, bumped)
            change(connection)

        def follow(_: None) -> None:
            agent.config_version = max(agent.config_version, bumped.config_version)
            if gone:
                self._drop_share(share)
            else:
                self._keep_share(share)
            self.changed(agent)

        await self.core.database.write(write, on_commit=follow)

    async def use(self, code: str, address: str) -> Share:
        """Follow a short link: count it, exactly; return its share.

        :raises NotFound: there is no such link.
        :raises Gone: it is over, or was followed as often as it may be.
        """
        share = self._by_code.get(code)
        if share is None:
            raise NotFound("share", code, hint="the link was deleted")
        now = self.core.now()
        if share.is_over(now) or share.is_used_up():
            raise Gone("this share has expired" if share.is_over(now) else "this share has been used up")

        def write(connection: sqlite3.Connection) -> int | None:
            count = store.use(connection, code, now_unix_us=now)
            if count is not None and address:
                store.redeemed(connection, share.share_id, address, now_unix_us=now)
            return count

        def follow(count: int | None) -> None:
            if count is not None:
                share.used_count = max(share.used_count, count)

        if await self.core.database.write(write, on_commit=follow) is None:
            raise Gone("this share has been used up")
        return share

    # ------------------------------------------------------------ memory

    def _lock(self, owner: str) -> trio.Lock:
        """What is asked and what is then stored must not be changed by another request in between.

        One for each person, whose plan counts over all agents.
        """
        return self._locks.setdefault(owner, trio.Lock())

    def _keep(self, agent: Agent) -> None:
        self._agents[agent.agent_id] = agent
        self._workers.update(agent.workers)

    def _keep_share(self, share: Share) -> None:
        self._shares[share.share_id] = self._by_code[share.short_code] = share
        self._of_worker.setdefault(share.worker_id, {})[share.share_id] = share

    def _drop_worker(self, agent: Agent, worker_id: str) -> None:
        agent.workers.pop(worker_id, None)
        self._workers.pop(worker_id, None)
        for share in self.shares_of(worker_id):
            self._drop_share(share)

    def _drop_share(self, share: Share) -> None:
        self._shares.pop(share.share_id, None)
        self._by_code.pop(share.short_code, None)
        self._of_worker.get(share.worker_id, {}).pop(share.share_id, None)
        self.dropped(share.share_id)


def _is_of(owner: str, wanted: Owner) -> bool:
    return wanted is None or owner == wanted or (isinstance(wanted, tuple) and owner in wanted)


def _used() -> NotAuthenticated:
    return NotAuthenticated("this install token is unknown, expired or used", hint="generate a fresh one")


def _gone(kind: str, name: str) -> NotFound:
    return NotFound(kind, name[:64], hint="it was deleted just now")
