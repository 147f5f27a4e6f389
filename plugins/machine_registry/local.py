"""The host we run on as a machine of pool ``default``: always ready, with no agent and no token."""

import os
import socket
from typing import Any, Final

import trio
from attrs import define

from appliance.plugin import Core, NotFound

from .life import Status
from .machines import Machines
from .models import DEFAULT_POOL, DEFAULT_PROVIDER, Machine, Metrics
from .pools import Pools
from .quantities import MIB

LOOK_SECONDS: Final = 5.0
WHOLE_MILLI_GPU: Final = 1000
AGENT_VERSION: Final = "appliance"
_GPUS: Final = (
    ("A100", "80", "A100-80"), ("A100", "", "A100-40"), ("A10G", "", "A10G"), ("H100", "", "H100"),
    ("A6000", "", "A6000"), ("4090", "", "RTX4090"), ("L40S", "", "L40S"), ("L4", "", "L4"), ("T4", "", "T4"),
)  # fmt: skip


def gpu_name(model: str) -> str:
    """Return what schedulers call a GPU of a driver's model name, such as ``A100-80``; empty for others."""
    words = model.upper().replace("-", " ").split()
    for name, size, known in _GPUS:
        if any(word == name for word in words) and (not size or any(word.startswith(size) for word in words)):
            return known
    return ""


@define(eq=False)
class LocalMachine:
    """Keeps the local machine's figures as the local agent has them."""

    core: Core
    machines: Machines
    pools: Pools
    name: str = "local-machine"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look every five seconds until cancelled."""
        machine = self.make()
        self.machines.put_local(machine)
        self.refresh(machine)
        task_status.started()
        while True:
            await trio.sleep(LOOK_SECONDS)
            self.refresh(machine)

    def make(self) -> Machine:
        """Return the machine without its figures."""
        pool = self.pools.named(DEFAULT_POOL)
        now, wall = self.machines.clock(), self.core.now()
        return Machine(
            provider=DEFAULT_PROVIDER if pool is None else pool.provider,
            pool=DEFAULT_POOL,
            machine_id=self.core.host_id.replace("-", "")[:8],
            host_id=self.core.host_id,
            status=Status.READY,
            deadline_us=now,
            heard_us=now,
            hostname=socket.gethostname(),
            cpu_millicores=(os.cpu_count() or 0) * 1000,
            memory_mib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MIB,
            private_ip="127.0.0.1",
            agent_version=AGENT_VERSION,
            created_unix_us=wall,
            registered_unix_us=wall,
            is_local=True,
        )

    def refresh(self, machine: Machine) -> None:
        """Take the newest figures over."""
        gpus = [each for each in self.core.inventory.gpus(self.core.host_id) if each.present]
        whole = [each for each in gpus if each.gpu.parent_gpu_id is None]
        reading = self.core.series.latest(self.core.host_id)
        machine.gpu_count = len(whole)
        machine.gpu_model = gpu_name(whole[0].gpu.model) if whole else ""
        machine.heard_us = self.machines.clock()
        if reading is not None:
            machine.last_keepalive_unix_us = reading.at_unix_us
            machine.metrics = self._metrics(reading.sample, sum(self._is_free(each.gpu_id) for each in whole))
        machine.changed()

    def _is_free(self, gpu_id: str) -> bool:
        try:
            is_free = self.core.ledger.free(gpu_id).milli_gpu == WHOLE_MILLI_GPU
        except NotFound:  # it has just gone
            return False
        return is_free and self.core.inventory.why_no_new_work(gpu_id) is None

    def _metrics(self, sample: Any, free_gpu_count: int) -> Metrics:
        disk = os.statvfs(self.core.folder)
        return Metrics(
            total_cpu_available=(os.cpu_count() or 0) * 1000,
            total_memory_available=sample.memory_total_bytes or 0,
            total_disk_space_bytes=disk.f_blocks * disk.f_frsize,
            total_disk_free_bytes=disk.f_bavail * disk.f_frsize,
            cpu_utilization_pct=sample.cpu_percent or 0.0,
            memory_utilization_pct=sample.memory_percent or 0.0,
            free_gpu_count=free_gpu_count,
        )
