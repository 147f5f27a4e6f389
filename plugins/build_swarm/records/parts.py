"""What is kept, put together."""

from typing import Any, Final

import trio
from attrs import define

from appliance.plugin import Core, Head, Service

from ..swarm import Swarm
from .explorer import Explorer
from .metrics import Metrics
from .protocol import ProtocolLog
from .settings import RecordsSettings

QUERIES_AT_ONCE: Final = 2


@define(kw_only=True, eq=False)
class Records:
    """The parts that keep something."""

    protocol: ProtocolLog
    metrics: Metrics
    explorer: Explorer
    keeps_protocol: bool
    queries: trio.CapacityLimiter
    """Around the threads that queries of operators run in."""
    public_port: int = 0
    """On which the public surface was asked last; 0 before it was."""

    @property
    def services(self) -> list[Service]:
        """What writes behind."""
        return [*([self.protocol] if self.keeps_protocol else []), self.metrics]


def records_of(core: Core, settings: RecordsSettings, swarm: Swarm) -> Records:
    """Make the parts."""
    return Records(
        protocol=ProtocolLog(core, settings, swarm),
        metrics=Metrics(core, swarm),
        explorer=Explorer(core.database.path, settings.records_sql_seconds),
        keeps_protocol=settings.records_protocol,
        queries=trio.CapacityLimiter(QUERIES_AT_ONCE),
    )


def observe(state: Any, head: Head, body: bytes, status: int, answer: bytes, seconds: float) -> None:
    """Note an answer of the public surface; see `Surface.observe`."""
    records: Records = state.records
    if type(head.local) is tuple:
        records.public_port = head.local[1]
    if records.keeps_protocol:
        records.protocol.saw(head, body, status, answer, seconds)
