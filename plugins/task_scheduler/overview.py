"""The card on the overview: what waits, what runs, and what it holds."""

from collections.abc import Iterator

from appliance.plugin import JobState, Panel, PanelContent, PanelRow, Scheduler

from .models import Amounts
from .workers import allocated_of, total_of

GIB_MIB = 1024


def panel(scheduler: Scheduler) -> Panel:
    """Return the card."""

    def read() -> PanelContent:
        problem = scheduler.problem
        return PanelContent(rows=list(_rows(scheduler, problem)), note=problem or "")

    return Panel(name="tasks", title="Tasks", read=read)


def _rows(scheduler: Scheduler, problem: str | None) -> Iterator[PanelRow]:
    counts = scheduler.counts()
    hosts = scheduler.hosts()
    total, held = _sum([total_of(host) for host in hosts]), _sum([allocated_of(host) for host in hosts])
    busy = sum(counts.get(state, 0) for state in (JobState.STARTING, JobState.RUNNING, JobState.STOPPING))
    yield PanelRow(label="Running", value=str(busy))
    yield PanelRow(label="Pending", value=str(counts.get(JobState.PENDING, 0)), level="warning" if problem else "info")
    if total.milli_gpu:
        words = f"{_thousandths(held.milli_gpu)} of {_thousandths(total.milli_gpu)}"
        yield PanelRow(label="GPUs in use", value=words, percent=_percent(held.milli_gpu, total.milli_gpu))
    cores = f"{_thousandths(held.millicores)} of {_thousandths(total.millicores)}"
    yield PanelRow(label="Cores given", value=cores, percent=_percent(held.millicores, total.millicores))
    memory = f"{held.memory_mib / GIB_MIB:.1f} of {total.memory_mib / GIB_MIB:.1f} GiB"
    yield PanelRow(label="Memory given", value=memory, percent=_percent(held.memory_mib, total.memory_mib))


def _sum(amounts: list[Amounts]) -> Amounts:
    return Amounts(
        millicores=sum(one.millicores for one in amounts),
        memory_mib=sum(one.memory_mib for one in amounts),
        storage_mib=sum(one.storage_mib for one in amounts),
        milli_gpu=sum(one.milli_gpu for one in amounts),
    )


def _thousandths(amount: int) -> str:
    """Return thousandths of something as people write it: 2, 0.5, 1.25."""
    return f"{amount / 1000:.3f}".rstrip("0").rstrip(".")


def _percent(part: int, whole: int) -> float:
    return min(100.0, 100 * part / whole) if whole else 0.0
