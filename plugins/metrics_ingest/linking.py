"""Tells the inventory which host a server is: the one that has its GPUs, else one of its own.

Only GPUs with the driver's own uuid count; an index says nothing about which GPU it is. A host is told anew when a
server's set of GPUs has changed, never with every sample.
"""

from typing import Final

import structlog
import trio
from attrs import define, field

from appliance.plugin import ApplianceError, Core, Gpu, GpuSample, Reading

from .models import SURFACE, Server
from .sample import BY_INDEX
from .servers import Servers

log = structlog.get_logger(__name__)

PENDING_MAX: Final = 10_000
_VENDORS: Final = (("AMD-", "amd"), ("GPU-", "nvidia"), ("MIG-", "nvidia"))


@define(eq=False)
class Linker:
    """Follows samples without waiting, and writes what is new about hosts from a service of its own."""

    core: Core
    servers: Servers
    name: str = "inventory-links"
    _known: dict[int, tuple[str, ...]] = field(factory=dict, init=False)
    """GPU ids of each server as told last."""
    _pending: dict[int, None] = field(factory=dict, init=False)
    _news: trio.Event = field(factory=trio.Event, init=False)

    def follow(self, server: Server, reading: Reading) -> None:
        """Note a server's newest sample; quick."""
        gpu_ids = reading.rates.layout.keys[0]
        if self._known.get(server.server_id) == gpu_ids or server.is_local or len(self._pending) >= PENDING_MAX:
            return
        self._pending[server.server_id] = None
        self._news.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled."""
        task_status.started()
        while True:
            await self._news.wait()
            self._news = trio.Event()
            pending, self._pending = list(self._pending), {}
            for server_id in pending:
                server = self.servers.by_id(server_id)
                reading = None if server is None else self.core.series.latest(server.series_id)
                if server is not None and reading is not None:
                    await self._link(server, reading)

    async def _link(self, server: Server, reading: Reading) -> None:
        gpus = [_gpu(each) for each in reading.sample.gpus if not each.gpu_id.startswith(BY_INDEX)]
        inventory, now = self.core.inventory, self.core.now()
        host_id = inventory.host_with_gpus([gpu.gpu_id for gpu in gpus]) if gpus else None
        host_id = host_id or server.series_id
        try:
            if host_id != self.core.host_id:  # of this host its own drivers say what it has
                await inventory.saw_host(host_id, hostname=server.hostname or server.name, at_unix_us=now)
                refused = await inventory.saw_gpus(host_id, gpus, at_unix_us=now)
                if refused:
                    log.warning("server.gpus_are_another_hosts", server=server.slug, gpus=sorted(refused))
            await inventory.link(SURFACE, server.slug, host_id)
        except ApplianceError as error:  # tried again when the GPUs change, or at the next start
            log.warning("server.not_linked", server=server.slug, reason=error.message)
        self._known[server.server_id] = reading.rates.layout.keys[0]


def _gpu(sample: GpuSample) -> Gpu:
    vendor = next((vendor for prefix, vendor in _VENDORS if sample.gpu_id.startswith(prefix)), "")
    return Gpu(
        gpu_id=sample.gpu_id,
        index=sample.gpu_index,
        vendor=vendor,
        model=sample.model,
        vram_total_bytes=sample.vram_total_bytes,
    )
