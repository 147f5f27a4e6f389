"""The section of ``/metrics``: agents, workers, shares, and what passes through the relay."""

from collections import Counter
from collections.abc import Callable, Iterator

from .life import AgentStatus, WorkerStatus
from .metering import Metering
from .state import SharingState


def section(state: SharingState, metering: Metering) -> Callable[[], str]:
    """Return what is asked at every scrape."""

    def text() -> str:
        return "\n".join(_lines(state, metering)) + "\n"

    return text


def _lines(state: SharingState, metering: Metering) -> Iterator[str]:
    book, now = state.book, state.core.now()
    # Every state has a line, also that of nobody: a family without one is none.
    agents = Counter({each.value: 0 for each in AgentStatus})
    agents.update(state.status(agent).value for agent in book.agents())
    workers = Counter({each.value: 0 for each in WorkerStatus})
    workers.update(str(worker.status) for worker in book.workers())
    over = sum(share.is_over(now) for share in book.shares())
    shares = {"expired": over, "live": len(book.shares()) - over}
    for name, words, counted in (
        ("agents", "Agents of GPU sharing by status.", agents),
        ("workers", "Workers by status.", workers),
        ("shares", "Shares by state.", shares),
    ):
        label = "state" if name == "shares" else "status"
        yield f"# HELP appliance_sharing_{name} {words}"
        yield f"# TYPE appliance_sharing_{name} gauge"
        for value, count in sorted(counted.items()):
            yield f'appliance_sharing_{name}{{{label}="{value}"}} {count}'
    reports = list(metering.reports())
    yield "# HELP appliance_sharing_relay_connections Connections of guests through the relay of this host."
    yield "# TYPE appliance_sharing_relay_connections gauge"
    yield f"appliance_sharing_relay_connections {sum(report.connections_live for report in reports)}"
    yield "# HELP appliance_sharing_relay_bytes_total Bytes through the relay by the shares that are there."
    yield "# TYPE appliance_sharing_relay_bytes_total counter"
    for direction, count in (
        ("from_guests", sum(report.bytes_from_peer for report in reports)),
        ("to_guests", sum(report.bytes_to_peer for report in reports)),
    ):
        yield f'appliance_sharing_relay_bytes_total{{direction="{direction}"}} {count}'
    used = metering.total
    for name, words, amount in (
        ("gpu_seconds", "Time of whole GPUs that workers have used.", used.gpu_ms / 1000),
        (
            "vram_gib_seconds",
            "GPU memory that workers have used, in GiB times seconds.",
            used.vram_mib_ms / 1024 / 1000,
        ),
        ("energy_joules", "Energy that workers have used.", used.energy_mj / 1000),
    ):
        yield f"# HELP appliance_sharing_used_{name}_total {words}"
        yield f"# TYPE appliance_sharing_used_{name}_total counter"
        yield f"appliance_sharing_used_{name}_total {amount:g}"
