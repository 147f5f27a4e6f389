"""The workers that this API shows: hosts of core's scheduler, and rows that somebody registered."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from attrs import define, field

from appliance.plugin import Conflict, Core, HostCapacity, JobRecord, NotFound, Reading

from . import store
from .models import Amounts, StoredWorker, Worker

WHOLE_MILLI_GPU: Final = 1000


@define(eq=False)
class Workers:
    """Every worker by id: a host under its name, a registered one under the id that it was given."""

    core: Core
    _stored: dict[str, StoredWorker] = field(factory=dict, init=False)
    _started_at_unix_us: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._started_at_unix_us = self.core.now()
        self._stored = {each.worker_id: each for each in self.core.database.read_now(store.workers)}

    async def register(self, worker_id: str, address: str) -> Worker:
        """Keep a worker, which stays inactive.

        :raises Conflict: a worker or a host has this id.
        """
        if worker_id in {each.worker_id for each in self.hosts()}:
            raise Conflict(f"worker {worker_id} is this host itself")
        made = StoredWorker(worker_id=worker_id, address=address, registered_at_unix_us=self.core.now())

        def keep(_: None) -> None:
            self._stored[worker_id] = made

        await self.core.database.write(lambda connection: store.register(connection, made), on_commit=keep)
        return _idle(made)

    async def unregister(self, worker_id: str) -> None:
        """Forget a registered worker; raise `NotFound` for one that was not registered, such as this host."""

        def drop(_: bool) -> None:
            self._stored.pop(worker_id, None)

        found = await self.core.database.write(
            lambda connection: store.unregister(connection, worker_id), on_commit=drop
        )
        if not found:
            raise NotFound("registered worker", worker_id)

    def all(self) -> list[Worker]:
        """Return every worker: hosts first, then what was registered, by id."""
        hosts = self.hosts()
        taken = {each.worker_id for each in hosts}
        stored = [self._stored[worker_id] for worker_id in sorted(self._stored) if worker_id not in taken]
        return [*hosts, *map(_idle, stored)]

    def get(self, worker_id: str) -> Worker:
        """Return a worker; raise `NotFound`."""
        for each in self.hosts():
            if each.worker_id == worker_id:
                return each
        if worker_id in self._stored:
            return _idle(self._stored[worker_id])
        raise NotFound("worker", worker_id)

    def hosts(self) -> list[Worker]:
        """Return the hosts of the scheduler as workers."""
        return [self._host(capacity) for capacity in self.core.scheduler.hosts()]

    def id_of(self, record: JobRecord) -> str:
        """Return the worker that a task was given to last; empty for none."""
        if record.placement is None:
            return ""
        return self.name_of(record.placement.host_id)

    def name_of(self, host_id: str) -> str:
        """Return the id of a host as worker: its name, or its own id where it is not known any more."""
        try:
            return self.core.inventory.host(host_id).hostname or host_id
        except NotFound:
            return host_id

    def _host(self, capacity: HostCapacity) -> Worker:
        core, host_id = self.core, capacity.host_id
        reading = core.series.latest(host_id)
        try:
            registered = core.inventory.host(host_id).first_seen_unix_us
        except NotFound:  # the local agent has not looked yet
            registered = self._started_at_unix_us
        total, allocated = total_of(capacity), allocated_of(capacity)
        return Worker(
            worker_id=self.name_of(host_id),
            host_id=host_id,
            address=self._address() if host_id == core.host_id else "",
            # It is this process that runs its tasks and answers: nothing can be heard from nearer by.
            is_active=True,
            heard_at_unix_us=core.now(),
            registered_at_unix_us=registered,
            total=total,
            allocated=allocated,
            sampled_at_unix_us=reading.at_unix_us if reading is not None else None,
            cpu_percent=percent(reading.sample.cpu_percent) if reading is not None else 0.0,
            memory_percent=percent(reading.sample.memory_percent) if reading is not None else 0.0,
            gpu_percent=gpu_percent(reading),
            running=core.scheduler.running_on(host_id),
        )

    def _address(self) -> str:
        """Return where this host answers, as ``host:port``."""
        return urlsplit(self.core.public_url()).netloc


def total_of(capacity: HostCapacity) -> Amounts:
    """Return what a host has for tasks; MIG instances are parts of a GPU that is counted."""
    whole = sum(1 for gpu in capacity.gpus if gpu.parent_gpu_id is None)
    return Amounts(
        millicores=capacity.millicores,
        memory_mib=capacity.memory_mib,
        storage_mib=capacity.storage_mib,
        milli_gpu=whole * WHOLE_MILLI_GPU,
    )


def allocated_of(capacity: HostCapacity) -> Amounts:
    """Return what is held of a host; a GPU of which a MIG instance is held counts by the share of its instances."""
    instances: dict[str, list[int]] = {}
    for gpu in capacity.gpus:
        if gpu.parent_gpu_id is not None:
            instances.setdefault(gpu.parent_gpu_id, []).append(WHOLE_MILLI_GPU - gpu.free_milli_gpu)
    held = 0
    for gpu in capacity.gpus:
        if gpu.parent_gpu_id is None:
            parts = instances.get(gpu.gpu_id)
            own = WHOLE_MILLI_GPU - gpu.free_milli_gpu
            held += max(own, sum(parts) // len(parts)) if parts else own
    return Amounts(
        millicores=capacity.allocated_millicores,
        memory_mib=capacity.allocated_memory_mib,
        storage_mib=capacity.allocated_storage_mib,
        milli_gpu=held,
    )


def percent(value: float | None) -> float:
    """Return a usage as clients want it: 0 to 100, and 0 where nothing is reported."""
    return 0.0 if value is None else round(min(100.0, max(0.0, value)), 2)


def gpu_percent(reading: Reading | None) -> float:
    """Return the mean utilisation of the GPUs of a reading, those that report one."""
    if reading is None:
        return 0.0
    return percent(_mean(gpu.utilization_percent for gpu in reading.sample.gpus))


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _idle(stored: StoredWorker) -> Worker:
    return Worker(
        worker_id=stored.worker_id,
        address=stored.address,
        is_active=False,
        registered_at_unix_us=stored.registered_at_unix_us,
    )
