"""Takes agents' reports in: what is stored of them, what is only remembered, and what goes into the series."""

from collections.abc import Callable
from typing import Final

import structlog
from attrs import define, field

from appliance.plugin import ApplianceError, Core

from . import figures, life, lineprotocol
from .book import Book
from .models import Agent, Gpu, Worker
from .quickfigures import QuickFigures
from .repeats import Repeated, Repeats
from .samples import sample_of
from .wire.reports import SHUTDOWN, AgentStatusReportRequest, GpuStatus, WorkerStatusReport, connections_of

log = structlog.get_logger(__name__)

FUTURE_US: Final = 60_000_000
PATIENCE_SECONDS: Final = 0.1
"""How long an agent, which reports every 30 s, waits for others whose figures are stored with its own."""


@define(eq=False)
class Intake:
    """Everything that happens between a decoded report and its answer."""

    core: Core
    book: Book
    gpus_changed: Callable[[Agent], None]
    """Told of agents whose GPUs are others than before."""
    repeats: Repeats = field(factory=Repeats, init=False)
    _quick: QuickFigures = field(factory=QuickFigures, init=False)
    _unstored: dict[str, dict[str, Worker]] = field(factory=dict, init=False)
    """By agent, the workers whose reported state is in memory but could not be stored: the next report stores it."""

    async def take(
        self, agent: Agent, report: AgentStatusReportRequest | Repeated, *, raw: bytes = b"", reported_from: str
    ) -> None:
        """Take a status report. A state that has changed is durable before this returns; that it came is not.

        :param raw: the report as it was sent, by which the next one is known to repeat it.
        """
        self.book.heard(agent, reported_from=reported_from)
        if isinstance(report, Repeated):
            now = self.book.clock()
            for worker in report.workers:
                worker.listed_us = now
            changed, is_other = list[Worker](), False
        else:
            changed, is_other = self._take_over(agent, report)
            self.repeats.taken(agent, report, raw)
        left = self._unstored.pop(agent.agent_id, None)
        if changed or is_other or left is not None:
            await self._store(agent, (left or {}) | {worker.worker_id: worker for worker in changed})

    def _take_over(self, agent: Agent, report: AgentStatusReportRequest) -> tuple[list[Worker], bool]:
        """Take over what a report says; return the workers that have to be stored, and whether the agent has."""
        has_shut_down = report.event == SHUTDOWN
        changed = [
            worker
            for each in report.workers or ()
            if (worker := agent.workers.get(each.worker_id)) is not None and self._follow(worker, each)
        ]
        gpus = agent.gpus if has_shut_down else _gpus(agent, report.gpus or [])
        is_other = gpus is not agent.gpus or has_shut_down != agent.has_shut_down
        if gpus is not agent.gpus:
            agent.gpus = gpus
            self.gpus_changed(agent)
        agent.has_shut_down = has_shut_down
        return changed, is_other

    async def _store(self, agent: Agent, workers: dict[str, Worker]) -> None:
        try:
            await self.book.store_agent(agent, workers.values())
        except BaseException:
            if agent in self.book.agents():
                self._unstored[agent.agent_id] = self._unstored.get(agent.agent_id, {}) | workers
            raise

    def _follow(self, worker: Worker, report: WorkerStatusReport) -> bool:
        """Take over what a report says of a worker; return whether that has to be stored."""
        before = worker.status, worker.pid, worker.restarts, worker.connections
        worker.listed_us = self.book.clock()
        worker.status = life.reported(report.status, enabled=worker.enabled).value
        worker.restarts = report.restarts or 0
        if worker.status == life.WorkerStatus.RUNNING and (before[0] != worker.status or before[1] != report.pid):
            worker.started_unix_us = self.core.now()
        worker.pid = report.pid or None
        reported = connections_of(report)
        if reported is not None:
            worker.connections = life.first_seen(worker.connections, reported, now_unix_us=self.core.now())
        return before != (worker.status, worker.pid, worker.restarts, worker.connections)

    async def lines(self, agent: Agent, text: str, at_unix_us: int) -> None:
        """Keep the figures of line protocol; a line that cannot be read costs itself."""
        if agent.is_local:
            return
        found = self._quick.read(agent, text)
        if found is None:
            read = lineprotocol.read_lines(text, figures.KEPT)
            if read.refused:
                log.debug("agent.lines_not_read", agent=agent.agent_id, count=read.refused, faults=read.faults)
            found = figures.of_points(
                read.points,
                agent_id=agent.agent_id,
                gpu_ids=[gpu.gpu_id for gpu in agent.gpus],
                worker_ids=agent.workers,
            )
        await self.keep(agent, found, at_unix_us)

    async def keep(self, agent: Agent, found: figures.Figures, at_unix_us: int) -> None:
        """Keep an agent's figures in core's series; those of the host we run on come from its own drivers."""
        if agent.is_local or not (found.gpus or found.host):
            return
        now = self.core.now()
        told = at_unix_us if found.taken_at_unix_ms is None else found.taken_at_unix_ms * 1000
        sample = sample_of(agent, found, told if told <= now + FUTURE_US else now)
        try:
            await self.core.series.append(sample, patience_seconds=PATIENCE_SECONDS)
        except ApplianceError as error:  # older than what is kept, or the disk is full: the report itself counts
            log.warning("agent.figures_not_kept", agent=agent.agent_id, reason=error.message)


def _gpus(agent: Agent, reported: list[GpuStatus]) -> tuple[Gpu, ...]:
    """Return an agent's GPUs with what a report says anew of their drivers; none comes or goes by a report."""
    said = {each.gpu_id.lower(): each for each in reported}
    gpus = tuple(_merged(gpu, said.get(gpu.gpu_id.lower())) for gpu in agent.gpus)
    return agent.gpus if all(new is old for new, old in zip(gpus, agent.gpus, strict=True)) else gpus


def _merged(gpu: Gpu, said: GpuStatus | None) -> Gpu:
    if said is None:
        return gpu
    index = gpu.gpu_index if said.gpu_index is None else said.gpu_index
    model, vram_mb = said.model or gpu.model, said.vram_mb or gpu.vram_mb
    driver, cuda = said.driver_version or gpu.driver_version, said.cuda_version or gpu.cuda_version
    known = gpu.gpu_index, gpu.model, gpu.vram_mb, gpu.driver_version, gpu.cuda_version
    if known == (index, model, vram_mb, driver, cuda):  # as nearly always, and cheaper than a new one
        return gpu
    return Gpu(
        gpu_id=gpu.gpu_id,
        gpu_index=index,
        vendor=gpu.vendor,
        model=model,
        vram_mb=vram_mb,
        driver_version=driver,
        cuda_version=cuda,
    )
