"""Between our own API's models and core's jobs."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import evolve

from appliance.plugin import (
    ApplianceError,
    BadInput,
    Dependency,
    DependencyKind,
    EndReason,
    Job,
    JobRecord,
    Needs,
    RetryRule,
    StoredFile,
    to_unix_s,
)

from . import own_models as own
from .callers import shown
from .wire.numbers import MILLI
from .wire.requests import command_of, image_of

MICRO: Final = 1_000_000
INDEX_NAME: Final = "APPLIANCE_ARRAY_INDEX"
COUNT_NAME: Final = "APPLIANCE_ARRAY_COUNT"


def job_of(spec: own.TaskSpec, *, job_id: str, owner: str, network: str) -> Job:
    """Return the job that a task is.

    :param network: for a task that names none.
    :raises BadInput: a field breaks a rule that only core knows.
    """
    try:
        return Job(
            job_id=job_id,
            owner=owner,
            label=spec.label,
            name=spec.name,
            image=image_of(spec.image, "image"),
            command=command_of(spec.command),
            environment=spec.environment,
            needs=_needs(spec),
            tag=spec.tag,
            k_milli=round(spec.k * MILLI),
            priority=spec.priority,
            preemptible=spec.preemptible,
            timeout_seconds=spec.timeout_seconds,
            max_queue_seconds=spec.max_queue_seconds,
            idle_gpu_seconds=spec.idle_gpu_seconds,
            retry=_retry(spec),
            dependencies=tuple(
                Dependency(job_id=each.task_id, kind=DependencyKind(each.kind)) for each in spec.dependencies
            ),
            not_before_unix_us=int((spec.not_before_unix_s or 0) * MICRO),
            engine=spec.engine,
            host_id=spec.host_id,
            tty=spec.tty,
            network=spec.network or network,
            volumes=spec.volumes,
            privileges=spec.privileges,
            stop_grace_seconds=spec.stop_grace_seconds,
        )
    except ApplianceError:
        raise
    except (ValueError, TypeError) as error:
        # attrs' validators say the field in quotes first.
        words = str(error.args[0]) if error.args else "not valid"
        named = re.match(r"'(\w+)'", words)
        raise BadInput(words[:300], field=f"$.{named[1]}" if named else "$") from error


def _needs(spec: own.TaskSpec) -> Needs:
    return Needs(
        millicores=spec.cpu_millicores,
        memory_mib=spec.memory_mib,
        storage_mib=spec.storage_mib,
        milli_gpu=spec.milli_gpu,
        gpu_vram_mib=spec.gpu_vram_mib,
        gpu_models=spec.gpu_models,
        gpu_ids=spec.gpu_ids,
        mig_profile=spec.mig_profile,
    )


def _retry(spec: own.TaskSpec) -> RetryRule:
    rule = RetryRule(attempts_max=spec.attempts_max, backoff_seconds=spec.backoff_seconds)
    if spec.retry_reasons is None:
        return rule
    for each in spec.retry_reasons:
        if each not in own.RETRIED:
            raise BadInput(f"$.retry_reasons: expected some of {', '.join(own.RETRIED)}", field="$.retry_reasons")
    return evolve(rule, reasons=frozenset(map(EndReason, spec.retry_reasons)))


def array_of(job: Job, array: own.ArraySpec, ids: Sequence[str]) -> list[Job]:
    """Return the jobs of an array, each with its place in its environment.

    :param ids: one for each job; the first is also the array's.
    """
    return [
        evolve(
            job,
            job_id=job_id,
            array_id=ids[0],
            array_index=index,
            array_running_max=array.running_max,
            environment={**job.environment, INDEX_NAME: str(index), COUNT_NAME: str(array.count)},
        )
        for index, job_id in enumerate(ids)
    ]


# ---------------------------------------------------------------- answers


def unix_s(unix_us: int | None) -> float | None:
    """Return a moment in seconds."""
    return None if unix_us is None else to_unix_s(unix_us)


def task_item(record: JobRecord, name_of: Callable[[str], str]) -> own.TaskItem:
    """Return a task as lists show it.

    :param name_of: tells a host's name by its id.
    """
    return own.TaskItem(**_shared(record, name_of))


def _shared(record: JobRecord, name_of: Callable[[str], str]) -> dict[str, Any]:
    job, needs = record.job, record.job.needs
    return {
        "id": job.job_id,
        "name": job.name,
        "label": job.label,
        "owner": shown(job.owner),
        "image": job.image,
        "state": record.state.value,
        "message": record.message,
        "reason": record.reason.value if record.reason is not None else None,
        "exit_code": record.exit_code,
        "cpu_millicores": needs.millicores,
        "memory_mib": needs.memory_mib,
        "storage_mib": needs.storage_mib,
        "milli_gpu": needs.milli_gpu,
        "gpu_vram_mib": needs.gpu_vram_mib,
        "gpu_models": needs.gpu_models,
        "gpu_ids": record.placement.gpu_ids if record.placement is not None else needs.gpu_ids,
        "mig_profile": needs.mig_profile,
        "tag": job.tag,
        "k": job.k_milli / MILLI,
        "priority": job.priority,
        "preemptible": job.preemptible,
        "is_held": record.is_held,
        "hostname": name_of(record.placement.host_id) if record.placement is not None else "",
        "submitted_unix_s": to_unix_s(record.submitted_at_unix_us),
        "submitted_by": record.submitted_by,
        "started_unix_s": unix_s(record.started_at_unix_us),
        "ended_unix_s": unix_s(record.ended_at_unix_us),
        "deadline_unix_s": to_unix_s(record.deadline_unix_us),
        "expected_seconds": record.expected_seconds,
        "attempt_count": len(record.attempts),
        "array_id": job.array_id,
        "array_index": job.array_index,
        "schedule_id": job.schedule_id,
        "retry_of": job.retry_of,
        "retried_by": record.retried_by,
    }


def task_detail(
    record: JobRecord, name_of: Callable[[str], str], *, with_secrets: bool, log_bytes: int, log_missing_bytes: int
) -> own.TaskDetailItem:
    """Return one task.

    :param with_secrets: whether the command and the names of variables are shown; their values never are.
    """
    job = record.job
    return own.TaskDetailItem(
        **_shared(record, name_of),
        command=job.command if with_secrets else None,
        environment_names=tuple(sorted(job.environment)) if with_secrets else None,
        timeout_seconds=job.timeout_seconds,
        max_queue_seconds=job.max_queue_seconds,
        idle_gpu_seconds=job.idle_gpu_seconds,
        attempts_max=job.retry.attempts_max,
        dependencies=tuple(own.DependencySpec(task_id=each.job_id, kind=each.kind.value) for each in job.dependencies),
        engine=job.engine,
        network=job.network,
        tty=job.tty,
        volumes=job.volumes,
        attempts=tuple(_attempt(record, number, name_of) for number in range(len(record.attempts))),
        log_bytes=log_bytes,
        log_missing_bytes=log_missing_bytes,
    )


def _attempt(record: JobRecord, place: int, name_of: Callable[[str], str]) -> own.AttemptItem:
    attempt = record.attempts[place]
    return own.AttemptItem(
        number=attempt.number,
        host_id=attempt.placement.host_id,
        hostname=name_of(attempt.placement.host_id),
        engine=attempt.placement.engine,
        gpu_ids=attempt.placement.gpu_ids,
        assigned_unix_s=to_unix_s(attempt.assigned_at_unix_us),
        started_unix_s=unix_s(attempt.started_at_unix_us),
        ended_unix_s=unix_s(attempt.ended_at_unix_us),
        reason=attempt.reason.value if attempt.reason is not None else None,
        exit_code=attempt.exit_code,
        message=attempt.message,
    )


def file_item(stored: StoredFile) -> own.FileItem:
    """Return one file."""
    return own.FileItem(
        path=stored.path,
        size_bytes=stored.size_bytes,
        content_type=stored.content_type,
        stored_unix_s=to_unix_s(stored.stored_at_unix_us),
    )
