"""Counts what workers use while they run: their GPUs' time and memory, energy, and the bytes of their guests."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import structlog
import trio
from attrs import define, field

from appliance.plugin import ApplianceError, Core

from . import life, usage, usage_store
from .book import Book
from .identities import series_id
from .models import Agent, Share, Worker
from .relay import ShareReport

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 10.0
WRITE_SECONDS: Final = 60.0
GRACE_SECONDS: Final = 2.0
AGENTS: Final = 20
"""So many are looked at without a pause."""
PROMPT_ROWS: Final = 1_000
"""So many sums or fewer are written after each look: a host that loses power loses ten seconds of them."""
ROWS: Final = 2_000
"""So many are written in one transaction: other writes wait for it."""


class _GpuReading(NamedTuple):
    """What is counted of one GPU's newest reading."""

    gpu_id: str
    vram_used_bytes: float | None
    power_watts: float | None
    energy_millijoules_total: int | None


def _whole(figure: float | None) -> int | None:
    # What was read back from the disk is a float.
    return None if figure is None else int(figure)


@define(eq=False)
class Metering:
    """Looks every ten seconds, writes what it saw (where that is much, every minute), and the rest at its end."""

    core: Core
    book: Book
    reports: Callable[[], Iterable[ShareReport]] = tuple
    """Returns what has passed through the relay of this host."""
    name: str = "usage-meter"
    meter: usage.Meter = field(factory=usage.Meter)
    total: usage.Usage = field(factory=usage.Usage)
    """Everything that the ledger holds."""
    _looked_at: dict[str, int] = field(factory=dict, init=False)
    """By worker, in microseconds since the epoch."""
    _last_look_at: int | None = field(default=None, init=False)
    _energy: dict[str, int] = field(factory=dict, init=False)
    """Counters of GPUs, by id of their series."""
    _bytes: dict[str, tuple[int, int]] = field(factory=dict, init=False)
    _shares: dict[str, tuple[str, str]] = field(factory=dict, init=False)
    """Owner and worker of each share at the relay."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Count until cancelled."""
        self.total = await self.core.database.read(usage_store.total)
        task_status.started()
        write_at = trio.current_time() + WRITE_SECONDS
        try:
            while True:
                for _ in self._look():  # thousands of agents hold nobody up
                    await trio.lowlevel.checkpoint()
                if trio.current_time() >= write_at or len(self.meter) <= PROMPT_ROWS:
                    write_at = trio.current_time() + WRITE_SECONDS
                    await self._write_or_keep()
                await trio.sleep(LOOK_SECONDS)
        finally:
            with trio.move_on_after(GRACE_SECONDS, shield=True):
                self.look()
                await self._write_or_keep()

    async def _write_or_keep(self) -> None:
        try:
            await self.write()
        except ApplianceError as error:  # a full disk: written with the next sums
            log.warning("usage.not_stored", reason=error.message)

    async def write(self) -> None:
        """Add what was counted to the ledger."""
        rows = list(self.meter.take().items())
        for begin in range(0, len(rows), ROWS):
            try:
                await self._add(dict(rows[begin : begin + ROWS]))
            except BaseException:
                self.meter.give_back(dict(rows[begin:]))
                raise

    async def _add(self, sums: Mapping[usage.Account, usage.Usage]) -> None:
        await self.core.database.write(lambda connection: usage_store.add(connection, sums))
        self.total = sum(sums.values(), self.total)

    def look(self) -> None:
        """Count what was used since the last look."""
        for _ in self._look():
            pass

    def _look(self) -> Iterator[None]:
        """Count, and yield now and then; what shares have passed is counted at once, while their reports are new."""
        now = self.core.now()
        reports = {report.share_id: report for report in self.reports()}
        self._guests(reports, now)
        for number, agent in enumerate(self.book.agents(), 1):
            self._agent(agent, reports, now)
            if number % AGENTS == 0:
                yield
        known = {worker.worker_id for worker in self.book.workers()}
        self._looked_at = {worker_id: at for worker_id, at in self._looked_at.items() if worker_id in known}
        self._last_look_at = now

    def _agent(self, agent: Agent, reports: Mapping[str, ShareReport], now: int) -> None:
        running = self._running(agent, now)
        samples = self._samples(agent)
        elapsed = {each.worker_id: self._elapsed_ms(each, now) for each in running}
        energy = self._energy_of(agent, running, samples, max(elapsed.values(), default=0))
        for worker in running:
            held = [
                usage.Held(
                    compute_percent=worker.compute_percent,
                    vram_mb=worker.vram_mb,
                    vram_used_bytes=None if (sample := samples.get(gpu_id)) is None else _whole(sample.vram_used_bytes),
                    energy_mj=energy.get((worker.worker_id, gpu_id), 0),
                )
                for gpu_id in worker.gpu_ids
            ]
            used = usage.used(held, elapsed[worker.worker_id])
            connected = self._connected(worker, reports)
            self.meter.add_worker(agent.owner, worker.worker_id, used, connected=connected, at=now)

    @staticmethod
    def _running(agent: Agent, now: int) -> list[Worker]:
        """Return the workers that run, as far as is known: of an agent that is not heard of nothing is."""
        status = life.agent_status(
            agent.last_seen_unix_us,
            now_unix_us=now,
            has_shut_down=agent.has_shut_down,
            is_local=agent.is_local,
        )
        if status is not life.AgentStatus.ONLINE:
            return []
        return [each for each in agent.workers.values() if each.status == life.WorkerStatus.RUNNING]

    def _elapsed_ms(self, worker: Worker, now: int) -> int:
        """Return for how long a worker has run since the last look, as far as that is known."""
        started = worker.started_unix_us or 0
        if worker.worker_id in self._looked_at:
            since = max(self._looked_at[worker.worker_id], started)  # until it started again it used nothing
        else:
            since = started if self._last_look_at is not None and started > self._last_look_at else now
        self._looked_at[worker.worker_id] = now
        return usage.counted_ms(since, now)

    def _samples(self, agent: Agent) -> dict[str, _GpuReading]:
        """Return the newest readings of an agent's GPUs, by the agent's ids."""
        reading = self.core.series.latest(self.core.host_id if agent.is_local else agent.host_id)
        if reading is None:
            return {}
        # Of thousands of agents the figures are taken as they are stored: to make samples of them takes as long as
        # everything else here.
        row = reading.row
        figures = zip(
            row.device_names("gpu"),
            row.column("gpu.vram_used_bytes"),
            row.column("gpu.power_watts"),
            row.counter_column("gpu.energy_millijoules_total"),
            strict=True,
        )
        found = {each[0]: _GpuReading(*each) for each in figures}
        ids = {gpu.gpu_id: gpu.gpu_id if agent.is_local else series_id(agent, gpu.gpu_id) for gpu in agent.gpus}
        return {own: found[kept] for own, kept in ids.items() if kept in found}

    def _energy_of(
        self, agent: Agent, running: list[Worker], samples: Mapping[str, _GpuReading], elapsed_ms: int
    ) -> dict[tuple[str, str], int]:
        """Return each worker's part of what its GPUs drew; those that share one share it evenly."""
        parts: dict[tuple[str, str], int] = {}
        users: dict[str, dict[str, int]] = {gpu_id: {} for gpu_id in samples}
        for each in running:
            for gpu_id in each.gpu_ids:
                if gpu_id in users:
                    users[gpu_id][each.worker_id] = 1
        for gpu_id, sample in samples.items():
            drawn = self._drawn(series_id(agent, gpu_id), sample, elapsed_ms)
            for worker_id, part in usage.parts_of(drawn, users[gpu_id]).items():
                parts[worker_id, gpu_id] = part
        return parts

    def _drawn(self, key: str, sample: _GpuReading, elapsed_ms: int) -> int:
        """Return the millijoules that a GPU drew since the last look; noted also while idle, lest that be billed."""
        before, after = self._energy.get(key), sample.energy_millijoules_total
        if after is None:
            return usage.energy_of(sample.power_watts, elapsed_ms)
        self._energy[key] = after
        return usage.energy_between(before, after) or 0

    def _connected(self, worker: Worker, reports: Mapping[str, ShareReport]) -> dict[str, int]:
        """Return how many are connected, by share; those of other hosts can be told apart only where there is one."""
        shares = list(self.book.shares_of(worker.worker_id))
        if not shares:
            return {}
        counted = {
            share.share_id: reports[share.share_id].connections_live for share in shares if share.share_id in reports
        }
        if not counted and len(shares) == 1 and worker.connections:
            return {shares[0].share_id: len(worker.connections)}
        return {share_id: count for share_id, count in counted.items() if count}

    def _guests(self, reports: Mapping[str, ShareReport], now: int) -> None:
        """Count the bytes that guests sent and got through the relay."""
        for share_id, report in reports.items():
            before = self._bytes.get(share_id, (0, 0))
            after = report.bytes_from_peer, report.bytes_to_peer
            self._bytes[share_id] = after
            self._count_bytes(share_id, after[0] - before[0], after[1] - before[1], now)
        self._bytes = {share_id: known for share_id, known in self._bytes.items() if share_id in reports}

    def note(self, share: Share) -> None:
        """Remember whose a share is, so that its last bytes can be counted when it is gone."""
        self._shares[share.share_id] = share.owner, share.worker_id

    def _count_bytes(self, share_id: str, from_guests: int, to_guests: int, now: int) -> None:
        if from_guests + to_guests <= 0 or share_id not in self._shares:
            return
        owner, worker_id = self._shares[share_id]
        account = usage.Account(hour_unix_us=usage.hour_of(now), owner=owner, worker_id=worker_id, share_id=share_id)
        self.meter.add(account, usage.Usage(bytes_from_guests=max(0, from_guests), bytes_to_guests=max(0, to_guests)))

    def closing(self, report: ShareReport) -> None:
        """Count the last bytes of a share that has been withdrawn."""
        before = self._bytes.pop(report.share_id, (0, 0))
        from_guests, to_guests = report.bytes_from_peer - before[0], report.bytes_to_peer - before[1]
        self._count_bytes(report.share_id, from_guests, to_guests, self.core.now())
        self._shares.pop(report.share_id, None)
