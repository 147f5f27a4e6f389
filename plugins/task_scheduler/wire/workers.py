"""Documented answers about workers."""

from typing import Any, Final

from appliance.plugin import JobRecord

from ..models import Amounts, Worker
from . import answers
from .numbers import MIB_PER_GB, MILLI
from .render import seconds, status

REGISTERED: Final = (
    "Worker registered successfully. It stays inactive until it connects; gRPC workers are not served by this version."
)
NEARLY_ZERO: Final = 1e-9
"""For a front end that takes 0 for "not sent" and then goes on showing what it had."""


def resources(amounts: Amounts) -> answers.Resources:
    """Return amounts as documented."""
    return answers.Resources(
        cpu=amounts.millicores / MILLI,
        memory=amounts.memory_mib / MIB_PER_GB,
        storage=amounts.storage_mib / MIB_PER_GB,
        gpu=amounts.milli_gpu / MILLI,
    )


def _never_zero(found: answers.Resources) -> answers.Resources:
    # Of the GPUs the front end shows every digit, so they stay as they are.
    return answers.Resources(
        cpu=found.cpu or NEARLY_ZERO,
        memory=found.memory or NEARLY_ZERO,
        storage=found.storage or NEARLY_ZERO,
        gpu=found.gpu,
    )


def running_task(record: JobRecord) -> answers.RunningTask:
    """Return a task as part of what its worker does."""
    needs = record.job.needs
    return answers.RunningTask(
        task_id=record.job.job_id,
        cpu_allocated=needs.millicores / MILLI,
        memory_allocated=needs.memory_mib / MIB_PER_GB,
        gpu_allocated=needs.milli_gpu / MILLI,
        status=status(record),
    )


def telemetry(worker: Worker, *, never_zero: bool = False) -> answers.Telemetry:
    """Return what a worker does at the moment.

    :param never_zero: send next to nothing in place of an allocation of 0; see `NEARLY_ZERO`.
    """
    return answers.Telemetry(**_telemetry(worker, never_zero=never_zero))


def _telemetry(worker: Worker, *, never_zero: bool = False) -> dict[str, Any]:
    allocated = resources(worker.allocated)
    return {
        "worker_id": worker.worker_id,
        "is_active": worker.is_active,
        "cpu_usage": worker.cpu_percent,
        "memory_usage": worker.memory_percent,
        "gpu_usage": worker.gpu_percent,
        "total_resources": resources(worker.total),
        "allocated_resources": _never_zero(allocated) if never_zero else allocated,
        "available_resources": resources(worker.total.minus(worker.allocated)),
        "running_tasks": tuple(map(running_task, worker.running)),
        "last_update": seconds(worker.sampled_at_unix_us),
        "address": worker.address,
        "worker_ip": worker.address,
    }


def worker_item(worker: Worker) -> answers.Worker:
    """Return a worker as the list shows it."""
    return answers.Worker(
        worker_id=worker.worker_id,
        address=worker.address,
        worker_ip=worker.address,
        is_active=worker.is_active,
        total_resources=resources(worker.total),
        allocated_resources=resources(worker.allocated),
        available_resources=resources(worker.total.minus(worker.allocated)),
        last_heartbeat=seconds(worker.heard_at_unix_us),
        registered_at=seconds(worker.registered_at_unix_us),
        cpu_usage=worker.cpu_percent,
        memory_usage=worker.memory_percent,
        gpu_usage=worker.gpu_percent,
        running_tasks_count=len(worker.running),
    )


def worker_detail(worker: Worker) -> answers.WorkerDetail:
    """Return one worker with all that is known of it."""
    total = resources(worker.total)
    info = answers.WorkerInfo(
        worker_id=worker.worker_id,
        worker_ip=worker.address,
        total_cpu=total.cpu,
        total_memory=total.memory,
        total_storage=total.storage,
        total_gpu=total.gpu,
        registered_at=seconds(worker.registered_at_unix_us),
        last_heartbeat=seconds(worker.heard_at_unix_us),
    )
    return answers.WorkerDetail(**_telemetry(worker), worker_info=info)


def worker_metrics(worker: Worker, *, now_unix_us: int) -> answers.WorkerMetrics:
    """Return the usage of a worker."""
    return answers.WorkerMetrics(
        worker_id=worker.worker_id,
        cpu_usage=worker.cpu_percent,
        memory_usage=worker.memory_percent,
        gpu_usage=worker.gpu_percent,
        is_active=worker.is_active,
        last_update=seconds(worker.sampled_at_unix_us),
        timestamp=seconds(now_unix_us),
    )


def registered(worker: Worker) -> answers.Registered:
    """Return the answer to a registration."""
    made = answers.RegisteredWorker(worker_id=worker.worker_id, worker_ip=worker.address)
    return answers.Registered(message=REGISTERED, worker_id=worker.worker_id, worker=made)
