"""Time is counted from a worker's start on: not from the next look, and not from before it was stopped."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from plugins.gpu_sharing.metering import Metering
from plugins.gpu_sharing.models import Agent, Worker
from plugins.gpu_sharing.wire.reports import AgentStatusReportRequest, WorkerStatusReport
from tests.plugins.gpu_sharing.kit import AT
from tests.plugins.gpu_sharing.parts import Parts, default_of, opened


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[Parts]:
    async with opened(tmp_path) as one:
        yield one


@pytest.fixture
def metering(parts: Parts) -> Metering:
    return Metering(parts.core, parts.book)


async def says(parts: Parts, agent: Agent, status: str, pid: int = 7) -> None:
    """Report the agent's default worker."""
    said = WorkerStatusReport(worker_id=default_of(agent).worker_id, status=status, pid=pid)
    body = AgentStatusReportRequest(timestamp=AT, gpus=[], workers=[said])
    await parts.intake.take(agent, body, reported_from="")


def counted(metering: Metering, worker: Worker) -> int:
    """Look, and return the milliseconds that were counted for a worker."""
    metering.look()
    return sum(used.gpu_ms for account, used in metering.meter.take().items() if account.worker_id == worker.worker_id)


async def test_worker_that_starts_between_two_looks_is_counted_from_its_start(parts: Parts, metering: Metering) -> None:
    agent = await parts.agent()
    assert counted(metering, default_of(agent)) == 0
    parts.now.advance(4)
    await says(parts, agent, "running")
    parts.now.advance(6)
    assert counted(metering, default_of(agent)) == 6000
    parts.now.advance(10)
    await says(parts, agent, "running")
    assert counted(metering, default_of(agent)) == 10_000


async def test_time_in_which_a_worker_was_stopped_is_not_counted_when_it_runs_again(
    parts: Parts, metering: Metering
) -> None:
    agent = await parts.agent()
    await says(parts, agent, "running")
    counted(metering, default_of(agent))
    parts.now.advance(10)
    assert counted(metering, default_of(agent)) == 10_000
    await says(parts, agent, "stopped")
    parts.now.advance(3600)
    assert counted(metering, default_of(agent)) == 0
    parts.now.advance(8)
    await says(parts, agent, "running", pid=8)
    parts.now.advance(2)
    assert counted(metering, default_of(agent)) == 2000


async def test_worker_that_ran_before_the_appliance_started_is_counted_from_the_first_look(parts: Parts) -> None:
    agent = await parts.agent()
    await says(parts, agent, "running")
    parts.now.advance(50)
    metering = Metering(parts.core, parts.book)
    assert counted(metering, default_of(agent)) == 0
    parts.now.advance(10)
    assert counted(metering, default_of(agent)) == 10_000
