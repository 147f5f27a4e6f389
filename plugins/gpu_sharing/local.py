"""The host we run on as an agent: no token, no reports; its workers run here, behind the relay."""

import platform
import socket
from typing import Final

import structlog
import trio
from attrs import define, field

from appliance.plugin import ApplianceError, Conflict, Core

from . import codes, life
from .addresses import own_addresses
from .book import Book
from .bookings import Bookings
from .models import Agent, Gpu, Peer, Worker
from .relaying import Relaying
from .running import Running

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 0.5
GPUS_SECONDS: Final = 5.0
MIB: Final = 2**20
MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
"""What clients call a processor, by the kernel's name for it."""


@define(eq=False)
class LocalHost:
    """Keeps the local agent as this host is, and its workers running as they are wanted."""

    core: Core
    book: Book
    bookings: Bookings
    relaying: Relaying
    running: Running
    name: str = "local-host"
    _held: set[str] = field(factory=set, init=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look until cancelled."""
        agent = await self.ensure()
        await self.bookings.let_go_all_but(agent.workers)
        task_status.started()
        gpus_at = trio.current_time() + GPUS_SECONDS
        while True:
            try:
                if trio.current_time() >= gpus_at:
                    gpus_at = trio.current_time() + GPUS_SECONDS
                    await self.see(agent)
                await self.look(agent)
            except ApplianceError as error:  # a full disk: at the next look
                log.warning("local_host.not_stored", reason=error.message)
            await trio.sleep(LOOK_SECONDS)

    async def ensure(self) -> Agent:
        """Return the local agent, made at the first start; what it shares is served from now on."""
        agent = next((each for each in self.book.agents() if each.is_local), None)
        if agent is None:
            agent = Agent(
                agent_id=codes.new_agent_id(),
                owner="",
                hostname=socket.gethostname(),
                os="linux",
                arch=MACHINES.get(platform.machine(), platform.machine()),
                host_id=self.core.host_id,
                config_version=life.next_version(0, now_unix_us=self.core.now()),
                is_local=True,
                created_unix_us=self.core.now(),
            )
            agent.network_ips, agent.gpus = own_addresses(), self._gpus()
            await self.book.put_local(agent)
        else:
            await self.see(agent)
        return agent

    async def see(self, agent: Agent) -> None:
        """Take over what this host has now."""
        gpus, addresses = self._gpus(), own_addresses()
        if gpus != agent.gpus or addresses != agent.network_ips:
            agent.gpus, agent.network_ips = gpus, addresses
            await self.book.put_local(agent)

    def _gpus(self) -> tuple[Gpu, ...]:
        here = [each for each in self.core.inventory.gpus(self.core.host_id) if each.present]
        # What has instances runs nothing itself.
        divided = {each.gpu.parent_gpu_id for each in here}
        known = [each for each in here if each.gpu_id not in divided]
        return tuple(
            Gpu(
                gpu_id=each.gpu_id,
                gpu_index=place,
                vendor=each.gpu.vendor,
                model=each.gpu.model,
                vram_mb=max(1, (each.gpu.vram_total_bytes or 0) // MIB),
                driver_version=each.gpu.driver_version,
            )
            for place, each in enumerate(known)
        )

    async def look(self, agent: Agent) -> None:
        """Let workers run as they are wanted, and take over how they are."""
        agent.heard_us, agent.last_seen_unix_us = self.book.clock(), self.core.now()
        present = {gpu.gpu_id for gpu in agent.gpus}
        for worker in list(agent.workers.values()):
            await self._hold(worker, present)
            self.running.want(worker, agent, is_there=present.issuperset(worker.gpu_ids))
        self.running.forget_all_but(agent.workers)
        await self.relaying.follow(agent)  # before anybody is told that it runs: then guests get in
        changed = [worker for worker in agent.workers.values() if self._follow(worker)]
        if changed:
            await self.book.store_agent(agent, changed)
        for worker in agent.workers.values():
            worker.connections = self._connections(worker)

    async def _hold(self, worker: Worker, present: set[str]) -> None:
        """Book what a worker of before this start holds; later ones are booked as they are made."""
        if worker.worker_id in self._held or not present.issuperset(worker.gpu_ids):
            return
        self._held.add(worker.worker_id)
        try:
            await self.bookings.hold(worker)
        except Conflict as error:
            log.warning("worker.gpu_is_in_use", worker=worker.worker_id, reason=error.message)

    def _follow(self, worker: Worker) -> bool:
        """Take over how a worker is; return whether that has to be stored."""
        before = worker.status, worker.pid, worker.restarts
        found = self.running.state(worker.worker_id)
        if found.status == life.WorkerStatus.RUNNING and worker.status != found.status:
            worker.started_unix_us = self.core.now()
        worker.status, worker.pid, worker.restarts = str(found.status), found.pid, found.restarts
        return before != (worker.status, worker.pid, worker.restarts)

    def _connections(self, worker: Worker) -> dict[Peer, int]:
        return {
            Peer(client_ip=session.address, client_port=session.port): session.opened_at_unix_us
            for share in self.book.shares_of(worker.worker_id)
            for session in self.relaying.relay.sessions(share.share_id)
        }
