"""The host we run on, as the scheduler sees it: what it has, what of it is free, which engines it offers."""

import os
import shutil
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import psutil
import trio
from attrs import define, field, frozen

from appliance.engines import EngineStatus
from appliance.errors import NotFound
from appliance.inventory.models import KnownGpu
from appliance.inventory.store import Inventory
from appliance.ledger.store import Ledger
from appliance.scheduler.board import Active
from appliance.scheduler.capacity import EngineOffer, GpuCapacity, Held, HostCapacity
from appliance.settings import SchedulerSettings

MIB: Final = 2**20
DISK_LOOK_SECONDS: Final = 30.0
DISK_STEP_MIB: Final = 64
"""Free space is told in such steps: it changes all the time."""


@frozen(kw_only=True)
class Machine:
    """What a host has, before anything is kept back."""

    millicores: int
    memory_mib: int
    free_disk_mib: int


def this_machine(folder: Path) -> Machine:
    """Look at this host; ``folder`` is on the disk that tasks write to."""
    free = shutil.disk_usage(folder).free // MIB
    return Machine(
        millicores=(os.cpu_count() or 1) * 1000,
        memory_mib=int(psutil.virtual_memory().total) // MIB,
        free_disk_mib=free - free % DISK_STEP_MIB,
    )


@define(eq=False)
class LocalHost:
    """Looks at the host when asked; disk space at most every 30 s."""

    host_id: str
    inventory: Inventory
    ledger: Ledger
    settings: Callable[[], SchedulerSettings]
    look: Callable[[], Machine]
    monotonic: Callable[[], float] = trio.current_time
    _seen: Machine | None = None
    _seen_at: float = field(default=0.0)

    def capacity(
        self, statuses: Sequence[EngineStatus], held: Held, active: Iterable[Active], *, draining: str = ""
    ) -> HostCapacity:
        """Return what the host has and what is held of it.

        :param statuses: of its engines, in order of preference.
        :param active: attempts; what the ledger does not know of them yet is taken off here.
        """
        settings, machine = self.settings(), self._machine()
        return HostCapacity(
            host_id=self.host_id,
            hostname=self._hostname(),
            engines=offers_of(statuses, allow_unsafe=settings.unsafe_same_uid),
            millicores=machine.millicores,
            memory_mib=max(0, machine.memory_mib - settings.memory_reserve_mib),
            storage_mib=max(0, machine.free_disk_mib - settings.storage_reserve_mib),
            allocated_millicores=held.millicores,
            allocated_memory_mib=held.memory_mib,
            allocated_storage_mib=held.storage_mib,
            gpus=self._gpus(active),
            blocked=draining or self._blocked(),
        )

    def _machine(self) -> Machine:
        now = self.monotonic()
        if self._seen is None or now - self._seen_at > DISK_LOOK_SECONDS:
            self._seen, self._seen_at = self.look(), now
        return self._seen

    def _hostname(self) -> str:
        try:
            return self.inventory.host(self.host_id).hostname
        except NotFound:  # the first sample is still to come
            return socket.gethostname()

    def _blocked(self) -> str:
        try:
            marks = self.inventory.host(self.host_id).marks
        except NotFound:
            return ""
        return "; ".join(f"{mark.kind}: {mark.reason}" if mark.reason else mark.kind.value for mark in marks)

    def _gpus(self, active: Iterable[Active]) -> tuple[GpuCapacity, ...]:
        unbooked: dict[str, list[tuple[int, int]]] = {}
        for one in active:
            if one.holds and not one.is_booked:
                for gpu_id, milli_gpu, vram_mib in one.attempt.placement.parts:
                    unbooked.setdefault(gpu_id, []).append((milli_gpu, vram_mib))
        known = self.inventory.gpus(self.host_id)
        return tuple(self._gpu(one, unbooked.get(one.gpu_id, ())) for one in known)

    def _gpu(self, known: KnownGpu, unbooked: Iterable[tuple[int, int]]) -> GpuCapacity:
        vram_mib = (known.gpu.vram_total_bytes or 0) // MIB
        milli_gpu, free_mib = 0, 0
        if known.present:
            left = self.ledger.free(known.gpu_id)
            milli_gpu, free_mib = left.milli_gpu, left.vram_mib
        for taken, taken_mib in unbooked:
            milli_gpu -= taken
            free_mib -= vram_mib if taken == 1000 else taken_mib
        return GpuCapacity(
            gpu_id=known.gpu_id,
            model=known.gpu.model,
            vram_mib=vram_mib,
            parent_gpu_id=known.gpu.parent_gpu_id,
            mig_profile=known.gpu.mig_profile or "",
            free_milli_gpu=max(0, milli_gpu),
            free_vram_mib=max(0, free_mib),
            blocked=self.inventory.why_no_new_work(known.gpu_id) or "",
        )


def offers_of(statuses: Sequence[EngineStatus], *, allow_unsafe: bool) -> tuple[EngineOffer, ...]:
    """Return what engines offer, in the same order.

    While an engine that fetches images is away, what waits for it must not fail on one that fetches none.
    """
    some_fetch = any(one.state != "absent" and not one.own_images_only for one in statuses)
    return tuple(
        EngineOffer(
            name=one.name,
            features=one.features,
            unsafe=one.unsafe,
            is_allowed=allow_unsafe,
            blocked="" if one.state == "ok" else one.message or one.state,
            only_named="the image is none of its own" if some_fetch and one.own_images_only else "",
        )
        for one in statuses
    )
